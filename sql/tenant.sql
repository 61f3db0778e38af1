/* tenants: their life, which of them a call is for, the guard between them */
\set VERBOSITY terse
SET search_path = public;

-- a database without tenants knows none
SELECT event_store.current_tenant();
SELECT event_store.require_tenant();
SELECT event_store.tenant_use('acme');
SET event_store.tenant = 'acme';
SELECT event_store.current_tenant();
SELECT event_store.read_stream('s');
RESET event_store.tenant;

-- names: systems 3.3.3
SELECT event_store.create_tenant('a"b');
SELECT event_store.create_tenant('a;b');
SELECT event_store.create_tenant('../a');
SELECT event_store.create_tenant(repeat('x', 64));
SELECT event_store.create_tenant('pg_x');
SELECT event_store.create_tenant('PUBLIC');
SELECT event_store.create_tenant('public');
SELECT event_store.create_tenant('');
SELECT event_store.create_tenant(NULL);
SELECT event_store.create_tenant('event_store');
SELECT event_store.create_tenant(E'a\nb');
SELECT event_store.create_tenant('acme', '[]');
SELECT event_store.create_tenant('acme', NULL);
SET event_store.tenant_name_pattern = '.';
SELECT event_store.create_tenant('PG_x');
SELECT event_store.create_tenant('Public');
SELECT event_store.create_tenant('');
SELECT event_store.create_tenant(repeat('x', 64));
SELECT event_store.create_tenant('Odd "name"; -- it''s');
SELECT event_store.tenant_use_session('Odd "name"; -- it''s');
SHOW search_path;
SELECT last_position FROM event_store.append_event('s', 'T');
SELECT event_store.drop_tenant('Odd "name"; -- it''s', 'Odd "name"; -- it''s');
SELECT event_store.current_tenant();
RESET event_store.tenant;
RESET search_path;
SET search_path = public;
RESET event_store.tenant_name_pattern;
SELECT name FROM event_store.tenants;
SELECT nspname FROM pg_namespace WHERE nspname ~ '"|''|;|acme';

SELECT event_store.create_tenant('acme', '{"plan": "gold"}');
SELECT event_store.create_tenant('beta');
SELECT event_store.create_tenant('acme');
-- systems 3.3.4: names that differ in case only
SET event_store.tenant_name_pattern = '.';
SELECT event_store.create_tenant('ACME');
RESET event_store.tenant_name_pattern;
-- a schema that is there is not taken over
CREATE SCHEMA plain;
SELECT event_store.create_tenant('plain');
SELECT event_store.attach_tenant('plain');
SELECT event_store.create_store('plain');
SELECT event_store.attach_tenant('plain', 'acme');
SELECT event_store.attach_tenant('plain', 'gamma');
SELECT event_store.attach_tenant('plain', 'delta');
-- what is on everybody's path is nobody's
BEGIN;
SELECT event_store.create_store('public');
SELECT event_store.attach_tenant('public', 'everybody');
ROLLBACK;
SELECT name, schema, state, attributes, current FROM event_store.tenants ORDER BY name;
SELECT event_store.drop_store('plain', 'plain');

-- systems 3.3.1, 3.3.9: the same text under two tenants, also in a function and a prepared statement
SELECT * FROM event_store.with_tenant('acme', $$SELECT last_position FROM event_store.append_event('order-1', 'OfAcme')$$) AS (p bigint);
SELECT * FROM event_store.with_tenant('beta', $$SELECT last_position FROM event_store.append('order-1', '[{"type": "OfBeta", "data": 1}, {"type": "OfBeta", "data": 2}]', $1)$$, 'no_stream') AS (p bigint);
SELECT * FROM event_store.with_tenant('acme', $$CREATE TABLE note (t text)$$) AS (n text);
SELECT * FROM event_store.with_tenant('beta', $$CREATE TABLE note (t text)$$) AS (n text);
SELECT * FROM event_store.with_tenant('acme', $$INSERT INTO note VALUES ('of acme')$$) AS (n text);
SELECT * FROM event_store.with_tenant('beta', $$INSERT INTO note VALUES ('of beta')$$) AS (n text);
CREATE FUNCTION what() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n text;
BEGIN
	SELECT event_store.current_tenant() || ': ' || t || ', ' || (SELECT string_agg(type, '+') FROM event_store.read_stream('order-1')) INTO n FROM note;
	RETURN n;
