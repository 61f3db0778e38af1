/* streams: version, description and deletion */

CREATE FUNCTION event_store.stream_version(stream text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_stream_version'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.stream_version(text)
IS 'the version of the last event of a stream, 0 if there is no such stream';

CREATE FUNCTION event_store.stream_info(stream text,
	OUT stream text, OUT category text, OUT status text, OUT version bigint, OUT last_position bigint,
	OUT created_at timestamptz, OUT last_event_at timestamptz, OUT deleted_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_stream_info'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION event_store.stream_info(text)
IS 'what is known of a stream, no row if there is no such stream';

CREATE FUNCTION event_store.streams(after_stream text DEFAULT NULL, max_count bigint DEFAULT 1000, prefix text DEFAULT NULL,
	category text DEFAULT NULL, pattern text DEFAULT NULL,
	OUT stream text, OUT category text, OUT status text, OUT version bigint, OUT last_position bigint,
	OUT created_at timestamptz, OUT last_event_at timestamptz, OUT deleted_at timestamptz, OUT metadata jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_streams'
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1000;
COMMENT ON FUNCTION event_store.streams(text, bigint, text, text, text)
IS 'streams in the order of their names: those after a name, with a prefix, of a category, like a pattern';

CREATE FUNCTION event_store.delete_stream(stream text, expected event_store.expected_version DEFAULT 'exists')
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_delete_stream'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.delete_stream(text, event_store.expected_version)
IS 'closes a stream for good: no more reads of it and appends to it, its name stays taken, its events stay in read_all; returns its last version';

REVOKE ALL ON FUNCTION
	event_store.stream_version(text),
	event_store.stream_info(text),
	event_store.streams(text, bigint, text, text, text),
	event_store.delete_stream(text, event_store.expected_version)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.stream_version(text),
	event_store.stream_info(text),
	event_store.streams(text, bigint, text, text, text),
	event_store.delete_stream(text, event_store.expected_version)
TO PUBLIC;
