-- Records: one inbox that every act writes to in its own transaction. Plain rows, only ever added.

CREATE SCHEMA records;

CREATE TYPE records.ledger AS ENUM ('access', 'governance');
CREATE TYPE records.outcome AS ENUM ('done', 'refused', 'failed', 'void');

CREATE TABLE records.inbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    ledger     records.ledger NOT NULL,
    act        text NOT NULL CHECK (act ~ '^[a-z][a-z0-9_.]{0,63}$'),
    account    text NOT NULL CHECK (char_length(account) <= 320),
    origin     text NOT NULL CHECK (char_length(origin) <= 200),
    subject_id uuid,
    client     text NOT NULL CHECK (char_length(client) <= 200),
    purpose    text NOT NULL CHECK (char_length(purpose) <= 64),
    outcome    records.outcome NOT NULL,
    unit       text NOT NULL CHECK (char_length(unit) <= 256),
    opening    bigint UNIQUE CHECK (opening > 0),
    detail     jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object' AND octet_length(detail::text) <= 65536)
);
COMMENT ON COLUMN records.inbox.unit IS 'the systemd unit that asked, as the kernel names it';
COMMENT ON COLUMN records.inbox.opening IS 'number of the opening, counted by the key service without a gap';

CREATE FUNCTION records.only_added() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '%.%: % refused: records are only ever added', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON records.inbox
    FOR EACH STATEMENT EXECUTE FUNCTION records.only_added();
-- ALWAYS: also under session_replication_role = replica. A superuser can still drop it; then the gap in the opening
-- numbers shows.
ALTER TABLE records.inbox ENABLE ALWAYS TRIGGER only_added;

-- Who inserts sees the ids of their rows, to check that each was kept, and nothing else. Time and id are the server's.
GRANT USAGE ON SCHEMA records TO "sensmail-keyd", "sensmail-jobs";
GRANT INSERT (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, detail)
    ON records.inbox TO "sensmail-keyd", "sensmail-jobs";
GRANT INSERT (opening), SELECT (id, opening) ON records.inbox TO "sensmail-keyd";
GRANT SELECT (id) ON records.inbox TO "sensmail-jobs";
