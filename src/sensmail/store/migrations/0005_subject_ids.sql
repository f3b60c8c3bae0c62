-- A subject's id comes from the key service, together with its key; the database makes none by itself.

ALTER TABLE accounts.subject ALTER COLUMN id DROP DEFAULT;