END $$;
SELECT w, count(*) FROM generate_series(1, 500) i,
	LATERAL event_store.with_tenant(CASE i % 2 WHEN 0 THEN 'acme' ELSE 'beta' END, 'SELECT what() UNION ALL SELECT public.what()') AS (w text) GROUP BY w ORDER BY w;
SELECT event_store.tenant_use_session('acme');
PREPARE what AS SELECT event_store.current_tenant() || ': ' || t || ', ' || (SELECT string_agg(type, '+') FROM event_store.read_stream('order-1')) AS w FROM note;
EXECUTE what;
SELECT event_store.tenant_use_session('beta');
EXECUTE what;
SELECT event_store.tenant_use_session('acme');
EXECUTE what;
SET search_path = public;
RESET event_store.tenant;

-- with_tenant returns what is asked for
SELECT event_store.with_tenant('acme', 'SELECT t, 1 AS one FROM note');
SELECT * FROM event_store.with_tenant('acme', 'SELECT t FROM note') AS (t integer);
SELECT * FROM event_store.with_tenant('acme', 'SELECT 1, 2') AS (t integer);
SELECT * FROM event_store.with_tenant('acme', 'BEGIN') AS (t integer);
SELECT * FROM event_store.with_tenant('acme', 'SELECT $1 + $2, $3', 1, '2', NULL) AS (n integer, t text);
SELECT * FROM event_store.with_tenant('acme', '') AS (n integer);
SELECT * FROM event_store.with_tenant('acme', NULL) AS (n integer);
SELECT * FROM event_store.with_tenant('acme', 'SELECT 1/0') AS (n integer);

-- systems 3.3.2: the path after it is the one before
SET search_path = plain, public;
SELECT * FROM event_store.with_tenant('acme', $$SELECT a.t || b.t || c.t || event_store.current_tenant() FROM
	event_store.with_tenant('acme', 'SELECT event_store.current_tenant()') AS a(t text),
	event_store.with_tenant('beta', 'SELECT t FROM event_store.with_tenant(''acme'', ''SELECT current_schemas(false)::text'') AS (t text)') AS b(t text),
	event_store.with_tenant('acme', 'SELECT event_store.current_tenant()') AS c(t text)$$) AS (t text);
SHOW search_path;
SHOW event_store.tenant;
BEGIN;
SAVEPOINT s;
SELECT * FROM event_store.with_tenant('acme', 'SELECT 1/0') AS (n integer);
ROLLBACK TO s;
SHOW search_path;
SELECT event_store.tenant_use('beta');
SAVEPOINT s;
SELECT * FROM event_store.with_tenant('acme', $$SELECT * FROM event_store.with_tenant('beta', 'SELECT 1/0') AS (n integer)$$) AS (n integer);
ROLLBACK TO s;
SHOW search_path;
SELECT event_store.current_tenant();
DO $$ BEGIN
	BEGIN
		PERFORM * FROM event_store.with_tenant('acme', 'SELECT 1/0') AS (n integer);
	EXCEPTION WHEN division_by_zero THEN
		RAISE INFO 'in %', event_store.current_tenant();
	END;
END $$;
SELECT * FROM event_store.with_tenant('acme', 'SET LOCAL search_path = nowhere') AS (n integer);
SHOW search_path;
COMMIT;
SHOW search_path;
SELECT * FROM event_store.with_tenant('acme', 'SET search_path = nowhere') AS (n integer);
SELECT * FROM event_store.with_tenant('acme', 'SET event_store.tenant = beta') AS (n integer);
SHOW search_path;
SHOW event_store.tenant;

-- systems 3.3.6: rollback leaves no tenant
SET search_path = public;
BEGIN;
SELECT event_store.tenant_use('acme');
SELECT event_store.current_tenant(), event_store.current_store(), current_schema;
SHOW search_path;
SAVEPOINT s;
SELECT event_store.tenant_use('beta');
SELECT event_store.current_tenant(), event_store.current_store(), current_schema;
ROLLBACK TO s;
SELECT event_store.current_tenant(), event_store.current_store(), current_schema;
ROLLBACK;
SELECT event_store.current_tenant(), event_store.current_store(), current_schema;
SHOW search_path;

