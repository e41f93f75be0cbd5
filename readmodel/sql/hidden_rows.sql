-- The tables of which row-level security hides rows from us, if any.
SELECT string_agg(found.name::text, ' and ') AS hidden
FROM (VALUES (to_regclass('sessions')), (to_regclass('events'))) AS found (name)
WHERE found.name IS NOT NULL AND row_security_active(found.name)
