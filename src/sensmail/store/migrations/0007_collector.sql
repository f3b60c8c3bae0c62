-- The collector: where it stands in the journal of each host, whose address an address is, and what it may add.

CREATE TABLE records.journal_position (
    host     text PRIMARY KEY CHECK (host ~ '^[0-9a-f]{32}$'),
    cursor   text NOT NULL CHECK (octet_length(cursor) <= 512),
    sessions jsonb NOT NULL CHECK (jsonb_typeof(sessions) = 'object'),
    moved_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN records.journal_position.host IS 'machine-id(5) of the host';

CREATE VIEW records.known_address WITH (security_barrier) AS
    SELECT address::text AS address, id FROM accounts.subject WHERE state <> 'destroyed';

GRANT USAGE ON SCHEMA records TO "sensmail-collector";
GRANT SELECT, INSERT (host, cursor, sessions), UPDATE (cursor, sessions, moved_at) ON records.journal_position TO "sensmail-collector";
GRANT SELECT ON records.known_address TO "sensmail-collector";
GRANT SELECT (id), INSERT (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, detail, acted_at, clock)
    ON records.inbox TO "sensmail-collector";

-- pgaudit notes who reads or changes what this role could: every table that holds personal data. Nobody is ever a member
-- of it. The services of the engine are left out, each by a setting of its role (sensmail.store.roles).
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.subject, accounts.app_password, accounts.alias TO sensmail_audit;
GRANT SELECT ON records.inbox, records.access, records.governance TO sensmail_audit;
-- The partitions of later months too, which may be read by their own names.
ALTER DEFAULT PRIVILEGES IN SCHEMA records GRANT SELECT ON TABLES TO sensmail_audit;
