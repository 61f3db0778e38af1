/* append: the expected version, the shape of a new event, and the functions that write events */

CREATE TYPE event_store.expected_version;

CREATE FUNCTION event_store.expected_version_in(cstring)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_in'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION event_store.expected_version_out(event_store.expected_version)
RETURNS cstring
AS 'MODULE_PATHNAME', 'event_store_expected_out'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION event_store.expected_version_recv(internal)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_recv'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION event_store.expected_version_send(event_store.expected_version)
RETURNS bytea
AS 'MODULE_PATHNAME', 'event_store_expected_send'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE TYPE event_store.expected_version (
	INPUT = event_store.expected_version_in,
	OUTPUT = event_store.expected_version_out,
	RECEIVE = event_store.expected_version_recv,
	SEND = event_store.expected_version_send,
	LIKE = pg_catalog.int8
);
COMMENT ON TYPE event_store.expected_version
IS 'the version a stream must be at: a number (0: no such stream), any, no_stream or exists; integers and text cast to it';
COMMENT ON FUNCTION event_store.expected_version_in(cstring) IS 'input of expected_version';
COMMENT ON FUNCTION event_store.expected_version_out(event_store.expected_version) IS 'output of expected_version';
COMMENT ON FUNCTION event_store.expected_version_recv(internal) IS 'binary input of expected_version';
COMMENT ON FUNCTION event_store.expected_version_send(event_store.expected_version) IS 'binary output of expected_version';

CREATE FUNCTION event_store.expected_version(smallint)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_from_int2'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.expected_version(smallint) IS 'an expected version from a number';

CREATE FUNCTION event_store.expected_version(integer)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_from_int4'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.expected_version(integer) IS 'an expected version from a number';

CREATE FUNCTION event_store.expected_version(bigint)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_from_int8'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.expected_version(bigint) IS 'an expected version from a number';

CREATE FUNCTION event_store.expected_version(text)
RETURNS event_store.expected_version
AS 'MODULE_PATHNAME', 'event_store_expected_from_text'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.expected_version(text) IS 'an expected version from text: a number, any, no_stream or exists';

CREATE CAST (smallint AS event_store.expected_version)
	WITH FUNCTION event_store.expected_version(smallint) AS IMPLICIT;
COMMENT ON CAST (smallint AS event_store.expected_version) IS 'an expected version from a number';
CREATE CAST (integer AS event_store.expected_version)
	WITH FUNCTION event_store.expected_version(integer) AS IMPLICIT;
COMMENT ON CAST (integer AS event_store.expected_version) IS 'an expected version from a number';
CREATE CAST (bigint AS event_store.expected_version)
	WITH FUNCTION event_store.expected_version(bigint) AS IMPLICIT;
COMMENT ON CAST (bigint AS event_store.expected_version) IS 'an expected version from a number';
CREATE CAST (text AS event_store.expected_version)
	WITH FUNCTION event_store.expected_version(text) AS IMPLICIT;
COMMENT ON CAST (text AS event_store.expected_version) IS 'an expected version from text';

CREATE TYPE event_store.new_event AS (
	type text,
	data jsonb,
	metadata jsonb,
	event_id uuid,
	correlation_id uuid,
	causation_id uuid,
	created_at timestamptz
);
COMMENT ON TYPE event_store.new_event IS 'an event to append: type and data are required';

CREATE TYPE event_store.new_event_bytes AS (
	type text,
	data bytea,
	metadata jsonb,
	event_id uuid,
	correlation_id uuid,
	causation_id uuid,
	created_at timestamptz
);
COMMENT ON TYPE event_store.new_event_bytes IS 'an event to append to a store of bytea: type and data are required';

CREATE TYPE event_store.append_result AS (
	first_version bigint,
	last_version bigint,
	first_position bigint,
	last_position bigint
);
COMMENT ON TYPE event_store.append_result IS 'where an append put its events';

