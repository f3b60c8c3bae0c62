-- Tenants, the people who have a mailbox, their app passwords, and what the mail services may see of it.

CREATE SCHEMA accounts;

-- A value sealed by the key service: version | algorithm | key version (4) | nonce (12) | ciphertext | tag (16).
-- Clear text cannot be stored where this type stands. Version 1 is the only one so far.
CREATE DOMAIN accounts.sealed AS bytea
    CHECK (substring(VALUE FROM 1 FOR 1) = '\x01'::bytea AND octet_length(VALUE) >= 34);

-- Canonical form only (sensmail.accounts.address), so that equal addresses are equal text.
CREATE DOMAIN accounts.address AS text
    CHECK (octet_length(VALUE) <= 254 AND VALUE ~ '^[a-z0-9_][a-z0-9_-]*(\.[a-z0-9_-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)+$');

CREATE TYPE accounts.subject_state AS ENUM ('invited', 'active', 'retired', 'due', 'destroyed');

CREATE TABLE accounts.tenant (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name           text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 200),
    contract_start date,
    contract_end   date,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (contract_end >= contract_start)
);

CREATE TABLE accounts.domain (
    name      text PRIMARY KEY CHECK (octet_length(name) <= 253 AND name ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$'),
    tenant_id uuid NOT NULL REFERENCES accounts.tenant
);
CREATE INDEX ON accounts.domain (tenant_id);

-- Half-empty pages: sealing all rows anew then finds room next to each old row.
CREATE TABLE accounts.subject (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id           uuid NOT NULL REFERENCES accounts.tenant,
    address             accounts.address NOT NULL UNIQUE,
    state               accounts.subject_state NOT NULL DEFAULT 'invited',
    quota_bytes         bigint NOT NULL CHECK (quota_bytes > 0),
    send_limit_per_hour integer NOT NULL CHECK (send_limit_per_hour >= 0),
    password_hash       text CHECK (password_hash ~ '^\$argon2id\$'),
    name                accounts.sealed,
    emergency_email     accounts.sealed,
    department          accounts.sealed,
    "position"          accounts.sealed,
    employee_number     accounts.sealed,
    created_at          timestamptz NOT NULL DEFAULT now(),
    retired_at          timestamptz,
    CHECK ((state IN ('invited', 'active')) = (retired_at IS NULL))
) WITH (fillfactor = 50);
CREATE INDEX ON accounts.subject (tenant_id);

CREATE TABLE accounts.app_password (
    selector     text PRIMARY KEY CHECK (selector ~ '^[0-9a-z]{8}$'),
    subject_id   uuid NOT NULL REFERENCES accounts.subject,
    label        text NOT NULL CHECK (char_length(label) BETWEEN 1 AND 64),
    hash         text NOT NULL CHECK (hash ~ '^\{SSHA512\}[A-Za-z0-9+/]+=*$'),
    scope        text[] NOT NULL
        CHECK (cardinality(scope) > 0 AND scope <@ ARRAY['imap', 'pop3', 'sieve', 'smtp']),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
-- One living password per device name; revoked ones keep their row, so that later records can name it.
CREATE UNIQUE INDEX ON accounts.app_password (subject_id, label) WHERE revoked_at IS NULL;

CREATE TABLE accounts.alias (
    address accounts.address NOT NULL,
    target  text NOT NULL CHECK (octet_length(target) <= 254 AND target ~ '^[^@[:space:],]+@[^@[:space:],]+$'),
    PRIMARY KEY (address, target)
);

GRANT USAGE ON SCHEMA accounts TO "sensmail-jobs";
GRANT SELECT, INSERT, UPDATE ON accounts.tenant, accounts.domain, accounts.subject, accounts.app_password
    TO "sensmail-jobs";
GRANT SELECT, INSERT, DELETE ON accounts.alias TO "sensmail-jobs";

-- The mail services see these views and nothing else. A view reads with the rights of its owner, and a security
-- barrier keeps a caller's own functions from seeing rows before the view's conditions are applied.
CREATE SCHEMA mail;

CREATE VIEW mail.domain WITH (security_barrier) AS
    SELECT name FROM accounts.domain;

-- A mailbox works while its owner is active and the tenant's contract has not ended (the day itself counts, in Korea).
CREATE VIEW mail.mailbox WITH (security_barrier) AS
    SELECT s.address::text AS address,
           s.quota_bytes,
           s.state = 'active'
               AND coalesce((now() AT TIME ZONE 'Asia/Seoul')::date <= t.contract_end, true) AS active,
           s.send_limit_per_hour
    FROM accounts.subject AS s
    JOIN accounts.tenant AS t ON t.id = s.tenant_id
    WHERE s.state <> 'destroyed';

CREATE VIEW mail.alias WITH (security_barrier) AS
    SELECT address::text AS address, target FROM accounts.alias;

CREATE VIEW mail.app_password WITH (security_barrier) AS
    SELECT m.address, p.selector, p.hash, p.scope
    FROM accounts.app_password AS p
    JOIN accounts.subject AS s ON s.id = p.subject_id
    JOIN mail.mailbox AS m ON m.address = s.address::text
    WHERE m.active AND p.revoked_at IS NULL AND coalesce(p.expires_at > now(), true);

GRANT USAGE ON SCHEMA mail TO postfix, dovecot;
GRANT SELECT ON mail.domain, mail.mailbox, mail.alias TO postfix;
GRANT SELECT ON mail.mailbox, mail.app_password TO dovecot;
