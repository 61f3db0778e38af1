/* registries: names that sessions hold, in shared memory */

CREATE TABLE event_store.registry_definitions (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	number pg_catalog.int8 NOT NULL,
	keys pg_catalog.text NOT NULL,
	meta pg_catalog.jsonb NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	created_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT registry_definitions_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE event_store.registry_definitions
IS 'the registries; the names in them are in shared memory';
SELECT pg_catalog.pg_extension_config_dump('event_store.registry_definitions', '');
REVOKE ALL ON TABLE event_store.registry_definitions FROM PUBLIC;
GRANT SELECT ON TABLE event_store.registry_definitions TO PUBLIC;

CREATE FUNCTION event_store.registry_create(name text, keys text DEFAULT 'unique')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_registry_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_create(text, text)
IS 'makes a registry, whose keys are unique or duplicate: with one holder each, or with any number';

CREATE FUNCTION event_store.registry_drop(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_registry_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_drop(text)
IS 'drops a registry; the names in it are found no more';

CREATE FUNCTION event_store.register(registry text, key text, value jsonb DEFAULT 'null', scope text DEFAULT 'session')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register(text, text, jsonb, text)
IS 'takes a key of a registry, with a value beside it, for this session or for its transaction';

CREATE FUNCTION event_store.unregister(registry text, key text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_unregister'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister(text, text)
IS 'gives a key up; false if this session does not hold it';

CREATE FUNCTION event_store.unregister_match(registry text, key text, predicate jsonpath)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_unregister_match'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_match(text, text, jsonpath)
IS 'gives up what this session holds of a key where a predicate holds of the value; returns how many';

CREATE FUNCTION event_store.lookup(registry text, key text)
RETURNS TABLE (pid integer, value jsonb)
AS 'MODULE_PATHNAME', 'event_store_lookup'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION event_store.lookup(text, text)
IS 'the processes that hold a key, with their values';

CREATE FUNCTION event_store.whereis(registry text, key text)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_whereis'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.whereis(text, text)
IS 'the process that holds a unique key, null if there is none';

CREATE FUNCTION event_store.keys_of(registry text, pid integer DEFAULT pg_catalog.pg_backend_pid())
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'event_store_keys_of'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.keys_of(text, integer)
IS 'the keys that a process holds in a registry';

CREATE FUNCTION event_store.registry_select(registry text, key text DEFAULT NULL, predicate jsonpath DEFAULT NULL)
RETURNS TABLE (held_key text, pid integer, value jsonb, since timestamptz)
AS 'MODULE_PATHNAME', 'event_store_registry_select'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION event_store.registry_select(text, text, jsonpath)
IS 'who holds what in a registry, of all keys or one, with a predicate only where it holds of the value';

CREATE FUNCTION event_store.registry_count(registry text, key text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_registry_count'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.registry_count(text, text)
IS 'how many names are held in a registry, of all keys or one';

CREATE FUNCTION event_store.update_value(registry text, key text, fn regprocedure)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_update_value'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.update_value(text, text, regprocedure)
IS 'puts what a function makes of the value of a unique key that this session holds in its place, and returns it';

CREATE FUNCTION event_store.registry_meta(registry text, key text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_registry_meta'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.registry_meta(text, text)
IS 'what is noted of a registry under a key, null if nothing is';

CREATE FUNCTION event_store.registry_put_meta(registry text, key text, value jsonb)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_registry_put_meta'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_put_meta(text, text, jsonb)
IS 'notes something of a registry under a key; null takes it away';

CREATE FUNCTION event_store.registry_lock(registry text, key text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_registry_lock'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_lock(text, text)
IS 'waits until no other transaction has locked the key, and locks it until this one ends';

CREATE FUNCTION event_store.registry_listen(registry text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_registry_listen'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_listen(text)
IS 'has this session told, in its mailbox, what other sessions take and give up in a registry';

CREATE FUNCTION event_store.registry_send(registry text, key text, payload jsonb)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_registry_send'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.registry_send(text, text, jsonb)
IS 'puts a message into the mailboxes of those who hold a key; returns how many they are';

CREATE FUNCTION event_store.receive(timeout interval DEFAULT '0')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_receive'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.receive(interval)
IS 'takes the oldest message out of this session''s mailbox, waiting for one; null if there is none in time';

CREATE FUNCTION event_store.registry_dispatch(registry text, key text, payload jsonb, fn regprocedure)
RETURNS TABLE (pid integer, ok boolean, result jsonb, problem jsonb)
AS 'MODULE_PATHNAME', 'event_store_registry_dispatch'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.registry_dispatch(text, text, jsonb, regprocedure)
IS 'calls a function for each holder of a key, here, and tells what came of each call';

CREATE VIEW event_store.registries AS
SELECT d.name, d.keys, event_store.registry_count(d.name) AS names, d.owner, d.created_at
FROM event_store.registry_definitions d;
COMMENT ON VIEW event_store.registries
IS 'the registries, and how many names are held in each';

REVOKE ALL ON TABLE event_store.registries FROM PUBLIC;
GRANT SELECT ON TABLE event_store.registries TO PUBLIC;
REVOKE ALL ON FUNCTION
	event_store.registry_create(text, text),
	event_store.registry_drop(text),
	event_store.register(text, text, jsonb, text),
	event_store.unregister(text, text),
	event_store.unregister_match(text, text, jsonpath),
	event_store.lookup(text, text),
	event_store.whereis(text, text),
	event_store.keys_of(text, integer),
	event_store.registry_select(text, text, jsonpath),
	event_store.registry_count(text, text),
	event_store.update_value(text, text, regprocedure),
	event_store.registry_meta(text, text),
	event_store.registry_put_meta(text, text, jsonb),
	event_store.registry_lock(text, text),
	event_store.registry_listen(text),
	event_store.registry_send(text, text, jsonb),
	event_store.receive(interval),
	event_store.registry_dispatch(text, text, jsonb, regprocedure)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.registry_create(text, text),
	event_store.registry_drop(text),
	event_store.register(text, text, jsonb, text),
	event_store.unregister(text, text),
	event_store.unregister_match(text, text, jsonpath),
	event_store.lookup(text, text),
	event_store.whereis(text, text),
	event_store.keys_of(text, integer),
	event_store.registry_select(text, text, jsonpath),
	event_store.registry_count(text, text),
	event_store.update_value(text, text, regprocedure),
	event_store.registry_meta(text, text),
	event_store.registry_put_meta(text, text, jsonb),
	event_store.registry_lock(text, text),
	event_store.registry_listen(text),
	event_store.registry_send(text, text, jsonb),
	event_store.receive(interval),
	event_store.registry_dispatch(text, text, jsonb, regprocedure)
TO PUBLIC;
