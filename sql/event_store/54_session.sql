/* sessions of applications, and what shared memory they and names take */

CREATE TABLE event_store.session_rows (
	tenant_schema pg_catalog.oid NOT NULL,
	id pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	started_at pg_catalog.timestamptz NOT NULL,
	expires_at pg_catalog.timestamptz NOT NULL,
	idle_ms pg_catalog.int8 NOT NULL,
	used_at pg_catalog.timestamptz NOT NULL,
	on_expire pg_catalog.text NOT NULL,
	data pg_catalog.jsonb NOT NULL,
	CONSTRAINT session_rows_pkey PRIMARY KEY (tenant_schema, id)
);
COMMENT ON TABLE event_store.session_rows
IS 'the durable sessions; no dump holds them';
REVOKE ALL ON TABLE event_store.session_rows FROM PUBLIC;

CREATE FUNCTION event_store.session_start(id text DEFAULT NULL, data jsonb DEFAULT '{}', ttl interval DEFAULT '30 min',
	idle_timeout interval DEFAULT NULL, on_expire regprocedure DEFAULT NULL, durable boolean DEFAULT false)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_session_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_start(text, jsonb, interval, interval, regprocedure, boolean)
IS 'starts a session with some data, until its time is over or it is idle for too long, and returns its id';

CREATE FUNCTION event_store.session_get(id text, touch boolean DEFAULT true)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_session_get'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_get(text, boolean)
IS 'the data of a session, null if there is none; to get it is to use it';

CREATE FUNCTION event_store.session_put(id text, data jsonb)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_session_put'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_put(text, jsonb)
IS 'puts other data into a session';

CREATE FUNCTION event_store.session_merge(id text, data jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_session_merge'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_merge(text, jsonb)
IS 'puts members into the data of a session, and returns what it is then';

CREATE FUNCTION event_store.session_touch(id text)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'event_store_session_touch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_touch(text)
IS 'notes that a session is used, and returns when it ends if it is not used again';

CREATE FUNCTION event_store.session_stop(id text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_session_stop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_stop(text)
IS 'ends a session, without its function; false if there is none';

CREATE FUNCTION event_store.session_rows_seen(
	OUT id text, OUT data jsonb, OUT owner regrole, OUT started_at timestamptz, OUT used_at timestamptz,
	OUT ends_at timestamptz, OUT on_expire text, OUT durable boolean, OUT bytes integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_session_rows_seen'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION event_store.session_rows_seen()
IS 'the rows of the view sessions';

CREATE VIEW event_store.sessions AS
SELECT s.id, s.data, s.owner, s.started_at, s.used_at, s.ends_at, s.on_expire, s.durable, s.bytes
FROM event_store.session_rows_seen() s;
COMMENT ON VIEW event_store.sessions
IS 'the sessions of the current tenant, or of none, that one may see';

CREATE FUNCTION event_store.session_sweep(max_count integer DEFAULT 1000)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_session_sweep'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.session_sweep(integer)
IS 'frees sessions whose time is over and runs their functions; returns how many it has run';

CREATE FUNCTION event_store.shared_pool(
	OUT names integer, OUT max_registered integer, OUT sessions integer, OUT session_max integer,
	OUT bytes_used bigint, OUT bytes bigint, OUT reset_at timestamptz)
RETURNS record
AS 'MODULE_PATHNAME', 'event_store_shared_pool'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.shared_pool()
IS 'what names, messages and sessions take of the server''s shared memory, what they may, and since when it is there';

REVOKE ALL ON TABLE event_store.sessions FROM PUBLIC;
GRANT SELECT ON TABLE event_store.sessions TO PUBLIC;
REVOKE ALL ON FUNCTION
	event_store.session_start(text, jsonb, interval, interval, regprocedure, boolean),
	event_store.session_get(text, boolean),
	event_store.session_put(text, jsonb),
	event_store.session_merge(text, jsonb),
	event_store.session_touch(text),
	event_store.session_stop(text),
	event_store.session_rows_seen(),
	event_store.session_sweep(integer),
	event_store.shared_pool()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.session_start(text, jsonb, interval, interval, regprocedure, boolean),
	event_store.session_get(text, boolean),
	event_store.session_put(text, jsonb),
	event_store.session_merge(text, jsonb),
	event_store.session_touch(text),
	event_store.session_stop(text),
	event_store.session_rows_seen()
TO PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.shared_pool() TO pg_monitor;
