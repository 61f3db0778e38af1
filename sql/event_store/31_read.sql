/* read: events back, of one stream or of all streams in order */

CREATE TYPE event_store.recorded_event AS (
	position bigint,
	stream text,
	version bigint,
	event_id uuid,
	type text,
	data jsonb,
	metadata jsonb,
	correlation_id uuid,
	causation_id uuid,
	created_at timestamptz
);
COMMENT ON TYPE event_store.recorded_event IS 'an event as it stands in the log';

CREATE FUNCTION event_store.read_stream(stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	direction text DEFAULT 'forward', resolve_links boolean DEFAULT false)
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_stream'
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION event_store.read_stream(text, bigint, bigint, text, boolean)
IS 'events of one stream in the order of their versions, forward from its start or backward from its end by default; links as they are or as what they lead to';

CREATE FUNCTION event_store.read_all(after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	types text[] DEFAULT NULL, categories text[] DEFAULT NULL, direction text DEFAULT 'forward')
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_all'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.read_all(bigint, bigint, text[], text[], text)
IS 'events of all streams in the order of their positions, up to the horizon: what it passes can never change';

CREATE FUNCTION event_store.read_category(category text, after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	types text[] DEFAULT NULL, direction text DEFAULT 'forward')
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_category'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.read_category(text, bigint, bigint, text[], text)
IS 'read_all for the streams of one category, the part of a stream name before its first hyphen';

CREATE FUNCTION event_store.read_by_type(types text[], after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	direction text DEFAULT 'forward')
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_by_type'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.read_by_type(text[], bigint, bigint, text)
IS 'read_all for some types of events, along the index of kind type if the store has it';

CREATE FUNCTION event_store.read_by_correlation(correlation_id uuid, after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	direction text DEFAULT 'forward')
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_by_correlation'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION event_store.read_by_correlation(uuid, bigint, bigint, text)
IS 'read_all for the events of one correlation, along the index of kind correlation if the store has it';

CREATE FUNCTION event_store.causation_tree(correlation_id uuid, max_count bigint DEFAULT 1000,
	OUT depth integer, OUT parent_event_id uuid, OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid,
	OUT type text, OUT data jsonb, OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_causation_tree'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION event_store.causation_tree(uuid, bigint)
IS 'the events of one correlation, each followed by those it caused';

CREATE FUNCTION event_store.read_each_type(types text[] DEFAULT NULL, after_position bigint DEFAULT NULL, direction text DEFAULT 'forward')
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_read_each_type'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.read_each_type(text[], bigint, text)
IS 'of each type the first event, or backward the last';

CREATE FUNCTION event_store.position_at(at_time timestamptz)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_position_at'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.position_at(timestamptz)
IS 'the position before the first event that was created at this time or later: to read from a time on, read after it';

CREATE FUNCTION event_store.poll(after_position bigint, max_count bigint DEFAULT 1000, timeout interval DEFAULT '5 s',
	types text[] DEFAULT NULL, categories text[] DEFAULT NULL)
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_poll'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.poll(bigint, bigint, interval, text[], text[])
IS 'read_all that waits up to timeout for a first event when there is none yet';

CREATE FUNCTION event_store.event(event_id uuid)
RETURNS SETOF event_store.recorded_event
AS 'MODULE_PATHNAME', 'event_store_event'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION event_store.event(uuid)
IS 'the event with this id, no row if there is none';

REVOKE ALL ON FUNCTION
	event_store.read_stream(text, bigint, bigint, text, boolean),
	event_store.read_all(bigint, bigint, text[], text[], text),
	event_store.read_category(text, bigint, bigint, text[], text),
	event_store.read_by_type(text[], bigint, bigint, text),
	event_store.read_by_correlation(uuid, bigint, bigint, text),
	event_store.causation_tree(uuid, bigint),
	event_store.read_each_type(text[], bigint, text),
	event_store.position_at(timestamptz),
	event_store.poll(bigint, bigint, interval, text[], text[]),
	event_store.event(uuid)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.read_stream(text, bigint, bigint, text, boolean),
	event_store.read_all(bigint, bigint, text[], text[], text),
	event_store.read_category(text, bigint, bigint, text[], text),
	event_store.read_by_type(text[], bigint, bigint, text),
	event_store.read_by_correlation(uuid, bigint, bigint, text),
	event_store.causation_tree(uuid, bigint),
	event_store.read_each_type(text[], bigint, text),
	event_store.position_at(timestamptz),
	event_store.poll(bigint, bigint, interval, text[], text[]),
	event_store.event(uuid)
TO PUBLIC;
