-- The two ledgers: records that the sealer has numbered, hashed and signed. It alone takes rows out of the inbox and
-- adds them here. docs/decisions/0008-records.md says why; docs/formats.md has the bytes.

-- The time of the act, where the writer knows it better than the moment of the insert; and what it knows of its clock.
ALTER TABLE records.inbox
    ADD acted_at timestamptz CHECK (acted_at >= '1970-01-01 00:00Z' AND acted_at < '2200-01-01 00:00Z'),
    ADD clock text NOT NULL DEFAULT '' CHECK (clock ~ '^[a-z_]{0,32}$'),
    ADD CHECK (opening <= 9007199254740991);  -- the largest number that every reader of JSON knows

-- A queue: kept short, so that its head is found at once.
ALTER TABLE records.inbox SET (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 50000);

CREATE OR REPLACE FUNCTION records.only_added() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'inbox' AND current_user = 'sensmail-sealer' THEN
        RETURN NULL;  -- into a ledger, in the same transaction
    END IF;
    RAISE EXCEPTION '%.%: % refused: records are only ever added', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;

-- A partition is a month, and a range of numbers that needs no bound: `part` is 1000000 * generation + yyyymm of the
-- first batch. Which numbers it holds says records.part.
CREATE TABLE records.access (
    part       integer NOT NULL,
    seq        bigint NOT NULL CHECK (seq >= 0),
    at         timestamptz NOT NULL,
    received   timestamptz NOT NULL,
    sealed     timestamptz NOT NULL,
    clock      text NOT NULL,
    act        text NOT NULL,
    account    text NOT NULL,
    origin     text NOT NULL,
    subject_id uuid,
    client     text NOT NULL,
    purpose    text NOT NULL,
    outcome    records.outcome NOT NULL,
    unit       text NOT NULL,
    opening    bigint,
    detail     json NOT NULL,
    salt       bytea NOT NULL CHECK (octet_length(salt) = 16),
    PRIMARY KEY (part, seq)
) PARTITION BY LIST (part);
CREATE INDEX ON records.access (opening) WHERE opening IS NOT NULL;
CREATE TABLE records.governance (LIKE records.access INCLUDING ALL) PARTITION BY LIST (part);
COMMENT ON COLUMN records.access.detail IS 'as text, byte for byte what was hashed';

CREATE TABLE records.part (
    ledger records.ledger NOT NULL,
    part   integer NOT NULL,
    first  bigint NOT NULL CHECK (first >= 0),
    made   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger, part)
);

-- A log is one ledger of one generation; a lawful restore opens the next generation.
CREATE TABLE records.log (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL CHECK (generation BETWEEN 1 AND 2000),
    origin     text NOT NULL UNIQUE,
    log_key    text NOT NULL,
    opened     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger, generation)
);
COMMENT ON COLUMN records.log.log_key IS 'the verifier key: origin+id+base64';

-- Where a ledger stands: its newest checkpoint, and the compact range from which it grows.
CREATE TABLE records.head (
    ledger     records.ledger PRIMARY KEY,
    generation integer NOT NULL,
    size       bigint NOT NULL CHECK (size >= 0),
    range      bytea NOT NULL,
    sealed     timestamptz NOT NULL,
    part       integer NOT NULL,
    turn       bigint NOT NULL CHECK (turn >= 0),
    note       text NOT NULL,
    FOREIGN KEY (ledger, generation) REFERENCES records.log
);
COMMENT ON COLUMN records.head.turn IS 'number of the signing key, from 0 in each generation';

-- Checkpoints that are kept: at least the last of each signing key, so that the chain can be followed.
CREATE TABLE records.checkpoint (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    turn       bigint NOT NULL,
    size       bigint NOT NULL,
    time       bigint NOT NULL,
    note       text NOT NULL,
    PRIMARY KEY (ledger, generation, turn, size, time),
    FOREIGN KEY (ledger, generation) REFERENCES records.log
);

-- Where a log was cut: the records below `size` are gone, and proofs start from the range.
CREATE TABLE records.cut (
    ledger     records.ledger NOT NULL,
    generation integer NOT NULL,
    size       bigint NOT NULL CHECK (size > 0),
    range      bytea NOT NULL,
    opening    bigint NOT NULL,
    made       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (ledger, generation, size),
    FOREIGN KEY (ledger, generation) REFERENCES records.log
);
COMMENT ON COLUMN records.cut.opening IS 'the highest opening number that was pruned so far; 0 where there was none';