-- routed by the path alone, by the setting alone; both must agree
SET search_path = nowhere, acme, beta;
SELECT event_store.current_tenant(), event_store.current_store();
SET event_store.tenant = 'beta';
SELECT event_store.current_tenant();
SELECT event_store.append_event('s', 'T');
SELECT count(*) FROM note;
SET search_path = public;
SELECT event_store.current_tenant(), event_store.current_store(), event_store.stream_version('order-1');
SET event_store.tenant = 'nobody';
SELECT event_store.current_tenant();
SET event_store.tenant = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
RESET event_store.tenant;

-- a schema that does not exist falls through; require_tenant does not let it
SELECT event_store.create_store('fallback');
SET search_path = acmee, fallback, acme;
SELECT event_store.current_store(), event_store.current_tenant();
SET event_store.require_tenant = on;
SELECT event_store.append_event('s', 'T');
SELECT count(*) FROM event_store.read_all();
SET search_path = acme;
SELECT event_store.stream_version('order-1');
RESET event_store.require_tenant;

-- suspended: systems 3.3.3
SET search_path = public;
SELECT event_store.suspend_tenant('acme', reason => 'unpaid');
SELECT name, state, reason FROM event_store.tenants WHERE name = 'acme';
SELECT event_store.tenant_use('acme');
SELECT * FROM event_store.with_tenant('acme', 'SELECT 1') AS (n integer);
SET event_store.tenant = 'acme';
SELECT event_store.read_stream('order-1');
SELECT * FROM acme.note;
RESET event_store.tenant;
SELECT event_store.suspend_tenant('acme', reads => true);
SELECT event_store.tenant_use_session('acme');
SELECT type FROM event_store.read_stream('order-1');
SELECT * FROM note;
INSERT INTO note VALUES ('x');
TRUNCATE note;
SELECT event_store.append_event('order-1', 'T');
SELECT event_store.resume_tenant('acme');
SELECT version FROM event_store.append_event('order-1', 'T'), LATERAL (SELECT last_version AS version) v;
SELECT event_store.suspend_tenant('nobody');

-- a temporary table, or one in public, never stands in for a tenant's: systems 3.3.7
CREATE TEMP TABLE note (t text);
CREATE TABLE public.note (t text);
SELECT event_store.tenant_use_session('beta');
INSERT INTO note VALUES ('more of beta');
SELECT * FROM beta.note;
SELECT count(*) FROM pg_temp.note;
SELECT count(*) FROM public.note;
DROP TABLE pg_temp.note, public.note;

-- the guard: tenancy 1.5.1
SELECT event_store.tenant_use_session('acme');
CREATE VIEW public.notes AS SELECT * FROM note;
CREATE FUNCTION public.notes() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT t FROM note; END;
PREPARE fixed AS SELECT t FROM acme.note;
EXECUTE fixed;
SELECT event_store.tenant_use_session('beta');
SELECT * FROM acme.note;
SELECT * FROM public.notes;
SELECT * FROM public.notes();
EXECUTE fixed;
INSERT INTO acme.note VALUES ('leak');
UPDATE acme.note SET t = 'leak';
DELETE FROM acme.note;
MERGE INTO acme.note USING note n ON true WHEN MATCHED THEN DELETE;
SELECT * FROM note WHERE EXISTS (SELECT FROM acme.note);
COPY acme.note TO STDOUT;
COPY (SELECT * FROM acme.note) TO STDOUT;
COPY acme.note FROM '/dev/null';
TRUNCATE acme.note;
LOCK TABLE acme.note;
ALTER TABLE acme.note ADD COLUMN x int;
ALTER TABLE acme.note RENAME TO x;
ALTER TABLE acme.note SET SCHEMA beta;
CREATE INDEX ON acme.note (t);
CLUSTER acme.note;
REINDEX TABLE acme.note;
REINDEX SCHEMA acme;
DROP TABLE acme.note;
DROP VIEW acme.nothing;
DROP TABLE IF EXISTS acme.nothing;
DROP SCHEMA acme CASCADE;
ALTER SCHEMA acme RENAME TO x;
SELECT event_store.verify_store('acme');
EXPLAIN (COSTS off) SELECT * FROM acme.note;
SELECT acme.note.* FROM acme.note WHERE false;
SET event_store.tenant = 'acme';
SELECT * FROM acme.note;
RESET event_store.tenant;
SET search_path = public;
SELECT * FROM acme.note;
SELECT * FROM public.notes;
-- warned, and off
SET event_store.guard = warn;
SELECT * FROM acme.note;
SET event_store.guard = off;
SELECT * FROM acme.note;
RESET event_store.guard;
-- tools empty the path
SET search_path = '';
SELECT * FROM acme.note;
SET search_path = public;
SELECT refused > 20 AS refused, warned FROM event_store.guard_counts();
DROP VIEW public.notes;
DROP FUNCTION public.notes();

