-- What witnesses have cosigned, and what the publisher needs to ask them. It sees hashes only, never a record.

-- The newest note that a witness cosigned under each signing key; `note` has the lines of the log and of that witness.
CREATE TABLE records.cosigned (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    witness    text NOT NULL CHECK (char_length(witness) <= 400),
    turn       bigint NOT NULL,
    size       bigint NOT NULL CHECK (size >= 0),
    time       bigint NOT NULL,
    at         bigint NOT NULL,
    range      bytea NOT NULL,
    note       text NOT NULL,
    PRIMARY KEY (ledger, generation, witness, turn),
    FOREIGN KEY (ledger, generation) REFERENCES records.log
);
COMMENT ON COLUMN records.cosigned.witness IS 'its verifier key: name+id+base64';
COMMENT ON COLUMN records.cosigned.time IS 'of the checkpoint, seconds since 1970';
COMMENT ON COLUMN records.cosigned.at IS 'when the witness cosigned it, seconds since 1970';
COMMENT ON COLUMN records.cosigned.range IS 'the compact range at that size, from which the next proof is made';

-- A witness has seen what this database does not hold: the database was put back, or somebody else signs.
CREATE TABLE records.ahead (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    witness    text NOT NULL CHECK (char_length(witness) <= 400),
    size       bigint NOT NULL,
    note       text NOT NULL,
    found      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger, generation, witness, size),
    FOREIGN KEY (ledger, generation) REFERENCES records.log
);
COMMENT ON COLUMN records.ahead.note IS 'as the witness showed it, signed by the log and by the witness';
SELECT records.keep_only_added('records.ahead');

CREATE FUNCTION records.cosigned_only_grows() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.ledger, NEW.generation, NEW.witness, NEW.turn)
        = (OLD.ledger, OLD.generation, OLD.witness, OLD.turn) AND NEW.size >= OLD.size AND NEW.time >= OLD.time THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'records.cosigned: % refused: a later note of the same key may replace one, nothing else', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON records.cosigned
    FOR EACH ROW EXECUTE FUNCTION records.cosigned_only_grows();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.cosigned
    FOR EACH STATEMENT EXECUTE FUNCTION records.cosigned_only_grows();
ALTER TABLE records.cosigned ENABLE ALWAYS TRIGGER only_grows;
ALTER TABLE records.cosigned ENABLE ALWAYS TRIGGER never_emptied;

-- Leaf hashes of [first, last) as one value, 32 bytes each, for proofs: row_to_json writes the canonical form of a record.
-- docs/formats.md, "Sealed record"; a test compares it with the engine's.
CREATE FUNCTION records.leaf_hashes(ledger records.ledger, generation integer, first bigint, last bigint) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    parts integer[] := ARRAY(SELECT each.part FROM (
        SELECT p.part, p.first, lead(p.first) OVER (ORDER BY p.part) AS following FROM records.part AS p
        WHERE p.ledger = ledger AND p.part / 1000000 = generation) AS each
        WHERE each.first < last AND coalesce(each.following > first, true));
    found bytea;
BEGIN
    EXECUTE format($query$
        SELECT string_agg(sha256('\x00'::bytea || salt || convert_to(row_to_json(entry)::text, 'UTF8')), ''
            ORDER BY kept.seq)
        FROM records.%I AS kept CROSS JOIN LATERAL (SELECT
            account, act, (extract(epoch FROM at) * 1000000)::bigint AS at, client, clock, detail, %L AS ledger, opening,
            origin, outcome, purpose, (extract(epoch FROM received) * 1000000)::bigint AS received,
            (extract(epoch FROM sealed) * 1000000)::bigint AS sealed, seq, subject_id AS subject, unit, 1 AS v) AS entry
        WHERE part = ANY ($1) AND kept.seq >= $2 AND kept.seq < $3
        $query$, ledger, ledger) INTO found USING parts, first, last;
    RETURN coalesce(found, '');
END
$$;
REVOKE ALL ON FUNCTION records.leaf_hashes FROM PUBLIC;

GRANT USAGE ON SCHEMA records TO "sensmail-publisher";
GRANT EXECUTE ON FUNCTION records.leaf_hashes TO "sensmail-publisher";
GRANT SELECT ON records.log, records.head, records.checkpoint, records.cut TO "sensmail-publisher";
GRANT SELECT, INSERT, UPDATE (size, time, at, range, note) ON records.cosigned TO "sensmail-publisher";
GRANT SELECT, INSERT (ledger, generation, witness, size, note) ON records.ahead TO "sensmail-publisher";
GRANT SELECT ON records.cosigned, records.ahead TO "sensmail-sealer", "sensmail-jobs";
