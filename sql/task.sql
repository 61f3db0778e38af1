/* background tasks: as whom and where they run, and what becomes of those that fail */
\set SHOW_CONTEXT never
SET timezone = 'UTC';
CREATE SCHEMA work;
CREATE PROCEDURE work.wait_until(query text) LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + interval '60 s';
	done boolean := false;
BEGIN
	WHILE NOT coalesce(done, false) AND clock_timestamp() < deadline LOOP
		EXECUTE query INTO done;
		PERFORM pg_sleep(0.01) WHERE NOT coalesce(done, false);
	END LOOP;
	IF NOT coalesce(done, false) THEN
		RAISE WARNING 'not in time: %', query;
	END IF;
END $$;
CREATE TABLE work.log (n serial, what text, who text, path text, tenant text, memory text, read_only text);
CREATE FUNCTION work.note(what text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO work.log (what, who, path, tenant, memory, read_only) VALUES (what, current_user, current_setting('search_path'),
		current_setting('event_store.tenant'), current_setting('work_mem'), current_setting('transaction_read_only')) $$;
CREATE TABLE work.secret AS SELECT 1 AS secret;
CREATE ROLE regress_es_task;
GRANT CREATE ON DATABASE regression TO regress_es_task;
GRANT USAGE ON SCHEMA work TO regress_es_task;
GRANT INSERT, SELECT ON work.log TO regress_es_task;
GRANT USAGE ON work.log_n_seq TO regress_es_task;
CREATE FUNCTION work.runs(name text) RETURNS bigint LANGUAGE sql RETURN (SELECT s.runs FROM event_store.schedules s WHERE s.name = $1);

-- systems 4.3.16: as its owner, with its rights; the path is pinned
SET ROLE regress_es_task;
SELECT event_store.schedule('note', '100 ms', $$SELECT work.note('note')$$) IS NOT NULL AS ok;
SELECT event_store.schedule('spy', '100 ms', 'SELECT * FROM work.secret') IS NOT NULL AS ok;
RESET ROLE;
CALL work.wait_until($$SELECT work.runs('note') >= 2$$);
SELECT DISTINCT what, who, path, tenant, read_only FROM work.log;
CALL work.wait_until($$SELECT failures >= 2 FROM event_store.tasks WHERE name = 'spy'$$);
SELECT state IN ('backing off', 'ready', 'running') AS goes_on, failed_at IS NOT NULL AS failed, last_problem ->> 'sqlstate' AS sqlstate, work.runs(name)
FROM event_store.tasks WHERE name = 'spy';

-- a store's task has the store's path, a tenant's the tenant's
SELECT event_store.create_store('works');
SELECT event_store.create_tenant('acme');
SET search_path = works;
SELECT event_store.schedule('store', '100 ms', $$SELECT work.note('store')$$) IS NOT NULL AS ok;
SET search_path = public;
BEGIN;
SELECT event_store.tenant_use('acme');
SELECT event_store.schedule('tenant', '100 ms', $$SELECT work.note('tenant')$$) IS NOT NULL AS ok;
COMMIT;
CALL work.wait_until($$SELECT work.runs('store') >= 1 AND work.runs('tenant') >= 1$$);
SELECT DISTINCT what, who = current_user AS mine, path, tenant FROM work.log WHERE what IN ('store', 'tenant') ORDER BY 1;
SELECT kind, name, schema FROM event_store.tasks WHERE name IN ('store', 'tenant') ORDER BY 1, 2;
-- of a suspended tenant nothing runs
SELECT event_store.suspend_tenant('acme');
CALL work.wait_until($$SELECT state = 'sleeping' AND next_run > now() + interval '1 s' FROM event_store.tasks WHERE name = 'tenant'$$);
SELECT event_store.resume_tenant('acme');
SELECT event_store.tenant_use_session('acme');
SELECT event_store.resume_task('schedule', 'tenant');
SELECT work.runs('tenant') AS runs \gset
CALL work.wait_until($$SELECT work.runs('tenant') > $$ || :runs);
RESET event_store.tenant;
RESET search_path;

-- what a task may try. Some of it only a superuser can do.
SET ROLE regress_es_task;
SELECT count(event_store.schedule(name, '100 ms', command)) FROM (VALUES
	('ends', 'COMMIT'), ('calls', 'CALL work.commits()'), ('becomes', 'RESET ROLE'), ('authorises', 'RESET SESSION AUTHORIZATION'),
	('temporary', 'CREATE TEMP TABLE t ()'), ('listens', 'LISTEN x'), ('copies', 'COPY (SELECT 1) TO STDOUT'),
	('holds', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'), ('kills', 'SELECT pg_terminate_backend(pg_backend_pid())'), ('defers', 'INSERT INTO work.later VALUES (1)'),
	('paths', $$SET search_path = work; SET work_mem = '64kB'; SELECT note('paths')$$),
	('locks', $$SELECT pg_advisory_lock(4242); SELECT work.note('locks')$$),
	('prepares', 'PREPARE p AS SELECT 1')) v (name, command);
RESET ROLE;
SELECT event_store.schedule('leaves', '100 ms', $$PREPARE p AS SELECT 1; CREATE TEMP TABLE left_behind (); SELECT work.note('leaves')$$) IS NOT NULL AS ok;
CREATE PROCEDURE work.commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
CREATE TABLE work.parent (n int PRIMARY KEY);
CREATE TABLE work.later (n int REFERENCES work.parent DEFERRABLE INITIALLY DEFERRED);
GRANT INSERT ON work.later TO regress_es_task;
INSERT INTO work.parent VALUES (1);
CALL work.wait_until($$SELECT count(*) = 10 FROM event_store.tasks WHERE failures >= 2
	AND name IN ('ends', 'calls', 'becomes', 'authorises', 'temporary', 'listens', 'copies', 'holds', 'kills', 'prepares')$$);
CALL work.wait_until($$SELECT last_problem ->> 'sqlstate' <> '42P01' FROM event_store.tasks WHERE name = 'defers'$$);
SELECT name, last_problem ->> 'sqlstate' AS sqlstate, CASE WHEN last_problem ->> 'sqlstate' = '0A000' THEN last_problem ->> 'detail' END AS detail
FROM event_store.tasks WHERE failures > 0 AND name <> 'spy' ORDER BY name COLLATE "C";
CALL work.wait_until($$SELECT work.runs('paths') >= 2 AND work.runs('locks') >= 2 AND work.runs('leaves') >= 2$$);
-- and nothing of it is left for the next one in the same process
SELECT event_store.schedule('next', '100 ms', $$SELECT work.note('next') FROM pg_prepared_statements HAVING count(*) = 0 AND to_regclass('pg_temp.left_behind') IS NULL$$) IS NOT NULL AS ok;
CALL work.wait_until($$SELECT work.runs('next') >= 8$$);
SELECT runs = (SELECT count(*) FROM work.log WHERE what = 'next') AS each_time FROM event_store.schedules WHERE name = 'next';
SELECT DISTINCT what, path, memory = current_setting('work_mem') AS same_memory FROM work.log WHERE what IN ('next', 'paths') ORDER BY 1;
SELECT event_store.unschedule(name) FROM event_store.schedules WHERE name IN ('ends', 'calls', 'becomes', 'authorises', 'temporary', 'listens', 'copies', 'holds',
	'kills', 'defers', 'paths', 'locks', 'prepares', 'leaves', 'next', 'spy', 'note');
CALL work.wait_until($$SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242$$);

-- one that ends its own process: a failure, and the work goes on
SELECT event_store.schedule('suicide', '100 ms', 'SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60)') IS NOT NULL AS ok;
CALL work.wait_until($$SELECT failures >= 1 FROM event_store.tasks WHERE name = 'suicide'$$);
SELECT last_problem ->> 'sqlstate' AS sqlstate FROM event_store.tasks WHERE name = 'suicide';
SELECT event_store.unschedule('suicide');

-- one that takes too long
ALTER SYSTEM SET event_store.task_timeout = '300 ms';
SELECT pg_reload_conf();
SELECT event_store.schedule('sleeps', '100 ms', 'SELECT pg_sleep(60)') IS NOT NULL AS ok;
SELECT event_store.schedule('loops', '100 ms', 'DO $$BEGIN LOOP NULL; END LOOP; END$$') IS NOT NULL AS ok;
SELECT event_store.schedule('swallows', '100 ms', 'DO $$BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END$$') IS NOT NULL AS ok;
CALL work.wait_until($$SELECT count(*) = 2 FROM event_store.tasks WHERE failures >= 1 AND name IN ('sleeps', 'loops')$$);
CALL work.wait_until($$SELECT work.runs('swallows') >= 1$$);
SELECT name, last_problem ->> 'sqlstate' AS sqlstate, last_problem ->> 'type' AS type, last_problem ->> 'detail' AS detail FROM event_store.tasks WHERE name IN ('sleeps', 'loops') ORDER BY 1;
SELECT event_store.unschedule('sleeps'), event_store.unschedule('loops'), event_store.unschedule('swallows');
ALTER SYSTEM RESET event_store.task_timeout;
SELECT pg_reload_conf();

-- stopped for good: what it needs is gone; resumed by hand, or when registered anew
CREATE FUNCTION work.gone() RETURNS void LANGUAGE sql AS $$SELECT work.note('gone')$$;
SELECT event_store.schedule('gone', '100 ms', function => 'work.gone') IS NOT NULL AS ok;
CREATE ROLE regress_es_gone;
GRANT CREATE ON DATABASE regression TO regress_es_gone;
SET ROLE regress_es_gone;
SELECT event_store.schedule('orphan', '200 ms', 'SELECT 1') IS NOT NULL AS ok;
SELECT event_store.schedule('forbidden', '200 ms', function => 'work.forbidden');
RESET ROLE;
CALL work.wait_until($$SELECT work.runs('gone') >= 1$$);
DROP FUNCTION work.gone();
REVOKE CREATE ON DATABASE regression FROM regress_es_gone;
DROP ROLE regress_es_gone;
DROP SCHEMA works CASCADE;
CALL work.wait_until($$SELECT count(*) = 3 FROM event_store.tasks WHERE state = 'stopped'$$);
SELECT name, state, waiting_for, next_run, failures >= 1 AS failed, last_problem ->> 'sqlstate' AS sqlstate FROM event_store.tasks WHERE state = 'stopped' ORDER BY name;
SELECT event_store.unschedule('store'), event_store.unschedule('orphan');
CREATE FUNCTION work.gone() RETURNS void LANGUAGE sql AS $$SELECT work.note('back')$$;
SELECT event_store.resume_task('schedule', 'gone');
CALL work.wait_until($$SELECT count(*) > 0 FROM work.log WHERE what = 'back'$$);
SELECT state <> 'stopped' AS goes_on, failures, last_problem FROM event_store.tasks WHERE name = 'gone';
SELECT event_store.resume_task('schedule', 'nothing');
SELECT event_store.resume_task('nothing', 'gone');

-- a failure that goes away leaves nothing
CREATE TABLE work.switch (broken int);
INSERT INTO work.switch VALUES (0);
SELECT event_store.schedule('mends', '100 ms', 'SELECT 1 / broken FROM work.switch') IS NOT NULL AS ok;
CALL work.wait_until($$SELECT failures >= 1 FROM event_store.tasks WHERE name = 'mends'$$);
UPDATE work.switch SET broken = 1;
CALL work.wait_until($$SELECT work.runs('mends') >= 2$$);
SELECT failures, failed_at, last_problem FROM event_store.tasks WHERE name = 'mends';

-- a run that changes or takes back its own schedule
SELECT event_store.schedule('once', '100 ms', $$SELECT work.note('once'); SELECT event_store.unschedule('once')$$) IS NOT NULL AS ok;
CALL work.wait_until($$SELECT count(*) = 0 FROM event_store.tasks WHERE name = 'once'$$);
SELECT count(*) FROM work.log WHERE what = 'once';

-- none runs
ALTER SYSTEM SET event_store.max_workers = 0;
SELECT pg_reload_conf();
SELECT event_store.schedule('waits', '100 ms', $$SELECT work.note('waits')$$) IS NOT NULL AS ok;
CALL work.wait_until($$SELECT count(*) = 0 FROM event_store.workers WHERE state = 'running'$$);
CALL work.wait_until($$SELECT state = 'ready' AND waiting_for = 'a worker' FROM event_store.tasks WHERE name = 'waits'$$);
ALTER SYSTEM RESET event_store.max_workers;
SELECT pg_reload_conf();
CALL work.wait_until($$SELECT work.runs('waits') >= 1$$);
-- who runs it: seen in the views
SELECT event_store.schedule('long', '100 ms', 'SELECT pg_sleep(60)') IS NOT NULL AS ok;
-- its first step, before it is due, only says when that is
CALL work.wait_until($$SELECT state = 'running' AND steps >= 1 FROM event_store.tasks WHERE name = 'long'$$);
SELECT w.state, w.kind, w.name, w.pid = t.pid AS same, w.pid = a.pid AS seen, a.query FROM event_store.workers w JOIN event_store.tasks t USING (name)
LEFT JOIN pg_stat_activity a ON a.backend_type = 'event_store worker' AND a.query LIKE '%long' WHERE w.name = 'long';
-- taken back, its run is broken off
SELECT event_store.unschedule('long');
CALL work.wait_until($$SELECT count(*) = 0 FROM event_store.workers WHERE state = 'running' AND name IS NULL$$);

-- rolled back: never was
BEGIN;
SELECT event_store.schedule('undone', '100 ms', $$SELECT work.note('undone')$$) IS NOT NULL AS ok;
ROLLBACK;
BEGIN; SELECT event_store.unschedule('mends'); ROLLBACK;
SELECT work.runs('mends') AS runs \gset
CALL work.wait_until($$SELECT work.runs('mends') > $$ || :runs);
SELECT count(*) FROM work.log WHERE what = 'undone';

-- how long a failure makes wait
SELECT n, event_store.task_backoff(n, 0) AS least, event_store.task_backoff(n, 1) AS most FROM unnest(ARRAY[-1, 0, 1, 2, 3, 9, 10, 2147483647]) n;
SELECT event_store.task_backoff(1, 'NaN'), event_store.task_backoff(1, 1e300);

SELECT event_store.unschedule(name) FROM event_store.schedules WHERE schema IS NULL;
-- a store that is dropped takes its tasks with it
SELECT event_store.drop_tenant('acme', 'acme');
SELECT (SELECT count(*) FROM event_store.tasks WHERE kind <> 'session') AS tasks, (SELECT count(*) FROM event_store.schedule) AS schedules;
CALL work.wait_until($$SELECT count(*) = 0 FROM event_store.workers WHERE state = 'running'$$);
DROP OWNED BY regress_es_task;
DROP ROLE regress_es_task;
\set VERBOSITY terse
DROP SCHEMA work CASCADE;
