-- The register of access rights (접근권한 관리대장): a row for each term of a right, from its grant or change to the next
-- change or its revocation. Names stand here alone; the ledger names a right by the row's id. A row is written before the
-- right is given, so that a right without a row was never given by us. A date is filled in once, when it happens.

CREATE TABLE records.access_right (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    number           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    kind             text NOT NULL CHECK (kind IN ('operator', 'sudo', 'database', 'portal')),
    scope            text NOT NULL CHECK (char_length(scope) BETWEEN 1 AND 200),
    account          text NOT NULL CHECK (char_length(account) BETWEEN 1 AND 200),
    "right"          text NOT NULL CHECK (char_length("right") BETWEEN 1 AND 200),
    holder           text NOT NULL CHECK (char_length(holder) <= 200 AND holder !~ '[[:cntrl:]]'),
    terms            text[] NOT NULL DEFAULT '{}',
    until            timestamptz,
    reason           text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 1000),
    approver_role    text NOT NULL DEFAULT '',
    approver         text NOT NULL DEFAULT '',
    reference        text NOT NULL DEFAULT '',
    replaces         uuid,
    asked            timestamptz NOT NULL DEFAULT now(),
    granted          timestamptz,
    void             timestamptz,
    changed          timestamptz,
    revoking         timestamptz,
    revoked          timestamptz,
    revoke_reason    text CHECK (char_length(revoke_reason) BETWEEN 1 AND 1000),
    revoke_approver  text,
    revoke_reference text,
    CHECK (asked <= granted),
    CHECK (granted <= changed),
    CHECK (revoking <= revoked),
    CHECK (void IS NULL OR (granted, changed, revoking) IS NOT DISTINCT FROM (NULL, NULL, NULL)),
    CHECK (changed IS NULL OR revoking IS NULL),
    CHECK (revoked IS NULL OR revoking IS NOT NULL),
    CHECK ((revoking IS NULL) = (revoke_reason IS NULL)),
    -- whatever was given by us has an end, a holder, and somebody else who approved
    CHECK (granted IS NULL OR (until IS NOT NULL AND holder <> '' AND approver <> '' AND approver <> holder))
);
COMMENT ON COLUMN records.access_right.terms IS 'public SSH keys of an operator, commands of a sudo right; else empty';
COMMENT ON COLUMN records.access_right.asked IS 'the intention; the right is given after this is committed';
COMMENT ON COLUMN records.access_right.granted IS 'empty, but revoked filled in: found without a record, and ended';
COMMENT ON COLUMN records.access_right.void IS 'the intention was taken back; the right was not given, or taken away again';
COMMENT ON COLUMN records.access_right.changed IS 'ended by a change; the row with the new terms says so in replaces';

-- One term in force, and one intention, for each right.
CREATE UNIQUE INDEX ON records.access_right (kind, scope, account, "right")
    WHERE granted IS NOT NULL AND changed IS NULL AND revoked IS NULL;
CREATE UNIQUE INDEX ON records.access_right (kind, scope, account, "right")
    WHERE granted IS NULL AND void IS NULL AND revoked IS NULL;

CREATE FUNCTION records.access_right_fills_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NOT EXISTS (
        SELECT FROM jsonb_each(jsonb_strip_nulls(to_jsonb(OLD))) AS stood
        WHERE to_jsonb(NEW) -> stood.key IS DISTINCT FROM stood.value)
    THEN
        RETURN NEW;
    END IF;
    -- The shortest period that the law asks; the policy asks more, and the job that deletes goes by the stricter.
    IF TG_OP = 'DELETE' AND coalesce(OLD.revoked, OLD.changed, OLD.void) < now() - interval '3 years' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'records.access_right: % refused: what stands in the register of rights is not changed or removed', TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'a date that is still empty may be filled in';
END
$$;
CREATE TRIGGER fills_once BEFORE UPDATE OR DELETE ON records.access_right
    FOR EACH ROW EXECUTE FUNCTION records.access_right_fills_once();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.access_right
    FOR EACH STATEMENT EXECUTE FUNCTION records.access_right_fills_once();
ALTER TABLE records.access_right ENABLE ALWAYS TRIGGER fills_once;
ALTER TABLE records.access_right ENABLE ALWAYS TRIGGER never_emptied;

-- What a person may do in the portal. The portal reads what has not passed its end.
CREATE TABLE accounts.portal_role (
    subject_id uuid NOT NULL REFERENCES accounts.subject,
    tenant_id  uuid NOT NULL REFERENCES accounts.tenant,
    role       text NOT NULL CHECK (role IN ('tenant_admin', 'privacy_officer')),
    until      timestamptz NOT NULL,
    PRIMARY KEY (subject_id, tenant_id, role)
);
CREATE INDEX ON accounts.portal_role (tenant_id);

GRANT USAGE ON SCHEMA records, accounts TO "sensmail-rights";
GRANT INSERT (ledger, act, account, origin, subject_id, client, purpose, outcome, unit, detail), SELECT (id)
    ON records.inbox TO "sensmail-rights";
GRANT SELECT, DELETE ON records.access_right TO "sensmail-rights";
GRANT INSERT (kind, scope, account, "right", holder, terms, until, reason, approver_role, approver, reference, replaces,
        revoking, revoke_reason, revoke_approver, revoke_reference)
    ON records.access_right TO "sensmail-rights";
GRANT UPDATE (granted, void, changed, revoking, revoked, revoke_reason, revoke_approver, revoke_reference)
    ON records.access_right TO "sensmail-rights";
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.portal_role TO "sensmail-rights";
GRANT SELECT (id, address, state, tenant_id) ON accounts.subject TO "sensmail-rights";
GRANT SELECT (id, name) ON accounts.tenant TO "sensmail-rights";

-- Persons read the registers as members of this role, under their own name. Which ledgers they see is granted where a
-- ledger is made.
GRANT USAGE ON SCHEMA records TO sensmail_auditor;
GRANT SELECT ON records.access_right, records.key_register TO sensmail_auditor;
