/* background tasks: what is registered, what runs, what has failed */

CREATE TABLE event_store.task (
	number pg_catalog.int8 NOT NULL,
	kind pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	store_number pg_catalog.int8 NOT NULL,
	schema_name pg_catalog.text,
	schema_oid pg_catalog.oid,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT task_pkey PRIMARY KEY (number),
	CONSTRAINT task_name_key UNIQUE (kind, name, store_number)
);
COMMENT ON TABLE event_store.task
IS 'the registered background tasks of this database; see the view tasks';
SELECT pg_catalog.pg_extension_config_dump('event_store.task', '');
REVOKE ALL ON TABLE event_store.task FROM PUBLIC;

-- not dumped: where a dump is restored, every task gets a new chance
CREATE TABLE event_store.task_failure (
	number pg_catalog.int8 NOT NULL,
	failures pg_catalog.int4 NOT NULL,
	failed_at pg_catalog.timestamptz NOT NULL,
	next_try pg_catalog.timestamptz,
	problem pg_catalog.jsonb NOT NULL,
	CONSTRAINT task_failure_pkey PRIMARY KEY (number)
);
COMMENT ON TABLE event_store.task_failure
IS 'the tasks that have failed since they last went well, those without a next try are stopped; see the view tasks';
REVOKE ALL ON TABLE event_store.task_failure FROM PUBLIC;

CREATE FUNCTION event_store.task_status(number bigint, OUT state text, OUT since timestamptz, OUT next_run timestamptz,
	OUT horizon bigint, OUT pid integer, OUT steps bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'event_store_task_status'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.task_status(bigint)
IS 'for the view tasks: what the scheduler knows of a task';

CREATE FUNCTION event_store.worker_status(OUT pid integer, OUT started_at timestamptz, OUT since timestamptz,
	OUT task bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_worker_status'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 4;
COMMENT ON FUNCTION event_store.worker_status()
IS 'for the view workers: the workers of this database';

CREATE FUNCTION event_store.task_backoff(failures integer, random double precision)
RETURNS interval
AS 'MODULE_PATHNAME', 'event_store_task_backoff'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.task_backoff(integer, double precision)
IS 'how long a task waits after a number of failures in a row; random is between 0 and 1';

CREATE VIEW event_store.tasks AS
SELECT t.kind, t.name, t.schema_name AS schema, t.owner,
	coalesce(s.state, CASE WHEN f.number IS NOT NULL AND f.next_try IS NULL THEN 'stopped' ELSE 'unknown' END) AS state,
	s.since,
	CASE s.state
		WHEN 'ready' THEN 'a worker'
		WHEN 'waiting' THEN 'events from position ' OPERATOR(pg_catalog.||) s.horizon::pg_catalog.text
		WHEN 'sleeping' THEN CASE WHEN s.next_run IS NULL THEN 'a call' ELSE 'its time' END
		WHEN 'backing off' THEN 'its next try'
		WHEN 'stopped' THEN 'resume_task'
	END AS waiting_for,
	s.next_run, s.pid, s.steps, coalesce(f.failures, 0) AS failures, f.failed_at, f.problem AS last_problem,
	t.registered_at
FROM event_store.task t
LEFT JOIN event_store.task_failure f
	ON f.number OPERATOR(pg_catalog.=) t.number
LEFT JOIN LATERAL event_store.task_status(t.number) s ON true
WHERE pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW event_store.tasks
IS 'the background tasks of the caller''s roles, for members of pg_monitor all of this database';
REVOKE ALL ON TABLE event_store.tasks FROM PUBLIC;
GRANT SELECT ON TABLE event_store.tasks TO PUBLIC;

CREATE VIEW event_store.workers AS
SELECT w.pid, w.started_at, CASE WHEN w.task IS NULL THEN 'idle' ELSE 'running' END AS state, w.since,
	t.kind, t.name, t.schema_name AS schema, t.owner
FROM event_store.worker_status() w
LEFT JOIN event_store.task t
	ON t.number OPERATOR(pg_catalog.=) w.task
WHERE t.number IS NULL OR pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE')
	OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW event_store.workers
IS 'the workers of this database and the tasks that they run; of other roles'' tasks only for members of pg_monitor';
REVOKE ALL ON TABLE event_store.workers FROM PUBLIC;
GRANT SELECT ON TABLE event_store.workers TO PUBLIC;

REVOKE ALL ON FUNCTION
	event_store.task_status(bigint),
	event_store.worker_status(),
	event_store.task_backoff(integer, double precision)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.task_status(bigint),
	event_store.worker_status()
TO PUBLIC;
