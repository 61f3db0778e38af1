\set VERBOSITY terse
/* errors: every one is a problem document with an SQLSTATE that the catalogue knows */
SELECT event_store.create_store('shop');
SET search_path = shop;
SELECT sqlstate, name, title, status FROM event_store.problem_types() WHERE name IS NOT NULL;
SELECT bool_and(status BETWEEN 400 AND 599 AND title <> '' AND type <> '') FROM event_store.problem_types();

-- a document is JSON whatever the names in it, with the standard members first
CREATE FUNCTION pg_temp.problem(command text, OUT state text, OUT message text, OUT document jsonb, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, document = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
END $$;
SELECT * FROM pg_temp.problem($$SELECT event_store.append_event(E'quo"te\n\\ü', 'A', expected => 7)$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.append('s', '[{"type": "A", "data": 1, "typ\"e": 1}]')$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.create_store('shop')$$);
SET search_path = public;
SELECT * FROM pg_temp.problem($$SELECT event_store.head()$$);
DROP SCHEMA shop CASCADE;
