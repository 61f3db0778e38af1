/* supervisors: functions that are called again and again, each in a process of its own */

CREATE TABLE event_store.supervisor_definitions (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	max_children pg_catalog.int4 NOT NULL,
	max_restarts pg_catalog.int4 NOT NULL,
	max_seconds pg_catalog.int4 NOT NULL,
	run_as pg_catalog.regrole NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	state pg_catalog.text NOT NULL,
	problem pg_catalog.jsonb,
	changed_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT supervisor_definitions_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE event_store.supervisor_definitions
IS 'the supervisors; see the view supervisors';
SELECT pg_catalog.pg_extension_config_dump('event_store.supervisor_definitions', '');
REVOKE ALL ON TABLE event_store.supervisor_definitions FROM PUBLIC;

CREATE FUNCTION event_store.supervisor_create(name text, max_children integer DEFAULT 100, max_restarts integer DEFAULT 3,
	max_seconds integer DEFAULT 5, run_as regrole DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_supervisor_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_create(text, integer, integer, integer, regrole)
IS 'makes a supervisor, which restarts its children until that happens too often';

CREATE FUNCTION event_store.supervisor_drop(name text, timeout interval DEFAULT '5 s')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_supervisor_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_drop(text, interval)
IS 'ends the children of a supervisor and drops it';

CREATE FUNCTION event_store.supervisor_start_child(supervisor text, fn regprocedure, args jsonb DEFAULT '{}',
	restart text DEFAULT 'permanent', shutdown interval DEFAULT '5 s', name text DEFAULT NULL, queue boolean DEFAULT false,
	start_timeout interval DEFAULT '5 s')
RETURNS uuid
AS 'MODULE_PATHNAME', 'event_store_supervisor_start_child'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_start_child(text, regprocedure, jsonb, text, interval, text, boolean, interval)
IS 'starts a child, a function that says when it is to be called again, and returns its id when its first call has returned';

CREATE FUNCTION event_store.supervisor_terminate_child(id uuid)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_supervisor_terminate_child'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_terminate_child(uuid)
IS 'ends a child, by force if it takes longer than its shutdown time; false if there is none of this id';

CREATE FUNCTION event_store.supervisor_stop(name text, timeout interval DEFAULT '5 s')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_supervisor_stop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_stop(text, interval)
IS 'ends the children of a supervisor, which takes none until it is restarted';

CREATE FUNCTION event_store.supervisor_restart(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_supervisor_restart'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.supervisor_restart(text)
IS 'lets a supervisor that has failed or was stopped take children again';

CREATE FUNCTION event_store.child_status(
	OUT supervisor text, OUT id uuid, OUT name text, OUT fn text, OUT restart text, OUT state text, OUT pid integer,
	OUT started_at timestamptz, OUT next_call timestamptz, OUT calls bigint, OUT restarts integer, OUT sqlstate text, OUT message text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_child_status'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.child_status()
IS 'for the view supervisor_children: the children of all supervisors';

CREATE VIEW event_store.supervisors AS
SELECT d.name, d.state, (SELECT pg_catalog.count(*) FROM event_store.child_status() c WHERE c.supervisor OPERATOR(pg_catalog.=) d.name) AS children,
	d.max_children, d.max_restarts, d.max_seconds, d.run_as, d.owner, d.problem, d.changed_at
FROM event_store.supervisor_definitions d
WHERE pg_catalog.pg_has_role(d.owner::pg_catalog.oid, 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW event_store.supervisors
IS 'the supervisors of the caller''s roles, for members of pg_monitor all of this database';

CREATE VIEW event_store.supervisor_children AS
SELECT c.supervisor, c.id, c.name, c.fn, c.restart, c.state, c.pid, c.started_at, c.next_call, c.calls, c.restarts,
	c.sqlstate AS last_sqlstate, c.message AS last_message
FROM event_store.child_status() c
JOIN event_store.supervisors s
	ON s.name OPERATOR(pg_catalog.=) c.supervisor;
COMMENT ON VIEW event_store.supervisor_children
IS 'the children of these supervisors';

CREATE VIEW event_store.supervision_tree AS
SELECT l.line
FROM (
	SELECT s.name AS supervisor, 0::pg_catalog.int8 AS place,
		pg_catalog.format('%s (%s, %s of %s children)', s.name, s.state, s.children, s.max_children) AS line
	FROM event_store.supervisors s
	UNION ALL
	SELECT c.supervisor, pg_catalog.row_number() OVER w,
		pg_catalog.format('%s %s (%s, %s%s%s)',
			CASE WHEN pg_catalog.row_number() OVER w OPERATOR(pg_catalog.=) pg_catalog.count(*) OVER (PARTITION BY c.supervisor)
				THEN '`--' ELSE '|--' END,
			coalesce(c.name, c.fn), c.restart, c.state,
			CASE WHEN c.restarts OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format(', restarts: %s', c.restarts) ELSE '' END,
			CASE WHEN c.last_sqlstate IS NOT NULL THEN pg_catalog.format(', last error %s', c.last_sqlstate) ELSE '' END)
	FROM event_store.supervisor_children c
	WINDOW w AS (PARTITION BY c.supervisor ORDER BY coalesce(c.name, c.fn), c.id)
) l
ORDER BY l.supervisor, l.place;
COMMENT ON VIEW event_store.supervision_tree
IS 'supervisors and their children, drawn as text';

REVOKE ALL ON TABLE event_store.supervisors, event_store.supervisor_children, event_store.supervision_tree FROM PUBLIC;
GRANT SELECT ON TABLE event_store.supervisors, event_store.supervisor_children, event_store.supervision_tree TO PUBLIC;
REVOKE ALL ON FUNCTION
	event_store.supervisor_create(text, integer, integer, integer, regrole),
	event_store.supervisor_drop(text, interval),
	event_store.supervisor_start_child(text, regprocedure, jsonb, text, interval, text, boolean, interval),
	event_store.supervisor_terminate_child(uuid),
	event_store.supervisor_stop(text, interval),
	event_store.supervisor_restart(text),
	event_store.child_status()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.supervisor_create(text, integer, integer, integer, regrole),
	event_store.supervisor_drop(text, interval),
	event_store.supervisor_start_child(text, regprocedure, jsonb, text, interval, text, boolean, interval),
	event_store.supervisor_terminate_child(uuid),
	event_store.supervisor_stop(text, interval),
	event_store.supervisor_restart(text),
	event_store.child_status()
TO PUBLIC;
