/* projections: handlers with the tables that they fill, built anew beside those in use */

CREATE FUNCTION event_store.register_projection(name text, tables text[], function text, kind text DEFAULT 'event',
	start_from text DEFAULT 'origin', stream text DEFAULT NULL, category text DEFAULT NULL, types text[] DEFAULT NULL,
	filter jsonpath DEFAULT NULL, consistency text DEFAULT 'eventual', concurrency integer DEFAULT 1, partition_by text DEFAULT NULL,
	batch_size integer DEFAULT 100, batch_timeout interval DEFAULT NULL, error_function text DEFAULT NULL,
	max_attempts integer DEFAULT 10, backoff interval DEFAULT '1 s', on_exhausted text DEFAULT 'park',
	before_reset text DEFAULT NULL, tenant text DEFAULT NULL, background boolean DEFAULT true, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_projection'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_projection(text, text[], text, text, text, text, text, text[], jsonpath, text, integer, text,
	integer, interval, text, integer, interval, text, text, text, boolean, boolean)
IS 'registers a handler with the tables that it fills, which can be built anew beside themselves or computed when they are read';

CREATE FUNCTION event_store.projection_rebuild(name text, background boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_projection_rebuild'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.projection_rebuild(text, boolean)
IS 'begins to build the tables of a projection anew beside those in use, whose place they take at the end';

CREATE FUNCTION event_store.projection_build(name text, max_events bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_projection_build'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION event_store.projection_build(text, bigint)
IS 'goes on with a rebuild in this transaction, to its end if max_events allows; returns how many events it has got over';

CREATE FUNCTION event_store.projection_cancel(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_projection_cancel'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.projection_cancel(text)
IS 'gives up a rebuild, the tables in use stay as they are; false if there was none';

CREATE FUNCTION event_store.projection_read(name text, query text)
RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'event_store_projection_read'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION event_store.projection_read(text, text)
IS 'the rows of a query over the tables of a projection as all events now make them, computed for this call';

CREATE FUNCTION event_store.is_rebuilding()
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_is_rebuilding'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.is_rebuilding()
IS 'for the functions of projections: is this event handled for tables that are not in use?';

CREATE FUNCTION event_store.projection_states(store oid, name text,
	OUT tenant text, OUT partition integer, OUT "position" bigint, OUT lag bigint, OUT lag_seconds double precision,
	OUT state text, OUT failures integer, OUT failed_position bigint, OUT retry_at timestamptz, OUT handled bigint,
	OUT skipped bigint, OUT parked bigint, OUT problem jsonb, OUT started_at timestamptz, OUT changed_at timestamptz,
	OUT lock_class oid, OUT lock_object oid)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_projection_states'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION event_store.projection_states(oid, text)
IS 'for the view projection_rebuilds: how far a rebuild has come in the store of a schema';

CREATE VIEW event_store.projection_rebuilds AS
SELECT r.name,
	n.nspname::pg_catalog.text AS schema,
	s.tenant,
	s.partition,
	s."position",
	s.lag,
	s.state,
	s.handled,
	s.skipped,
	pg_catalog.round(s."position" OPERATOR(pg_catalog./) NULLIF(
		pg_catalog.date_part('epoch', s.changed_at OPERATOR(pg_catalog.-) s.started_at), 0))::pg_catalog.int8
		AS positions_per_second,
	(s.changed_at OPERATOR(pg_catalog.-) s.started_at) OPERATOR(pg_catalog.*)
		(s.lag::pg_catalog.float8 OPERATOR(pg_catalog./) NULLIF(s."position", 0)::pg_catalog.float8) AS remaining,
	s.problem AS last_problem,
	s.started_at,
	s.changed_at
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN event_store.handler_registry r
	ON r.store_number IS NULL OR r.store_number OPERATOR(pg_catalog.=) event_store.store_number(n.oid)
CROSS JOIN LATERAL event_store.projection_states(n.oid, r.name) s
WHERE c.relname OPERATOR(pg_catalog.=) 'event_log'
	AND pg_catalog.has_table_privilege(c.oid, 'SELECT');
COMMENT ON VIEW event_store.projection_rebuilds
IS 'the rebuilds of projections in the stores that the caller may read: how far each is, how fast, and how long it will take';

REVOKE ALL ON TABLE event_store.projection_rebuilds FROM PUBLIC;
GRANT SELECT ON TABLE event_store.projection_rebuilds TO PUBLIC;
REVOKE ALL ON FUNCTION
	event_store.register_projection(text, text[], text, text, text, text, text, text[], jsonpath, text, integer, text,
		integer, interval, text, integer, interval, text, text, text, boolean, boolean),
	event_store.projection_rebuild(text, boolean),
	event_store.projection_build(text, bigint),
	event_store.projection_cancel(text),
	event_store.projection_read(text, text),
	event_store.is_rebuilding(),
	event_store.projection_states(oid, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_projection(text, text[], text, text, text, text, text, text[], jsonpath, text, integer, text,
		integer, interval, text, integer, interval, text, text, text, boolean, boolean),
	event_store.projection_rebuild(text, boolean),
	event_store.projection_build(text, bigint),
	event_store.projection_cancel(text),
	event_store.projection_read(text, text),
	event_store.is_rebuilding(),
	event_store.projection_states(oid, text)
TO PUBLIC;
