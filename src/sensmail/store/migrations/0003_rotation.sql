-- Which columns hold sealed values, and how far a protection or a change of keys has come. The register of columns of
-- every database of this server is kept here, in the engine's database. A pass over a table keeps its state in the
-- table's own database, in the same transaction as the rows: so a foreign database gets this schema too, on first use.

CREATE SCHEMA sensmail_rotation;

CREATE TABLE sensmail_rotation.protected_column (
    database_name  text NOT NULL,
    schema_name    text NOT NULL,
    table_name     text NOT NULL,
    column_name    text NOT NULL,
    login          text NOT NULL,
    subject_column text NOT NULL,
    field          bigint NOT NULL UNIQUE CHECK (field BETWEEN 1 AND 4294967295),
    registered_at  timestamptz NOT NULL DEFAULT now(),
    protected_from timestamptz,
    PRIMARY KEY (database_name, schema_name, table_name, column_name)
);
COMMENT ON COLUMN sensmail_rotation.protected_column.protected_from IS
    'from then on no file of table, index or new WAL holds the values in clear; older WAL and backups may';

-- One open job of a kind. The phase tells a reader, and a run that goes on where another was cut off, what is next.
CREATE TABLE sensmail_rotation.job (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind       text NOT NULL CHECK (kind IN ('protect', 'reseal', 'roll', 'root', 'destroy_replaced')),
    phase      text NOT NULL CHECK (phase ~ '^[a-z_]+$'),
    approver   text NOT NULL DEFAULT '',
    reason     text NOT NULL DEFAULT '',
    started_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE UNIQUE INDEX ON sensmail_rotation.job (kind) WHERE ended_at IS NULL;

-- How far a pass has come: "after" is the primary key of the last row that is done, column by column.
CREATE TABLE sensmail_rotation.pass (
    job         uuid NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    phase       text NOT NULL,
    after       bytea[],
    seen        bigint NOT NULL DEFAULT 0,
    changed     bigint NOT NULL DEFAULT 0,
    ended_at    timestamptz,
    PRIMARY KEY (job, schema_name, table_name, phase)
);

-- Values that a pass left as they are, and why. A list begins anew with the next pass.
CREATE TABLE sensmail_rotation.refused (
    job         uuid NOT NULL,
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    column_name text NOT NULL,
    row_key     text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (job, schema_name, table_name, column_name, row_key)
);

GRANT USAGE ON SCHEMA sensmail_rotation TO "sensmail-jobs";
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA sensmail_rotation TO "sensmail-jobs";
GRANT DELETE ON sensmail_rotation.refused TO "sensmail-jobs";
