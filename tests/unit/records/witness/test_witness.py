"""The witness as its clients see it: every status of C2SP tlog-witness, and what it does beyond."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sensmail.records import cosignature, note
from sensmail.records.note import Note, Signature
from sensmail.records.witness import app, store
from sensmail.records.witness.submission import MAX_BYTES, Submission
from unit.records.conftest import Peer, Signing
from unit.records.witness.conftest import START, Book, Running


def ask(
    running: Running, body: bytes | None, path: str = "/add-checkpoint", method: str = "POST"
) -> tuple[int, str, bytes]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=context, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def submit(running: Running, given: Submission) -> tuple[int, str, bytes]:
    return ask(running, given.to_bytes())


def accepted(running: Running, given: Submission) -> Note:
    status, _, body = submit(running, given)
    assert status == 200, body
    return note.parse(given.checkpoint.to_bytes() + body)


def test_a_growing_log_is_cosigned_and_an_ordinary_verifier_reads_it(book: Book, running: Running, peer: Peer) -> None:
    accepted(running, book.given(0, 3))
    before = int(time.time())
    signed = accepted(running, book.given(3, 11))
    assert before <= cosignature.cosigned(signed, running.client().key) <= time.time()
    # Go's own implementation reads the note with its cosignature line beside the log's
    said = peer(Note=signed.to_bytes(), Keys=[book.log_key.to_text(), running.public.key])
    assert (said["Text"], said["Signatures"]) == (signed.text, 2), said
    assert peer(Note=signed.to_bytes(), Keys=[running.public.key])["Signatures"] == 1


def test_a_log_begins_at_any_size_with_its_first_key(book: Book, running: Running) -> None:
    assert submit(running, book.given(0, 9, key=1))[0] == 403
    assert submit(running, book.given(0, 9))[0] == 200


def test_an_empty_log_is_cosigned(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 0))
    accepted(running, book.given(0, 0, time=START + 10))
    accepted(running, book.given(0, 4, time=START + 20))


def test_an_unknown_origin_is_404(running: Running) -> None:
    stranger = Book()
    assert submit(running, stranger.given(0, 3))[0] == 404


@pytest.mark.parametrize("missing", [0, 1])
def test_without_both_signatures_it_is_403(book: Book, running: Running, missing: int) -> None:
    given = book.given(0, 3)
    kept = tuple(each for at, each in enumerate(given.checkpoint.signatures) if at != missing)
    assert submit(running, Submission(0, (), Note(given.checkpoint.text, kept)))[0] == 403


def test_a_bad_signature_is_403_and_one_of_a_stranger_is_passed_over(book: Book, running: Running) -> None:
    given = book.given(0, 3)
    first, second = given.checkpoint.signatures
    bad = Signature(first.name, first.key_id, bytes(64))
    stranger = Signature("elsewhere", b"abcd", b"12345")
    assert submit(running, Submission(0, (), Note(given.checkpoint.text, (bad, second))))[0] == 403
    assert submit(running, Submission(0, (), Note(given.checkpoint.text, (stranger, first, second))))[0] == 200
    assert b"elsewhere" not in running.file(book.log_key).read_bytes()


def test_an_old_size_above_the_checkpoint_is_400(book: Book, running: Running) -> None:
    assert submit(running, book.given(4, 3))[0] == 400


def test_another_old_size_is_409_with_the_size(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 7))
    for old in (0, 3, 8):
        assert submit(running, book.given(old, 9)) == (409, "text/x.tlog.size", b"7\n")


def test_another_root_at_the_same_size_is_409(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 7))
    assert submit(running, book.forked().given(7, 7))[:2] == (409, "text/x.tlog.size")


def test_a_history_that_was_rewritten_is_422(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 7))
    assert submit(running, book.forked().given(7, 12))[0] == 422
    given = book.given(7, 12)
    for proof in ((), given.proof[:-1], (*given.proof, given.proof[0]), tuple(reversed(given.proof))):
        assert submit(running, Submission(7, proof, given.checkpoint))[0] == 422
    accepted(running, given)


def test_a_proof_from_nothing_is_422(book: Book, running: Running) -> None:
    assert submit(running, Submission(0, (bytes(32),), book.note(3)))[0] == 422


@pytest.mark.parametrize(
    "change",
    [{"key": 2}, {"key": 0, "time": START - 1}, {"key": 0, "next": b"n" * 32}],
    ids=["a key was passed over", "earlier", "two successors"],
)  # fmt: skip
def test_what_breaks_the_chain_of_keys_is_403(book: Book, running: Running, change: dict[str, object]) -> None:
    accepted(running, book.given(0, 7))
    status, _, words = submit(running, book.given(7, 9, **change))  # type: ignore[arg-type]
    assert status == 403, words
    accepted(running, book.given(7, 9, key=1))


def test_a_key_that_was_left_may_not_come_back(book: Book, running: Running) -> None:
    """What a thief of yesterday's key would try."""
    accepted(running, book.given(0, 7))
    accepted(running, book.given(7, 7, key=1))
    assert submit(running, book.given(7, 9, key=0, time=START + 5))[0] == 403


