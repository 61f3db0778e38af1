/* streams: version, description, limits, links and deletion */

CREATE FUNCTION event_store.stream_version(stream text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_stream_version'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.stream_version(text)
IS 'the version of the last event of a stream, 0 if there is no such stream';

CREATE FUNCTION event_store.stream_info(stream text,
	OUT stream text, OUT category text, OUT status text, OUT version bigint, OUT last_position bigint,
	OUT created_at timestamptz, OUT last_event_at timestamptz, OUT deleted_at timestamptz,
	OUT first_version bigint, OUT truncate_before bigint, OUT max_age interval, OUT max_count bigint, OUT metadata jsonb)
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

CREATE FUNCTION event_store.delete_stream(stream text, expected event_store.expected_version DEFAULT 'exists', hard boolean DEFAULT false)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_delete_stream'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.delete_stream(text, event_store.expected_version, boolean)
IS 'closes a stream for good: no more reads of it and appends to it, its name stays taken, its events stay in read_all unless the deletion is hard; returns its last version';

CREATE FUNCTION event_store.truncate_stream(stream text, before_version bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_truncate_stream'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.truncate_stream(text, bigint)
IS 'hides the events of a stream before a version; returns the version that it is truncated before, which never falls';

CREATE FUNCTION event_store.set_stream_metadata(stream text, metadata jsonb DEFAULT NULL, max_age interval DEFAULT NULL,
	max_count bigint DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_set_stream_metadata'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.set_stream_metadata(text, jsonb, interval, bigint)
IS 'sets what is noted of a stream and how long and how many of its events are kept, all three anew';

CREATE FUNCTION event_store.stream_metadata(stream text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_stream_metadata'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.stream_metadata(text)
IS 'what is noted of a stream, null if nothing is or there is no such stream';

CREATE FUNCTION event_store.link_event(stream text, event_id uuid, expected event_store.expected_version DEFAULT 'any')
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_link_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.link_event(text, uuid, event_store.expected_version)
IS 'appends to a stream a link to an event of any stream';

CREATE PROCEDURE event_store.scavenge_store(batch_size integer DEFAULT 1000, delay interval DEFAULT '0',
	INOUT events bigint DEFAULT NULL, INOUT streams bigint DEFAULT NULL, INOUT busy bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'event_store_scavenge_store'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.scavenge_store(integer, interval, bigint, bigint, bigint)
IS 'takes away the events that the limits of their streams hide, a batch a transaction; tells how many, of how many streams, and how many streams were busy';

REVOKE ALL ON FUNCTION
	event_store.stream_version(text),
	event_store.stream_info(text),
	event_store.streams(text, bigint, text, text, text),
	event_store.delete_stream(text, event_store.expected_version, boolean),
	event_store.truncate_stream(text, bigint),
	event_store.set_stream_metadata(text, jsonb, interval, bigint),
	event_store.stream_metadata(text),
	event_store.link_event(text, uuid, event_store.expected_version)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.stream_version(text),
	event_store.stream_info(text),
	event_store.streams(text, bigint, text, text, text),
	event_store.delete_stream(text, event_store.expected_version, boolean),
	event_store.truncate_stream(text, bigint),
	event_store.set_stream_metadata(text, jsonb, interval, bigint),
	event_store.stream_metadata(text),
	event_store.link_event(text, uuid, event_store.expected_version)
TO PUBLIC;
REVOKE ALL ON PROCEDURE event_store.scavenge_store(integer, interval, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.scavenge_store(integer, interval, bigint, bigint, bigint) TO PUBLIC;
