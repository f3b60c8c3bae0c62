-- The key register (암호키 관리대장): the life of every key, a row a key. A date is filled in once, when it happens, and
-- nothing that is filled in ever changes. Keys of data subjects are too many for a row each: one row stands for all
-- that are in use, and one for each batch that was replaced or dropped together, with their number.

CREATE TABLE records.key_register (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ring        text NOT NULL CHECK (ring ~ '^[0-9a-f]{32}$'),
    kind        text NOT NULL CHECK (kind IN ('root', 'epoch', 'recovery', 'subject')),
    key         text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 200),
    purpose     text NOT NULL CHECK (char_length(purpose) BETWEEN 1 AND 200),
    provider    text NOT NULL DEFAULT '',
    count       bigint CHECK (count > 0),
    remark      text NOT NULL DEFAULT '',
    made        timestamptz,
    activated   timestamptz,
    retired     timestamptz,
    dropped     timestamptz,
    destroyed   timestamptz,
    approver    text,
    destruction text CHECK (destruction IN ('software', 'hardware', 'none')),
    reason      text,
    UNIQUE (ring, kind, key),
    CHECK ((kind = 'root') = (provider <> '')),
    CHECK (made <= activated),
    CHECK (activated <= retired),
    CHECK (retired <= dropped),
    CHECK (coalesce(dropped, retired, activated, made) <= destroyed),
    CHECK (destroyed IS NULL OR destruction IS NOT NULL)
);
COMMENT ON COLUMN records.key_register.dropped IS 'left the key file; destroyed when no place opens it any more';
COMMENT ON COLUMN records.key_register.remark IS 'how the row came to be; written with the row';
COMMENT ON COLUMN records.key_register.reason IS 'why the key ended';

CREATE FUNCTION records.key_register_fills_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) @> jsonb_strip_nulls(to_jsonb(OLD)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'records.key_register: % refused: what stands in the key register is never changed or removed', TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'a date that is still empty may be filled in';
END
$$;
CREATE TRIGGER fills_once BEFORE UPDATE OR DELETE ON records.key_register
    FOR EACH ROW EXECUTE FUNCTION records.key_register_fills_once();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON records.key_register
    FOR EACH STATEMENT EXECUTE FUNCTION records.key_register_fills_once();
ALTER TABLE records.key_register ENABLE ALWAYS TRIGGER fills_once;
ALTER TABLE records.key_register ENABLE ALWAYS TRIGGER never_emptied;

GRANT SELECT, INSERT ON records.key_register TO "sensmail-keyd";
GRANT UPDATE (activated, retired, dropped, destroyed, approver, destruction, reason)
    ON records.key_register TO "sensmail-keyd";
GRANT SELECT ON records.key_register TO "sensmail-jobs";
