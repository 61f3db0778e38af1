/* event handlers: registered functions that the events of a store are handed to, in order and exactly once */

CREATE TABLE event_store.handler_registry (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	kind pg_catalog.text NOT NULL,
	function pg_catalog.text NOT NULL,
	store_number pg_catalog.int8,
	stream pg_catalog.text COLLATE pg_catalog."C",
	category pg_catalog.text COLLATE pg_catalog."C",
	types pg_catalog._text,
	filter pg_catalog.jsonpath,
	start_from pg_catalog.text NOT NULL,
	consistency pg_catalog.text NOT NULL,
	concurrency pg_catalog.int4 NOT NULL,
	partition_by pg_catalog.text,
	batch_size pg_catalog.int4 NOT NULL,
	batch_timeout pg_catalog.interval,
	error_function pg_catalog.text,
	max_attempts pg_catalog.int4 NOT NULL,
	backoff pg_catalog.interval NOT NULL,
	on_exhausted pg_catalog.text NOT NULL,
	before_reset pg_catalog.text,
	tables pg_catalog._text,
	options pg_catalog.jsonb,
	number pg_catalog.int8 NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT handler_registry_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE event_store.handler_registry
IS 'the registered event handlers, process managers and projections; store_number is that of their store, null for those of all tenants';
SELECT pg_catalog.pg_extension_config_dump('event_store.handler_registry', '');
REVOKE ALL ON TABLE event_store.handler_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.handler_registry TO PUBLIC;

CREATE FUNCTION event_store.register_handler(name text, function text, kind text DEFAULT 'event',
	start_from text DEFAULT 'origin', stream text DEFAULT NULL, category text DEFAULT NULL, types text[] DEFAULT NULL,
	filter jsonpath DEFAULT NULL, consistency text DEFAULT 'eventual', concurrency integer DEFAULT 1, partition_by text DEFAULT NULL,
	batch_size integer DEFAULT 100, batch_timeout interval DEFAULT NULL, error_function text DEFAULT NULL,
	max_attempts integer DEFAULT 10, backoff interval DEFAULT '1 s', on_exhausted text DEFAULT 'park',
	before_reset text DEFAULT NULL, tables text[] DEFAULT NULL, tenant text DEFAULT NULL,
	background boolean DEFAULT true, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_handler'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_handler(text, text, text, text, text, text, text[], jsonpath, text, integer, text, integer,
	interval, text, integer, interval, text, text, text[], text, boolean, boolean)
IS 'registers a function that every event of the store is handed to, one by one, in batches, or inside of the appends';

CREATE FUNCTION event_store.handler_run(name text, max_events bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_handler_run'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION event_store.handler_run(text, bigint)
IS 'hands the events that are there to a handler in this transaction; returns how many it has got over';

CREATE FUNCTION event_store.handler_pause(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_handler_pause'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_pause(text)
IS 'lets a handler rest until it is resumed';

CREATE FUNCTION event_store.handler_resume(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_handler_resume'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_resume(text)
IS 'lets a handler that was paused or has stopped go on where it was, and try again at once what has failed';

CREATE FUNCTION event_store.handler_retry(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_handler_retry'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_retry(text)
IS 'lets a handler try the event that has failed again at once';

CREATE FUNCTION event_store.handler_skip(name text, "position" bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_handler_skip'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_skip(text, bigint)
IS 'lets a handler pass the event that has failed, or that at a position, for good; returns how many were passed';

CREATE FUNCTION event_store.handler_reset(name text, start_from text DEFAULT 'origin')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_handler_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_reset(text, text)
IS 'empties the tables of a handler and lets it begin anew, in one transaction';

CREATE FUNCTION event_store.handler_replay(name text, max_events bigint DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_handler_replay'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_replay(text, bigint)
IS 'hands the parked events to their handler again, in their order; returns how many it has taken';

CREATE FUNCTION event_store.handler_delete(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_handler_delete'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.handler_delete(text)
IS 'forgets a handler and how far it has come; its functions and tables stay';

CREATE FUNCTION event_store.handler_states(store oid, name text,
	OUT tenant text, OUT partition integer, OUT "position" bigint, OUT lag bigint, OUT lag_seconds double precision,
	OUT state text, OUT failures integer, OUT failed_position bigint, OUT retry_at timestamptz, OUT handled bigint,
	OUT skipped bigint, OUT parked bigint, OUT problem jsonb, OUT started_at timestamptz, OUT changed_at timestamptz,
	OUT lock_class oid, OUT lock_object oid)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_handler_states'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION event_store.handler_states(oid, text)
IS 'for the view handlers: how far a handler has come in the store of a schema';

CREATE FUNCTION event_store.handler_parked_events(store oid, name text,
	OUT "position" bigint, OUT partition integer, OUT attempts integer, OUT parked_at timestamptz, OUT problem jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_handler_parked_events'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.handler_parked_events(oid, text)
IS 'for the view handler_parked: the events that a handler has put aside in the store of a schema';

CREATE VIEW event_store.handlers AS
SELECT r.name,
	r.kind,
	n.nspname::pg_catalog.text AS schema,
	s.tenant,
	s.partition,
	s."position",
	s.lag,
	s.lag_seconds,
	s.state,
	s.failures,
	s.failed_position,
	s.retry_at,
	s.handled,
	s.skipped,
	s.parked,
	s.problem AS last_problem,
	(SELECT l.pid FROM pg_catalog.pg_locks l
		WHERE l.locktype OPERATOR(pg_catalog.=) 'userlock' AND l.classid OPERATOR(pg_catalog.=) s.lock_class
		AND l.objid OPERATOR(pg_catalog.=) s.lock_object AND l.granted LIMIT 1) AS worker_pid,
	s.changed_at,
	r.consistency,
	r.owner
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN event_store.handler_registry r
	ON r.store_number IS NULL OR r.store_number OPERATOR(pg_catalog.=) event_store.store_number(n.oid)
CROSS JOIN LATERAL event_store.handler_states(n.oid, r.name) s
WHERE c.relname OPERATOR(pg_catalog.=) 'event_log'
	AND pg_catalog.has_table_privilege(c.oid, 'SELECT');
COMMENT ON VIEW event_store.handlers
IS 'the event handlers of the stores that the caller may read: how far each has come in each store, and what keeps it back';

CREATE VIEW event_store.handler_parked AS
SELECT r.name AS handler,
	n.nspname::pg_catalog.text AS schema,
	p."position",
	p.partition,
	p.attempts,
	p.parked_at,
	p.problem
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN event_store.handler_registry r
	ON r.store_number IS NULL OR r.store_number OPERATOR(pg_catalog.=) event_store.store_number(n.oid)
CROSS JOIN LATERAL event_store.handler_parked_events(n.oid, r.name) p
WHERE c.relname OPERATOR(pg_catalog.=) 'event_log'
	AND pg_catalog.has_table_privilege(c.oid, 'SELECT');
COMMENT ON VIEW event_store.handler_parked
IS 'the events that handlers have put aside after too many failures, in the stores that the caller may read';

CREATE FUNCTION event_store.wait_for(stream text DEFAULT NULL, version bigint DEFAULT NULL, "position" bigint DEFAULT NULL,
	handlers text[] DEFAULT NULL, timeout interval DEFAULT '5 s')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_wait_for'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.wait_for(text, bigint, bigint, text[], interval)
IS 'waits until handlers have got over an event that is committed: those named, or all with strong consistency';

CREATE PROCEDURE event_store.dispatch_and_wait(type text, command jsonb, command_id uuid DEFAULT NULL,
	correlation_id uuid DEFAULT NULL, causation_id uuid DEFAULT NULL, metadata jsonb DEFAULT NULL,
	expected event_store.expected_version DEFAULT 'any', handlers text[] DEFAULT NULL, timeout interval DEFAULT '5 s',
	INOUT result event_store.execution_result DEFAULT NULL)
AS 'MODULE_PATHNAME', 'event_store_dispatch_and_wait'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.dispatch_and_wait(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, text[], interval, event_store.execution_result)
IS 'executes a command, commits, and waits until handlers have got over its events: those named, or all with strong consistency';

REVOKE ALL ON TABLE event_store.handlers, event_store.handler_parked FROM PUBLIC;
GRANT SELECT ON TABLE event_store.handlers, event_store.handler_parked TO PUBLIC;
REVOKE ALL ON FUNCTION
	event_store.register_handler(text, text, text, text, text, text, text[], jsonpath, text, integer, text, integer,
		interval, text, integer, interval, text, text, text[], text, boolean, boolean),
	event_store.handler_run(text, bigint),
	event_store.handler_pause(text),
	event_store.handler_resume(text),
	event_store.handler_retry(text),
	event_store.handler_skip(text, bigint),
	event_store.handler_reset(text, text),
	event_store.handler_replay(text, bigint),
	event_store.handler_delete(text),
	event_store.handler_states(oid, text),
	event_store.handler_parked_events(oid, text),
	event_store.wait_for(text, bigint, bigint, text[], interval)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_handler(text, text, text, text, text, text, text[], jsonpath, text, integer, text, integer,
		interval, text, integer, interval, text, text, text[], text, boolean, boolean),
	event_store.handler_run(text, bigint),
	event_store.handler_pause(text),
	event_store.handler_resume(text),
	event_store.handler_retry(text),
	event_store.handler_skip(text, bigint),
	event_store.handler_reset(text, text),
	event_store.handler_replay(text, bigint),
	event_store.handler_delete(text),
	event_store.handler_states(oid, text),
	event_store.handler_parked_events(oid, text),
	event_store.wait_for(text, bigint, bigint, text[], interval)
TO PUBLIC;
REVOKE ALL ON PROCEDURE event_store.dispatch_and_wait(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, text[], interval, event_store.execution_result) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.dispatch_and_wait(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, text[], interval, event_store.execution_result) TO PUBLIC;