CREATE FUNCTION records.head_only_grows() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.ledger = OLD.ledger AND (NEW.generation > OLD.generation
        OR (NEW.generation = OLD.generation AND NEW.size >= OLD.size AND NEW.turn >= OLD.turn)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'records.head: % refused: a head only grows', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON records.head
    FOR EACH ROW EXECUTE FUNCTION records.head_only_grows();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.head
    FOR EACH STATEMENT EXECUTE FUNCTION records.head_only_grows();
ALTER TABLE records.head ENABLE ALWAYS TRIGGER only_grows;
ALTER TABLE records.head ENABLE ALWAYS TRIGGER never_emptied;

CREATE FUNCTION records.keep_only_added(target regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION records.only_added()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER only_added', target);
END
$$;
REVOKE ALL ON FUNCTION records.keep_only_added FROM PUBLIC;
SELECT records.keep_only_added(target) FROM unnest(ARRAY['records.access', 'records.governance', 'records.part',
    'records.log', 'records.checkpoint', 'records.cut']::regclass[]) AS target;

-- The sealer owns no table and makes none; it asks for the partition of a month. Attaching one waits for no reader.
CREATE FUNCTION records.make_part(ledger records.ledger, part integer, first bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    child text := format('records.%I', format('%s_%s', ledger, part));
BEGIN
    IF part <= (SELECT max(p.part) FROM records.part AS p WHERE p.ledger = ledger) THEN
        RAISE EXCEPTION 'records.%: partition % is not after the last one', ledger, part
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO records.part (ledger, part, first) VALUES (ledger, part, first);
    EXECUTE format('CREATE TABLE %s (LIKE records.%I INCLUDING ALL)', child, ledger);
    PERFORM records.keep_only_added(child::regclass);
    EXECUTE format('ALTER TABLE records.%I ATTACH PARTITION %s FOR VALUES IN (%s)', ledger, child, part);
END
$$;

-- Takes the oldest partition away, files and all; only up to a cut that was stored before.
CREATE FUNCTION records.drop_part(ledger records.ledger, part integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    following bigint := (SELECT min(p.first) FROM records.part AS p
        WHERE p.ledger = ledger AND p.part > part AND p.part / 1000000 = part / 1000000);
BEGIN
    IF to_regclass(format('records.%I', format('%s_%s', ledger, part))) IS NULL THEN
        RAISE EXCEPTION 'records.%: there is no partition %', ledger, part USING ERRCODE = 'undefined_table';
    ELSIF following IS NULL OR NOT EXISTS (SELECT FROM records.cut AS c WHERE c.ledger = ledger
            AND c.generation = part / 1000000 AND c.size >= following) THEN
        RAISE EXCEPTION 'records.%: partition % is not before a cut', ledger, part
            USING ERRCODE = 'restrict_violation';
    END IF;
    EXECUTE format('DROP TABLE records.%I', format('%s_%s', ledger, part));
END
$$;
REVOKE ALL ON FUNCTION records.make_part, records.drop_part FROM PUBLIC;

GRANT USAGE ON SCHEMA records TO "sensmail-sealer";
GRANT SELECT, DELETE ON records.inbox TO "sensmail-sealer";
GRANT INSERT (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, detail)
    ON records.inbox TO "sensmail-sealer";
GRANT SELECT, INSERT ON records.access, records.governance, records.log, records.checkpoint TO "sensmail-sealer";
GRANT SELECT, INSERT, UPDATE ON records.head TO "sensmail-sealer";
GRANT SELECT ON records.part, records.cut TO "sensmail-sealer";
GRANT EXECUTE ON FUNCTION records.make_part TO "sensmail-sealer";

-- Whoever looks for openings without a record looks in the ledger as well, and not before the cut.
GRANT SELECT (opening) ON records.access, records.cut TO "sensmail-keyd";
GRANT SELECT (ledger) ON records.cut TO "sensmail-keyd";
-- Reading, searching, checking; and how long the oldest record has waited.
GRANT SELECT (at) ON records.inbox TO "sensmail-jobs";
GRANT SELECT ON records.access, records.governance, records.part, records.log, records.head, records.checkpoint,
    records.cut TO "sensmail-jobs";
