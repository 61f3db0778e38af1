/* schedules: statements and functions that run again and again */

CREATE TABLE event_store.schedule (
	task pg_catalog.int8 NOT NULL,
	timing pg_catalog.text NOT NULL,
	time_zone pg_catalog.text NOT NULL,
	command pg_catalog.text,
	function pg_catalog.text,
	args pg_catalog.jsonb,
	skips_missed pg_catalog.bool NOT NULL,
	next_run pg_catalog.timestamptz,
	last_run pg_catalog.timestamptz,
	runs pg_catalog.int8 NOT NULL,
	missed pg_catalog.int8 NOT NULL,
	CONSTRAINT schedule_pkey PRIMARY KEY (task)
) WITH (fillfactor = 70);
COMMENT ON TABLE event_store.schedule
IS 'what the tasks of the kinds schedule and poll run, and when; see the view schedules';
SELECT pg_catalog.pg_extension_config_dump('event_store.schedule', '');
REVOKE ALL ON TABLE event_store.schedule FROM PUBLIC;

CREATE FUNCTION event_store.schedule(name text, timing text, command text DEFAULT NULL, function text DEFAULT NULL,
	args jsonb DEFAULT NULL, time_zone text DEFAULT NULL, missed text DEFAULT 'run_once', replace boolean DEFAULT false)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'event_store_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.schedule(text, text, text, text, jsonb, text, text, boolean)
IS 'runs a statement or a function again and again, by an interval or by cron, as the caller; returns the first time';

CREATE FUNCTION event_store.unschedule(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unschedule'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unschedule(text)
IS 'takes a schedule back';

CREATE FUNCTION event_store.next_run(timing text, after timestamptz DEFAULT now(), time_zone text DEFAULT NULL)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'event_store_next_run'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.next_run(text, timestamptz, text)
IS 'when something with a timing is due next';

CREATE FUNCTION event_store.telemetry_poll(name text, query text, every interval, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_poll'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_poll(text, text, interval, boolean)
IS 'runs a query again and again and executes its rows (event, measurements, metadata) as telemetry';

CREATE FUNCTION event_store.telemetry_unpoll(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_unpoll'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_unpoll(text)
IS 'takes a poll back';

CREATE FUNCTION event_store.resume_task(kind text, name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_resume_task'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.resume_task(text, text)
IS 'lets a background task that has failed or was stopped run again at once';

CREATE VIEW event_store.schedules AS
SELECT t.kind, t.name, t.schema_name AS schema, t.owner, s.timing, s.time_zone, s.command, s.function, s.args,
	CASE WHEN s.skips_missed THEN 'skip' ELSE 'run_once' END AS missed_policy,
	s.next_run, s.last_run, s.runs, s.missed, coalesce(f.failures, 0) AS failures, f.problem AS last_problem
FROM event_store.schedule s
JOIN event_store.task t
	ON t.number OPERATOR(pg_catalog.=) s.task
LEFT JOIN event_store.task_failure f
	ON f.number OPERATOR(pg_catalog.=) s.task
WHERE pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW event_store.schedules
IS 'the schedules and polls of the caller''s roles, for members of pg_monitor all of this database';
REVOKE ALL ON TABLE event_store.schedules FROM PUBLIC;
GRANT SELECT ON TABLE event_store.schedules TO PUBLIC;

REVOKE ALL ON FUNCTION
	event_store.schedule(text, text, text, text, jsonb, text, text, boolean),
	event_store.unschedule(text),
	event_store.next_run(text, timestamptz, text),
	event_store.telemetry_poll(text, text, interval, boolean),
	event_store.telemetry_unpoll(text),
	event_store.resume_task(text, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.schedule(text, text, text, text, jsonb, text, text, boolean),
	event_store.unschedule(text),
	event_store.next_run(text, timestamptz, text),
	event_store.resume_task(text, text)
TO PUBLIC;
