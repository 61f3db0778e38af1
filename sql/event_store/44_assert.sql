/* assert: assertions on events and commands, for test suites */

CREATE FUNCTION event_store.assert_event(type text, data jsonb DEFAULT NULL, stream text DEFAULT NULL,
	after_position bigint DEFAULT 0, description text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_assert_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.assert_event(text, jsonb, text, bigint, text)
IS 'a line of TAP: ok if there is an event of this type whose data contain these';

CREATE FUNCTION event_store.refute_event(type text, data jsonb DEFAULT NULL, stream text DEFAULT NULL,
	after_position bigint DEFAULT 0, description text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_refute_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.refute_event(text, jsonb, text, bigint, text)
IS 'a line of TAP: ok if there is no event of this type whose data contain these';

CREATE FUNCTION event_store.wait_for_event(type text, data jsonb DEFAULT NULL, stream text DEFAULT NULL,
	after_position bigint DEFAULT 0, timeout interval DEFAULT '1 second', description text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_wait_for_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.wait_for_event(text, jsonb, text, bigint, interval, text)
IS 'a line of TAP: ok as soon as there is such an event, not ok when the time has passed';

CREATE FUNCTION event_store.assert_correlated(first_type text, second_type text, first_data jsonb DEFAULT NULL,
	second_data jsonb DEFAULT NULL, after_position bigint DEFAULT 0, description text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_assert_correlated'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.assert_correlated(text, text, jsonb, jsonb, bigint, text)
IS 'a line of TAP: ok if two such events have the same correlation id';

CREATE FUNCTION event_store.assert_command(stream text, given jsonb, type text, command jsonb, events jsonb DEFAULT NULL,
	rejected text DEFAULT NULL, description text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_assert_command'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.assert_command(text, jsonb, text, jsonb, jsonb, text, text)
IS 'a line of TAP: given these events in the stream, the command makes those, or is rejected; all of it is undone';

REVOKE ALL ON FUNCTION
	event_store.assert_event(text, jsonb, text, bigint, text),
	event_store.refute_event(text, jsonb, text, bigint, text),
	event_store.wait_for_event(text, jsonb, text, bigint, interval, text),
	event_store.assert_correlated(text, text, jsonb, jsonb, bigint, text),
	event_store.assert_command(text, jsonb, text, jsonb, jsonb, text, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.assert_event(text, jsonb, text, bigint, text),
	event_store.refute_event(text, jsonb, text, bigint, text),
	event_store.wait_for_event(text, jsonb, text, bigint, interval, text),
	event_store.assert_correlated(text, text, jsonb, jsonb, bigint, text),
	event_store.assert_command(text, jsonb, text, jsonb, jsonb, text, text)
TO PUBLIC;