-- rename; by hand too: systems 3.3.10
SELECT event_store.rename_tenant('acme', 'beta');
SELECT event_store.rename_tenant('acme', 'Acme');
SELECT event_store.rename_tenant('acme', 'plain');
SELECT event_store.rename_tenant('nobody', 'x');
SELECT event_store.rename_tenant('acme', 'acme2');
SELECT * FROM event_store.with_tenant('acme2', 'SELECT current_schema, event_store.current_tenant() FROM note') AS (s name, t text);
SELECT event_store.tenant_use('acme');
SET event_store.guard = off;
ALTER SCHEMA acme2 RENAME TO elsewhere;
RESET event_store.guard;
SELECT name, schema, state FROM event_store.tenants WHERE name ~ 'acme';
SELECT * FROM event_store.with_tenant('acme2', 'SELECT current_schema, event_store.current_tenant() FROM note') AS (s name, t text);
SELECT * FROM elsewhere.note;
-- a schema of the old name is not the tenant's
SELECT event_store.create_store('acme2');
SELECT event_store.tenant_schema('acme2')::regnamespace;
SELECT count(*) FROM acme2.event_log;
SELECT event_store.drop_store('acme2', 'acme2');
SELECT event_store.rename_tenant('acme2', 'acme');
SELECT name, schema FROM event_store.tenants WHERE name ~ 'acme';
-- dropped, emptied by hand
SET event_store.guard = off;
\set VERBOSITY sqlstate
DROP SCHEMA acme CASCADE;
\set VERBOSITY terse
RESET event_store.guard;
SELECT name, schema, state FROM event_store.tenants WHERE name ~ 'acme';
SELECT event_store.tenant_use('acme');
SELECT * FROM event_store.tenant_residue('acme') WHERE kind <> 'store';
SELECT event_store.drop_tenant('acme', 'acme');
SELECT * FROM event_store.tenant_residue('acme');
SET search_path = beta, fallback;
DROP TABLE event_streams;
SELECT event_store.append_event('s', 'T');
SELECT event_store.current_store();
SET search_path = public;

-- drop: systems 3.3.12
SELECT event_store.drop_tenant('beta', 'Beta');
SELECT event_store.drop_tenant('beta', NULL);
BEGIN;
SELECT event_store.drop_tenant('beta', 'beta');
ROLLBACK;
SELECT kind FROM event_store.tenant_residue('beta');
SELECT event_store.drop_tenant('beta', 'beta');
SELECT kind FROM event_store.tenant_residue('beta');
SELECT event_store.drop_tenant('beta', 'beta');
SELECT event_store.drop_tenant('gamma', 'gamma');
SELECT event_store.drop_store('fallback', 'fallback');
SELECT kind FROM event_store.tenant_residue('gamma');

-- behind a pooler: systems 3.3.16, tenancy 1.5.2
SELECT event_store.create_tenant('acme');
SELECT event_store.create_tenant('beta');
SET event_store.pooler = transaction;
SELECT event_store.tenant_use_session('acme');
SET event_store.tenant = 'acme';
SELECT event_store.current_tenant();
SELECT event_store.require_tenant();
SET search_path = acme;
SELECT event_store.append_event('s', 'T');
SELECT * FROM event_log;
SET search_path = public;
BEGIN;
SELECT event_store.tenant_use('acme');
SAVEPOINT s;
SELECT event_store.tenant_use('beta');
ROLLBACK TO s;
SELECT event_store.current_tenant();
COMMIT;
SELECT event_store.current_tenant();
SELECT * FROM event_store.with_tenant('beta', 'SELECT event_store.current_tenant()') AS (t text);
RESET event_store.pooler;
SELECT event_store.current_tenant();
RESET event_store.tenant;

