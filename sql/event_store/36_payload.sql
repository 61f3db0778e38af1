/* payload: events with data of the type that their store keeps, in and out as it is */

CREATE FUNCTION event_store.append(stream text, events event_store.new_event_bytes[],
	expected event_store.expected_version DEFAULT 'any', condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_array'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append(text, event_store.new_event_bytes[], event_store.expected_version, jsonb, bigint)
IS 'appends events whose data is bytea to a stream of a store that keeps bytea';

CREATE FUNCTION event_store.append_bytes(stream text, type text, data bytea, metadata jsonb DEFAULT NULL,
	expected event_store.expected_version DEFAULT 'any', event_id uuid DEFAULT NULL, correlation_id uuid DEFAULT NULL,
	causation_id uuid DEFAULT NULL, created_at timestamptz DEFAULT NULL, condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_bytes'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append_bytes(text, text, bytea, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint)
IS 'append_event with data as bytea, for a store that keeps bytea';

CREATE FUNCTION event_store.read_stream_as(payload anyelement, stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	direction text DEFAULT 'forward', resolve_links boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid, OUT type text, OUT data anyelement,
	OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_read_stream_as'
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION event_store.read_stream_as(anyelement, text, bigint, bigint, text, boolean)
IS 'read_stream with data in the type that payload names, null::json, null::text, null::jsonb or null::bytea: what the store keeps comes as it is';

CREATE FUNCTION event_store.read_all_as(payload anyelement, after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	types text[] DEFAULT NULL, categories text[] DEFAULT NULL, direction text DEFAULT 'forward',
	OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid, OUT type text, OUT data anyelement,
	OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_read_all_as'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.read_all_as(anyelement, bigint, bigint, text[], text[], text)
IS 'read_all with data in the type that payload names, as in read_stream_as';

CREATE FUNCTION event_store.poll_as(payload anyelement, after_position bigint, max_count bigint DEFAULT 1000, timeout interval DEFAULT '5 s',
	types text[] DEFAULT NULL, categories text[] DEFAULT NULL,
	OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid, OUT type text, OUT data anyelement,
	OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_poll_as'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION event_store.poll_as(anyelement, bigint, bigint, interval, text[], text[])
IS 'poll with data in the type that payload names, as in read_stream_as';

REVOKE ALL ON FUNCTION
	event_store.append(text, event_store.new_event_bytes[], event_store.expected_version, jsonb, bigint),
	event_store.append_bytes(text, text, bytea, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.read_stream_as(anyelement, text, bigint, bigint, text, boolean),
	event_store.read_all_as(anyelement, bigint, bigint, text[], text[], text),
	event_store.poll_as(anyelement, bigint, bigint, interval, text[], text[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.append(text, event_store.new_event_bytes[], event_store.expected_version, jsonb, bigint),
	event_store.append_bytes(text, text, bytea, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.read_stream_as(anyelement, text, bigint, bigint, text, boolean),
	event_store.read_all_as(anyelement, bigint, bigint, text[], text[], text),
	event_store.poll_as(anyelement, bigint, bigint, interval, text[], text[])
TO PUBLIC;
