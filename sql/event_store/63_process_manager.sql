/* process managers: registered functions that turn events into commands, with a state for each instance */

CREATE FUNCTION event_store.register_process_manager(name text, interested text, handle text, apply text DEFAULT NULL,
	initial jsonb DEFAULT '{}', after_command text DEFAULT NULL, error_function text DEFAULT NULL,
	idle_timeout interval DEFAULT NULL, event_timeout interval DEFAULT NULL, start_from text DEFAULT 'origin',
	stream text DEFAULT NULL, category text DEFAULT NULL, types text[] DEFAULT NULL, filter jsonpath DEFAULT NULL,
	consistency text DEFAULT 'eventual', max_attempts integer DEFAULT 10, backoff interval DEFAULT '1 s',
	on_exhausted text DEFAULT 'park', tenant text DEFAULT NULL,
	background boolean DEFAULT true, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_process_manager'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_process_manager(text, text, text, text, jsonb, text, text, interval, interval, text,
	text, text, text[], jsonpath, text, integer, interval, text, text, boolean, boolean)
IS 'registers the functions that turn the events of a process into commands; it is operated like a handler';

REVOKE ALL ON FUNCTION event_store.register_process_manager(text, text, text, text, jsonb, text, text, interval, interval, text,
	text, text, text[], jsonpath, text, integer, interval, text, text, boolean, boolean)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.register_process_manager(text, text, text, text, jsonb, text, text, interval, interval, text,
	text, text, text[], jsonpath, text, integer, interval, text, text, boolean, boolean)
TO PUBLIC;
