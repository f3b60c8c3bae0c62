-- Deleting records whose time is over, with proof; keeping those under a legal hold aside.

-- A checkpoint that covers the cut, with the proof from the cut to it; docs/formats.md, "Bundle of records".
ALTER TABLE records.cut
    ADD turn bigint NOT NULL DEFAULT 0,
    ADD note text NOT NULL DEFAULT '',
    ADD proof bytea NOT NULL DEFAULT '';
COMMENT ON COLUMN records.cut.note IS 'signed by the log, and by a witness where one is set up';

-- From each kept checkpoint below a cut, and from the cut before, to the cut: what is gone stays linked.
CREATE TABLE records.link (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    cut        bigint NOT NULL,
    size       bigint NOT NULL CHECK (size > 0 AND size < cut),
    proof      bytea NOT NULL CHECK (octet_length(proof) % 32 = 0),
    PRIMARY KEY (ledger, generation, cut, size),
    FOREIGN KEY (ledger, generation, cut) REFERENCES records.cut
);
COMMENT ON COLUMN records.link.proof IS 'consistency proof from size to cut';
SELECT records.keep_only_added('records.link');

-- A legal hold: records that match are copied aside when their time comes, and stay until it is released.
CREATE TABLE records.hold (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_id       uuid,
    account          text CHECK (char_length(account) BETWEEN 1 AND 320),
    since            timestamptz,
    until            timestamptz,
    placed           timestamptz NOT NULL DEFAULT clock_timestamp(),
    placed_by        text NOT NULL CHECK (placed_by <> ''),
    reason           text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 1000),
    approver         text NOT NULL CHECK (char_length(approver) BETWEEN 1 AND 200),
    released         timestamptz,
    released_by      text,
    release_reason   text,
    release_approver text,
    CHECK (num_nonnulls(subject_id, account, since, until) > 0),
    CHECK (since <= until),
    CHECK (num_nonnulls(released, released_by, release_reason, release_approver) IN (0, 4))
);
COMMENT ON TABLE records.hold IS 'every criterion that is given must match; since and until are of the act';

CREATE FUNCTION records.hold_released_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.released IS NULL AND to_jsonb(NEW) @> jsonb_strip_nulls(to_jsonb(OLD)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'records.hold: % refused: a hold is placed, and released once', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER released_once BEFORE UPDATE OR DELETE ON records.hold
    FOR EACH ROW EXECUTE FUNCTION records.hold_released_once();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.hold
    FOR EACH STATEMENT EXECUTE FUNCTION records.hold_released_once();
ALTER TABLE records.hold ENABLE ALWAYS TRIGGER released_once;
ALTER TABLE records.hold ENABLE ALWAYS TRIGGER never_emptied;

CREATE FUNCTION records.is_held(subject uuid, account text, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT EXISTS (SELECT FROM records.hold AS h WHERE h.released IS NULL
        AND (h.subject_id IS NULL OR h.subject_id = is_held.subject)
        AND (h.account IS NULL OR h.account = is_held.account)
        AND (h.since IS NULL OR h.since <= is_held.at) AND (h.until IS NULL OR h.until >= is_held.at))
$$;
REVOKE ALL ON FUNCTION records.is_held FROM PUBLIC;

-- A record under a hold: its canonical form, its salt, and the proof that it is in the tree of a kept checkpoint.
CREATE TABLE records.held (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    seq        bigint NOT NULL,
    subject_id uuid,
    account    text NOT NULL,
    at         timestamptz NOT NULL,
    entry      json NOT NULL,
    salt       bytea NOT NULL CHECK (octet_length(salt) = 16),
    cut        bigint NOT NULL,
    proof      bytea NOT NULL CHECK (octet_length(proof) % 32 = 0),
    PRIMARY KEY (ledger, generation, seq),
    FOREIGN KEY (ledger, generation, cut) REFERENCES records.cut
);
COMMENT ON COLUMN records.held.proof IS 'of inclusion in the checkpoint that covers the cut';

CREATE FUNCTION records.held_until_released() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT records.is_held(OLD.subject_id, OLD.account, OLD.at) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'records.held: % refused: a hold stands', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER until_released BEFORE UPDATE OR DELETE ON records.held
    FOR EACH ROW EXECUTE FUNCTION records.held_until_released();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.held
    FOR EACH STATEMENT EXECUTE FUNCTION records.only_added();
ALTER TABLE records.held ENABLE ALWAYS TRIGGER until_released;
ALTER TABLE records.held ENABLE ALWAYS TRIGGER never_emptied;

-- As before; and the last partition of a generation that was followed by another one has its end, too.
CREATE OR REPLACE FUNCTION records.drop_part(ledger records.ledger, part integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    generation integer := part / 1000000;
    following bigint := (SELECT min(p.first) FROM records.part AS p
        WHERE p.ledger = ledger AND p.part > part AND p.part / 1000000 = generation);
BEGIN
    IF following IS NULL AND generation < (SELECT h.generation FROM records.head AS h WHERE h.ledger = ledger) THEN
        following := (SELECT max(c.size) FROM records.checkpoint AS c
            WHERE c.ledger = ledger AND c.generation = generation);
    END IF;
    IF to_regclass(format('records.%I', format('%s_%s', ledger, part))) IS NULL THEN
        RAISE EXCEPTION 'records.%: there is no partition %', ledger, part USING ERRCODE = 'undefined_table';
    ELSIF following IS NULL OR NOT EXISTS (SELECT FROM records.cut AS c WHERE c.ledger = ledger
            AND c.generation = generation AND c.size >= following) THEN
        RAISE EXCEPTION 'records.%: partition % is not before a cut', ledger, part
            USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('DROP TABLE records.%I', format('%s_%s', ledger, part));
END
$$;

-- One role prunes, and does nothing else.
GRANT USAGE ON SCHEMA records, accounts TO "sensmail-prune";
GRANT SELECT ON records.access, records.governance, records.part, records.log, records.head, records.checkpoint,
    records.cut, records.cosigned, records.link, records.hold, records.held TO "sensmail-prune";
GRANT INSERT ON records.cut, records.link, records.held TO "sensmail-prune";
GRANT DELETE ON records.held TO "sensmail-prune";
GRANT SELECT (id), INSERT (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, detail)
    ON records.inbox TO "sensmail-prune";
GRANT SELECT (id) ON accounts.subject TO "sensmail-prune";  -- how long records are kept depends on their number
GRANT EXECUTE ON FUNCTION records.drop_part, records.is_held TO "sensmail-prune";

-- Exports, searches and holds.
GRANT SELECT ON records.link, records.held, records.hold TO "sensmail-jobs";
GRANT INSERT (subject_id, account, since, until, placed_by, reason, approver) ON records.hold TO "sensmail-jobs";
GRANT UPDATE (released, released_by, release_reason, release_approver) ON records.hold TO "sensmail-jobs";

-- Searches by time: a few pages in each month, at no cost for the sealer.
CREATE INDEX ON records.access USING brin (at);
CREATE INDEX ON records.governance USING brin (at);