SELECT pooler FROM event_store.pooler_check();
SELECT p2.pooler FROM event_store.pooler_check() p1, event_store.pooler_check(p1.token) p2;
SELECT p2.pooler FROM event_store.pooler_check() p1, event_store.pooler_check('1' || p1.token) p2;
SET event_store.tenant = 'acme';
SELECT p2.pooler FROM event_store.pooler_check() p1, event_store.pooler_check('1' || p1.token) p2;
SELECT p2.pooler FROM event_store.pooler_check() p1, event_store.pooler_check('1' || p1.token || '2') p2;
SELECT event_store.pooler_check('acme');
RESET event_store.tenant;

-- all tenants
SELECT event_store.suspend_tenant('beta');
SELECT event_store.create_tenant('gamma');
SELECT tenant, result, problem ->> 'detail' AS problem FROM event_store.each_tenant(
	$$SELECT event_store.current_tenant() AS t, first_version FROM event_store.append_event('s', CASE event_store.current_tenant() WHEN 'gamma' THEN '' ELSE 'T' END)$$);
SELECT tenant, problem ->> 'detail' AS problem FROM event_store.each_tenant('SET search_path = plain');
SELECT event_store.each_tenant(NULL);
-- one that is dropped meanwhile is left out
BEGIN;
SELECT event_store.create_tenant('zz');
SELECT tenant, problem ->> 'detail' AS problem FROM event_store.each_tenant($$SELECT event_store.drop_tenant(name, name) FROM (VALUES ('zz')) z (name)
	WHERE EXISTS (SELECT FROM event_store.tenant_residue(name))$$) WHERE tenant = 'zz';
SELECT count(*) FROM event_store.tenant_residue('zz');
ROLLBACK;
-- several at once, in workers: each in a transaction of its own, a failure is an answer
SELECT tenant, result, problem ->> 'detail' AS problem FROM event_store.each_tenant(
	$$SELECT event_store.current_tenant() AS t, first_version FROM event_store.append_event('s', CASE event_store.current_tenant() WHEN 'gamma' THEN '' ELSE 'T' END)$$, 2)