def test_a_thief_with_todays_keys_cannot_rewrite_what_was_cosigned(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 7))
    accepted(running, book.given(7, 20, key=1))
    thief = book.forked()  # every key, and another history
    assert submit(running, thief.given(20, 25, key=1, time=START + 5))[0] == 422
    assert submit(running, thief.given(0, 25, key=1, time=START + 5))[0] == 409


def test_a_replay_changes_nothing(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 3))
    accepted(running, book.given(3, 7, time=START + 9))
    for replayed in (book.given(0, 3), book.given(3, 7, time=START + 9)):
        assert submit(running, replayed)[0] == 409
    assert submit(running, book.given(7, 7, time=START))[0] == 403
    assert submit(running, book.given(7, 7, time=START + 9))[0] == 200


@pytest.mark.parametrize("body", [
    b"", b"old 0\n", b"old 00\n\n", b"old -1\n\n", b"old 0\r\n\n", b"old 0\n\nx", b"old 0\n" + b"A" * 43 + b"=\n" * 70,
    b"old 9223372036854775808\n\n", b"\xff\xfe\n\n", b"x" * MAX_BYTES, b"old 0\nQQ==\n\nx\n\n\xe2\x80\x94 a b\n",
])  # fmt: skip
def test_what_is_no_submission_is_400(running: Running, body: bytes) -> None:
    assert ask(running, body)[0] == 400


def test_a_body_that_is_too_large_is_refused(running: Running) -> None:
    assert ask(running, b"old 0\n" * MAX_BYTES)[0] == 400
    assert ask(running, None, "/logs", "GET")[0] == 200


def test_a_checkpoint_without_our_lines_is_400(book: Book, running: Running) -> None:
    plain = note.sign(f"{book.origin}\n0\n{note.encode64(bytes(32))}\n", book.origin, [book.stable])
    assert submit(running, Submission(0, (), plain))[0] == 400


def test_two_at_once_leave_one_history(book: Book, running: Running) -> None:
    """C2SP's race: each of many submissions from the same size; exactly one is cosigned from there."""
    accepted(running, book.given(0, 5))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda size: submit(running, book.given(5, size)), range(6, 30)))
    assert sorted({status for status, _, _ in answers}) == [200, 409]
    assert [status for status, _, _ in answers].count(200) == 1
    kept = list(store.read(running.file(book.log_key)))
    assert len(kept) == 2


def test_what_was_cosigned_outlives_a_kill_between_disk_and_answer(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 5))
    running.fail("kill")
    with pytest.raises((http.client.HTTPException, OSError)):
        submit(running, book.given(5, 9))
    assert running.ended()[0] == -signal.SIGKILL
    running.start()
    assert submit(running, book.given(5, 9)) == (409, "text/x.tlog.size", b"9\n")
    accepted(running, book.given(9, 9))