CREATE FUNCTION event_store.append(stream text, events jsonb, expected event_store.expected_version DEFAULT 'any',
	condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append(text, jsonb, event_store.expected_version, jsonb, bigint)
IS 'appends a JSON array of events (or one object) to a stream that must be at the expected version';

CREATE FUNCTION event_store.append(stream text, events text, expected event_store.expected_version DEFAULT 'any',
	condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append(text, text, event_store.expected_version, jsonb, bigint)
IS 'the same with the events as JSON text, so that untyped literals and parameters need no cast';

CREATE FUNCTION event_store.append(stream text, events event_store.new_event[], expected event_store.expected_version DEFAULT 'any',
	condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_array'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append(text, event_store.new_event[], event_store.expected_version, jsonb, bigint)
IS 'the same with the events as an array of new_event';

CREATE FUNCTION event_store.append_event(stream text, type text, data jsonb DEFAULT '{}', metadata jsonb DEFAULT NULL,
	expected event_store.expected_version DEFAULT 'any', event_id uuid DEFAULT NULL, correlation_id uuid DEFAULT NULL,
	causation_id uuid DEFAULT NULL, created_at timestamptz DEFAULT NULL,
	condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append_event(text, text, jsonb, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint)
IS 'appends one event to a stream that must be at the expected version';

CREATE FUNCTION event_store.append_event(stream text, type text, data text, metadata text DEFAULT NULL,
	expected event_store.expected_version DEFAULT 'any', event_id uuid DEFAULT NULL, correlation_id uuid DEFAULT NULL,
	causation_id uuid DEFAULT NULL, created_at timestamptz DEFAULT NULL,
	condition jsonb DEFAULT NULL, after bigint DEFAULT NULL)
RETURNS event_store.append_result
AS 'MODULE_PATHNAME', 'event_store_append_event_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.append_event(text, text, text, text, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint)
IS 'the same with data and metadata as JSON text, so that untyped literals and parameters are parsed here';

CREATE FUNCTION event_store.append_many(appends jsonb, condition jsonb DEFAULT NULL, after bigint DEFAULT NULL,
	OUT index integer, OUT stream text, OUT first_version bigint, OUT last_version bigint,
	OUT first_position bigint, OUT last_position bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_append_many_jsonb'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.append_many(jsonb, jsonb, bigint)
IS 'appends to several streams at once, each of which must be at its expected version; a stream without events is only checked';

CREATE FUNCTION event_store.append_many(appends text, condition jsonb DEFAULT NULL, after bigint DEFAULT NULL,
	OUT index integer, OUT stream text, OUT first_version bigint, OUT last_version bigint,
	OUT first_position bigint, OUT last_position bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_append_many_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.append_many(text, jsonb, bigint)
IS 'the same as JSON text, so that untyped literals and parameters need no cast';

REVOKE ALL ON FUNCTION
	event_store.expected_version_in(cstring),
	event_store.expected_version_out(event_store.expected_version),
	event_store.expected_version_recv(internal),
	event_store.expected_version_send(event_store.expected_version),
	event_store.expected_version(smallint),
	event_store.expected_version(integer),
	event_store.expected_version(bigint),
	event_store.expected_version(text),
	event_store.append(text, jsonb, event_store.expected_version, jsonb, bigint),
	event_store.append(text, text, event_store.expected_version, jsonb, bigint),
	event_store.append(text, event_store.new_event[], event_store.expected_version, jsonb, bigint),
	event_store.append_event(text, text, jsonb, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.append_event(text, text, text, text, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.append_many(jsonb, jsonb, bigint),
	event_store.append_many(text, jsonb, bigint)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.expected_version_in(cstring),
	event_store.expected_version_out(event_store.expected_version),
	event_store.expected_version_recv(internal),
	event_store.expected_version_send(event_store.expected_version),
	event_store.expected_version(smallint),
	event_store.expected_version(integer),
	event_store.expected_version(bigint),
	event_store.expected_version(text),
	event_store.append(text, jsonb, event_store.expected_version, jsonb, bigint),
	event_store.append(text, text, event_store.expected_version, jsonb, bigint),
	event_store.append(text, event_store.new_event[], event_store.expected_version, jsonb, bigint),
	event_store.append_event(text, text, jsonb, jsonb, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.append_event(text, text, text, text, event_store.expected_version, uuid, uuid, uuid, timestamptz, jsonb, bigint),
	event_store.append_many(jsonb, jsonb, bigint),
	event_store.append_many(text, jsonb, bigint)
TO PUBLIC;