ORDER BY tenant;
SELECT * FROM event_store.with_tenant('acme', 'SELECT version FROM event_store.read_stream(''s'')') AS (version bigint);
SELECT bool_and((result #>> '{ok,0,pid}')::int <> pg_backend_pid()) AS elsewhere, bool_and(result #>> '{ok,0,role}' = current_user) AS as_me
FROM event_store.each_tenant('SELECT pg_backend_pid() AS pid, current_user AS role', 8) WHERE result IS NOT NULL;
SELECT tenant, problem ->> 'detail' AS problem FROM event_store.each_tenant('SET search_path = plain', 2) ORDER BY tenant;
SELECT tenant, result, problem ->> 'detail' AS problem, problem ->> 'sqlstate' AS sqlstate FROM event_store.each_tenant(
	$$SELECT pg_terminate_backend(pg_backend_pid()) WHERE event_store.current_tenant() = 'gamma'$$, 2) ORDER BY tenant;
SELECT length(result #>> '{ok,0,t}') FROM event_store.each_tenant($$SELECT repeat('x', 1000000) AS t$$, 2) WHERE result IS NOT NULL;
SELECT event_store.each_tenant('SELECT 1', 0);
SELECT event_store.each_tenant('SELECT 1', 1025);
SELECT event_store.each_tenant('SELECT 1', NULL);
BEGIN;
SELECT event_store.each_tenant('SELECT 1', 2);
ROLLBACK;
CREATE TABLE public.locked (i int);
DO $$ BEGIN INSERT INTO public.locked VALUES (1); PERFORM event_store.each_tenant('SELECT 1', 2); END $$;
DO $$ BEGIN
	LOCK TABLE public.locked IN EXCLUSIVE MODE;
	PERFORM event_store.each_tenant('INSERT INTO public.locked VALUES (1)', 2);
END $$;
SELECT count(*) FROM public.locked;
DROP TABLE public.locked;
-- never as more than the caller
CREATE ROLE regress_es_t3;
SELECT datdba::regrole AS dba FROM pg_database WHERE datname = current_database() \gset
ALTER DATABASE :DBNAME OWNER TO regress_es_t3;
SELECT event_store.grant_tenant('acme', 'regress_es_t3');
SET ROLE regress_es_t3;
SELECT tenant, result #> '{ok,0}' AS row, problem ->> 'sqlstate' AS sqlstate
FROM event_store.each_tenant('SELECT current_user AS role, pg_has_role(''pg_monitor'', ''USAGE'') AS monitor', 2) ORDER BY tenant;
SELECT problem ->> 'detail' AS problem FROM event_store.each_tenant(format('SET ROLE %I', :'dba'), 2) WHERE tenant = 'acme';
SELECT problem ->> 'detail' AS problem FROM event_store.each_tenant('RESET SESSION AUTHORIZATION', 2) WHERE tenant = 'acme';
SELECT problem ->> 'detail' AS problem FROM event_store.each_tenant('CREATE TEMP TABLE t (i int)', 2) WHERE tenant = 'acme';
RESET ROLE;
ALTER DATABASE :DBNAME OWNER TO :dba;
SELECT event_store.revoke_tenant('acme', 'regress_es_t3');
DROP ROLE regress_es_t3;
SELECT event_store.drop_tenant(t, t) FROM unnest('{acme,beta,gamma}'::text[]) t;

-- roles: systems 3.3.8
CREATE ROLE regress_es_t1;
CREATE ROLE regress_es_t2;
SELECT event_store.create_tenant('one');
SELECT event_store.create_tenant('two');
SELECT * FROM event_store.with_tenant('one', 'CREATE TABLE before (id serial, t text)') AS (n int);
SELECT event_store.grant_tenant('one', 'regress_es_t1');
SELECT event_store.grant_tenant('two', 'regress_es_t2', 'reader');
SELECT event_store.grant_tenant('two', 'regress_es_t2', 'owner');
SELECT event_store.grant_tenant('two', 'regress_es_nobody');
SELECT * FROM event_store.with_tenant('one', 'CREATE TABLE after (id serial, t text)') AS (n int);
SET ROLE regress_es_t1;
SELECT event_store.tenant_use_session('one');
SELECT last_version FROM event_store.append_event('s', 'T');
INSERT INTO before (t) VALUES ('x');
INSERT INTO after (t) VALUES ('x');
SELECT event_store.tenant_use('two');
SELECT * FROM event_store.with_tenant('two', 'SELECT 1') AS (n int);
SET event_store.tenant = 'two';
SELECT event_store.current_tenant();
SELECT event_store.read_all();
SELECT event_store.append_event('s', 'T');
SET search_path = two;
SELECT event_store.read_all();
SET event_store.guard = off;
SET event_store.pooler = none;
SET event_store.require_tenant = off;
SELECT * FROM two.event_log;
RESET event_store.tenant;
SET search_path = one;
SELECT event_store.suspend_tenant('one');
SELECT event_store.drop_tenant('one', 'one');
SELECT event_store.rename_tenant('one', 'three');
SELECT event_store.grant_tenant('one', 'regress_es_t2');
SELECT event_store.create_tenant('three');
SELECT event_store.each_tenant('SELECT 1');
SELECT * FROM event_store.tenants;
SELECT * FROM event_store.tenant_registry;
SET ROLE regress_es_t2;
SET search_path = two;
SELECT count(*) FROM event_store.read_all();
SELECT event_store.append_event('s', 'T');
RESET ROLE;
SET search_path = public;
SELECT event_store.revoke_tenant('one', 'regress_es_t1');
SELECT event_store.revoke_tenant('two', 'regress_es_t2');
SET ROLE regress_es_t1;
SELECT event_store.tenant_use('one');
RESET ROLE;
SELECT event_store.drop_tenant(t, t) FROM unnest('{one,two}'::text[]) t;
DROP ROLE regress_es_t1, regress_es_t2;
DROP FUNCTION public.what();