def test_a_full_disk_is_said_and_nothing_is_cosigned_that_was_not_written(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 5))
    running.fail("full")
    assert submit(running, book.given(5, 9))[0] == 503
    assert submit(running, book.given(5, 9))[0] == 503
    running.fail("full", on=False)
    accepted(running, book.given(5, 12))
    running.restart()  # what was cut off stands between two whole notes
    assert submit(running, book.given(0, 13)) == (409, "text/x.tlog.size", b"12\n")
    sizes = [note.parse(each).text.split("\n")[1] for each in store.read(running.file(book.log_key))]
    assert sizes == ["5", "12"]


def test_a_disk_that_fails_ends_the_witness(book: Book, running: Running) -> None:
    running.fail("io")
    assert submit(running, book.given(0, 5))[0] in {400, 503}
    status, words = running.ended()
    assert status == 1
    assert "not known what is on the disk" in words


def test_a_store_that_was_changed_is_not_taken_up(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 5))
    running.ended(kill=True)
    file = running.file(book.log_key)
    file.write_bytes(file.read_bytes().replace(b"\n5\n", b"\n4\n"))
    status, words = running.start().ended()
    assert status == 1
    assert "StoreDamaged" in words


def test_one_process_a_store(running: Running) -> None:
    other = Running(running.home, *running.logs).start()
    status, words = other.ended()
    assert (status, "another witness works on it" in words) == (1, True)


def test_an_auditor_reads_every_note(book: Book, running: Running) -> None:
    accepted(running, book.given(0, 5))
    accepted(running, book.given(5, 5, time=START + 1))  # only younger: shown, and written down after a minute
    last = accepted(running, book.given(5, 9, key=1, time=START + 2))
    _, _, listed = ask(running, None, "/logs", "GET")
    name, key = listed.decode().split()
    assert key == book.log_key.to_text()
    assert note.parse(ask(running, None, f"/logs/{name}/newest", "GET")[2]) == last
    status, _, text = ask(running, None, f"/logs/{name}/notes", "GET")
    assert (status, len(re.findall("— witness.example/w1 ".encode(), text))) == (200, 2)
    assert ask(running, None, "/key", "GET")[2].decode().strip() == running.public.key
    for path in ("/logs/x/notes", "/logs/../../etc/passwd", "/nothing", f"/logs/{name}"):
        assert ask(running, None, path, "GET")[0] == 404
    assert ask(running, b"", "/logs", "POST")[0] == 405


def test_a_slow_client_is_cut_and_a_broken_handshake_costs_no_place(book: Book, running: Running) -> None:
    for _ in range(app.MAX_CONNECTIONS + 10):
        with socket.create_connection(("127.0.0.1", running.port)) as one:
            one.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
    assert submit(running, book.given(0, 3))[0] == 200
    with socket.create_connection(("127.0.0.1", running.port)) as silent:
        silent.settimeout(20)
        start = time.monotonic()
        assert silent.recv(1) == b""  # it never began its handshake
        assert time.monotonic() - start < 15


def test_so_many_connections_and_no_more(book: Book, running: Running) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for _ in range(app.MAX_CONNECTIONS):
        raw = socket.create_connection(("127.0.0.1", running.port))
        held.append(context.wrap_socket(raw))
    with pytest.raises((OSError, http.client.HTTPException)):
        submit(running, book.given(0, 3))
    for each in held:
        each.close()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            assert submit(running, book.given(0, 3))[0] == 200
            break
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    else:
        pytest.fail("the places were not given back")


def test_stopped_while_it_answers_it_forgets_nothing(book: Book, running: Running) -> None:
    """SIGTERM in the middle of submissions: what was answered is on the disk."""
    answered: list[int] = [0]

    def go() -> None:
        for size in range(1, 40):
            try:
                if submit(running, book.given(size - 1, size))[0] != 200:
                    return
            except (OSError, http.client.HTTPException):
                return
            answered.append(size)

    thread = threading.Thread(target=go)
    thread.start()
    time.sleep(0.15)
    assert running.process
    running.process.terminate()
    thread.join()
    running.ended()
    kept = [int(note.parse(each).text.split("\n")[1]) for each in store.read(running.file(book.log_key))]
    assert max([0, *kept]) >= max(answered)
    assert isinstance(book, Signing)
