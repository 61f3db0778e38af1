-- reliability 54: objects of somebody else that stand first in the search_path capture nothing. What is called by its full name does
-- what it does, and the store is found as a table name would be, but that temporary and unregistered tables do not count.
\ir lib/problem.sql
BEGIN;
SELECT no_plan();

CREATE ROLE regress_es_victim;
CREATE ROLE regress_es_other;
CREATE ROLE regress_es_hostile;
GRANT regress_es_other TO regress_es_victim;
CREATE SCHEMA shop AUTHORIZATION regress_es_victim;
CREATE SCHEMA watched AUTHORIZATION regress_es_victim;
CREATE SCHEMA spare AUTHORIZATION regress_es_victim;
CREATE SCHEMA hostile AUTHORIZATION regress_es_hostile;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
SET ROLE regress_es_victim;
SELECT event_store.create_store('shop');
SELECT event_store.create_store('watched');
-- one store is written and read past the executor, the other with SQL statements
ALTER TABLE watched.event_log ADD CHECK (version > 0);
ALTER TABLE watched.event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY everything ON watched.event_log USING (version OPERATOR(pg_catalog.>) 0);
SELECT event_store.grant_store('shop', 'regress_es_hostile', 'reader');
RESET ROLE;
GRANT EXECUTE ON FUNCTION event_store.register_problem_type, event_store.unregister_problem_type, event_store.set_problem_title TO regress_es_victim;
SELECT event_store.register_problem_type('urn:x:y', 'Y', 400, 'XY001');

-- the trap: it notes who came into it, and answers wrong
CREATE TABLE hostile.captured (what text, victim text);
GRANT INSERT ON hostile.captured TO PUBLIC;
SET ROLE regress_es_hostile;
CREATE FUNCTION hostile.capture(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO hostile.captured VALUES (what, current_user);
END $$;
DO $$
DECLARE
	t text;
	o text;
	f record;
BEGIN
	-- operators over the types of our columns and of the catalogues
	FOREACH t IN ARRAY '{bigint,integer,oid,text,name,uuid,boolean,timestamptz,jsonb,"\"char\"",regclass}'::text[] LOOP
		EXECUTE format($f$CREATE FUNCTION hostile.op(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS
			$b$ BEGIN PERFORM hostile.capture('operator on %1$s'); RETURN false; END $b$ $f$, t);
		FOREACH o IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR hostile.%2$s (FUNCTION = hostile.op, LEFTARG = %1$s, RIGHTARG = %1$s)', t, o);
		END LOOP;
	END LOOP;
	-- functions with the names and arguments of the server's that such code might call
	FOR f IN
		SELECT proname, pg_get_function_identity_arguments(oid) AS arguments, format_type(prorettype, NULL) AS result
		FROM pg_proc
		WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
		AND proname IN ('now', 'clock_timestamp', 'nextval', 'setval', 'currval', 'pg_total_relation_size', 'pg_get_userbyid', 'set_config',
			'current_setting', 'quote_ident', 'quote_literal', 'int8eq', 'texteq', 'obj_description', 'to_regclass',
			'has_table_privilege', 'pg_extension_config_dump', 'gen_random_uuid', 'timestamptz', 'text', 'int8')
		AND prorettype <> 'internal'::regtype AND NOT proretset
	LOOP
		EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
			format('BEGIN PERFORM hostile.capture(''function %s''); %s; END', f.proname, CASE f.result WHEN 'void' THEN 'RETURN' ELSE 'RETURN NULL' END));
	END LOOP;
	-- types with the names of the built-in ones
	FOREACH t IN ARRAY '{int8,int4,text,uuid,jsonb,timestamptz,interval,bool,oid}'::text[] LOOP
		EXECUTE format('CREATE TYPE hostile.%I AS (trap pg_catalog.int4)', t);
	END LOOP;
END $$;
-- tables like those of a store and like the registry, not registered
CREATE TABLE hostile.event_log (LIKE shop.event_log INCLUDING ALL);
CREATE TABLE hostile.event_streams (LIKE shop.event_streams INCLUDING ALL);
CREATE TABLE hostile.event_mark (LIKE shop.event_mark INCLUDING ALL);
CREATE TABLE hostile.store_registry (LIKE event_store.store_registry INCLUDING ALL);
CREATE TABLE hostile.registered_problem_type (LIKE event_store.registered_problem_type INCLUDING ALL);
CREATE TABLE hostile.problem_title (LIKE event_store.problem_title INCLUDING ALL);
INSERT INTO hostile.registered_problem_type VALUES ('urn:x:y', 'XY666', 'Trap', 200);
CREATE SEQUENCE hostile.event_position INCREMENT 128;
INSERT INTO hostile.event_mark VALUES (4711, 0, 1, pg_catalog.now(), '{}');
INSERT INTO hostile.store_registry VALUES (4711, true, pg_catalog.now());
CREATE VIEW hostile.pg_class AS SELECT 0::pg_catalog.oid AS oid, 'event_log'::pg_catalog.name AS relname;
CREATE VIEW hostile.pg_extension AS SELECT 'event_store'::pg_catalog.name AS extname;
RESET ROLE;

-- and the same as temporary tables of the session
CREATE TEMP TABLE event_log (LIKE shop.event_log INCLUDING ALL);
CREATE TEMP TABLE event_streams (LIKE shop.event_streams INCLUDING ALL);
CREATE TEMP TABLE event_mark AS SELECT * FROM shop.event_mark;
CREATE TEMP TABLE event_snapshots (LIKE shop.event_snapshots INCLUDING ALL);
CREATE TEMP TABLE store_registry AS SELECT * FROM event_store.store_registry;
CREATE TEMP SEQUENCE event_position INCREMENT 128;
CREATE TEMP TABLE pg_namespace (oid oid, nspname name);

-- run a command as the victim under a path and give back what it answers; nothing else may run under that path
CREATE FUNCTION pg_temp.under(path text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', path, true);
	PERFORM pg_catalog.set_config('role', 'regress_es_victim', true);
	BEGIN
		EXECUTE command INTO result;
	EXCEPTION WHEN OTHERS THEN
		result := SQLSTATE;
	END;
	PERFORM pg_catalog.set_config('role', 'none', true);
	PERFORM pg_catalog.set_config('search_path', 'public', true);
	RETURN result;
END $$;
SET LOCAL search_path = public;

-- the trap works
SELECT is(pg_temp.under('hostile, pg_catalog', $$SELECT 1::pg_catalog.int8 = 1::pg_catalog.int8$$), 'false', 'an operator is captured where it can be');
SELECT is(pg_temp.under('hostile, pg_catalog', 'SELECT now() IS NULL'), 'true', 'so is a function');
SELECT results_eq('SELECT DISTINCT what, victim FROM hostile.captured ORDER BY what', $$VALUES ('function now', 'regress_es_victim'), ('operator on bigint', 'regress_es_victim')$$, 'and the trap has noted it');
DELETE FROM hostile.captured;

CREATE TEMP TABLE calls (n serial, command text, answer text);
INSERT INTO calls (command, answer) VALUES
	('SELECT event_store.current_store()', '$S'),
	($$SELECT (first_version, last_version) FROM event_store.append_event('order-1', 'Placed', expected => 'no_stream')$$, '(1,1)'),
	($$SELECT (first_version, last_version) FROM event_store.append('order-1', '[{"type": "Paid", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001", "created_at": "2020-02-02T02:02:02Z"}, {"type": "Sent", "data": {}}]', 1)$$, '(2,3)'),
	($$SELECT (first_version, last_version) FROM event_store.append('order-1', '[{"type": "Paid", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001", "created_at": "2020-02-02T02:02:02Z"}]', 1)$$, '(2,2)'),
	($$SELECT (first_version, last_version) FROM event_store.append('order-2', ARRAY[ROW('A', '1', NULL, NULL, NULL, NULL, NULL)::event_store.new_event])$$, '(1,1)'),
	($$SELECT event_store.append_event('order-2', 'A', event_id => '00000000-0000-4000-8000-000000000001')$$, 'VE005'),
	($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$, 'VE001'),
	($$SELECT pg_catalog.string_agg(type, ' ') FROM event_store.read_stream('order-1')$$, 'Placed Paid Sent'),
	($$SELECT pg_catalog.string_agg(type, ' ') FROM event_store.read_stream('order-1', 2, 1, 'backward')$$, 'Paid'),
	('SELECT pg_catalog.count(*) FROM event_store.read_all()', '0'),
	('SELECT pg_catalog.count(*) FROM event_store.read_category(''order'', types => ''{A}'')', '0'),
	('SELECT event_store.poll(0)', '25001'),
	($$SELECT stream FROM event_store.event('00000000-0000-4000-8000-000000000001')$$, 'order-1'),
	($$SELECT event_store.stream_version('order-1')$$, '3'),
	($$SELECT status FROM event_store.stream_info('order-2')$$, 'open'),
	($$SELECT last_version FROM event_store.link_event('links', '00000000-0000-4000-8000-000000000001')$$, '1'),
	($$SELECT stream FROM event_store.read_stream('links', resolve_links => true)$$, 'order-1'),
	($$SELECT event_store.set_stream_metadata('order-1', '{"a": 1}', max_count => 2)$$, ''),
	($$SELECT event_store.stream_metadata('order-1')$$, '{"a": 1}'),
	($$SELECT event_store.truncate_stream('order-1', 3)$$, '3'),
	($$SELECT pg_catalog.string_agg(type, ' ') FROM event_store.read_stream('order-1')$$, 'Sent'),
	($$SELECT event_store.delete_stream('order-2')$$, '1'),
	($$SELECT event_store.horizon()$$, '1'),
	($$SELECT event_store.head()$$, '0'),
	($$SELECT event_store.durable_mark()$$, '0'),
	($$SELECT schema FROM event_store.stores WHERE current$$, '$S'),
	($$SELECT pg_catalog.count(*) FROM event_store.problem_type$$, (SELECT count(*) FROM event_store.problem_type)::text),
	($$SELECT event_store.problem('urn:x:y', 404, ext => '{"abc": 1}')$$, '{"abc": 1, "type": "urn:x:y", "title": "Y", "status": 404}'),
	($$SELECT event_store.raise_problem('{"type": "urn:x:y"}')$$, 'XY001'),
	($$SELECT event_store.last_problem()$$, '{"type": "urn:x:y", "title": "Y", "status": 400}'),
	($$SELECT event_store.problem_from_error('23505')$$, '{"type": "about:blank", "title": "Conflict", "detail": "A value that must be unique is there already.", "status": 409, "sqlstate": "23505"}'),
	($$SELECT event_store.problem_headers('{"status": 401}')$$, '{"Content-Type": "application/problem+json", "Content-Language": "en", "WWW-Authenticate": "Bearer"}'),
	($$SELECT event_store.problem_pgrst('{"status": 401}')$$, 'PGRST'),
	($$SELECT event_store.try('SELECT $1 AS n', 1)$$, '{"ok": [{"n": 1}], "rows": 1}'),
	($$SELECT event_store.register_problem_type('urn:x:z', 'Z', 400, 'XZ001')$$, ''),
	($$SELECT event_store.set_problem_title('urn:x:z', 'de', 'Zett')$$, ''),
	($$SELECT event_store.unregister_problem_type('urn:x:z')$$, ''),
	($$SELECT event_store.grant_store('$S', 'regress_es_other', 'admin')$$, ''),
	($$SELECT event_store.revoke_store('$S', 'regress_es_other')$$, ''),
	($$SELECT event_store.attach_store('$S')$$, ''),
	($$SELECT event_store.create_store('spare')$$, ''),
	($$SELECT event_store.drop_store('spare', 'spare')$$, '');

CREATE TEMP TABLE paths (path text);
INSERT INTO paths VALUES
	('hostile, pg_catalog, $S'),
	('hostile, $S, pg_catalog'),
	('pg_temp, hostile, $S, pg_catalog'),
	('pg_temp, pg_catalog, hostile, $S'),
	('hostile, pg_temp, event_store, $S');

-- one store and one path after the other, each undone, in one session that remembers whatever it may
CREATE FUNCTION pg_temp.answers(store text, path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	call record;
	given text;
	wrong text[] := '{}';
BEGIN
	BEGIN
		FOR call IN SELECT * FROM calls ORDER BY n LOOP
			given := pg_temp.under(replace(path, '$S', store), replace(call.command, '$S', store));
			IF given IS DISTINCT FROM replace(call.answer, '$S', store) THEN
				wrong := wrong || format('%s -> %s', call.command, given);
			END IF;
		END LOOP;
		wrong := wrong || ARRAY(SELECT DISTINCT 'captured: ' || what FROM hostile.captured);
		RAISE EXCEPTION 'undo' USING ERRCODE = 'TEST1';
	EXCEPTION WHEN SQLSTATE 'TEST1' THEN
		NULL;
	END;
	RETURN array_to_string(wrong, '; ');
END $$;
SELECT is(pg_temp.answers(store, path), '', format('store %s under search_path %s', store, replace(path, '$S', store)))
FROM unnest('{shop,watched,shop}'::text[]) store, paths;

SELECT ok(NOT EXISTS (SELECT FROM hostile.event_log) AND NOT EXISTS (SELECT FROM hostile.event_streams)
	AND NOT EXISTS (SELECT FROM pg_temp.event_log) AND NOT EXISTS (SELECT FROM pg_temp.event_streams)
	AND NOT EXISTS (SELECT FROM pg_temp.event_snapshots), 'nothing went into the tables that look like a store''s');
SELECT set_eq('SELECT schema FROM event_store.stores', '{shop,watched}'::text[], 'the list of stores is not taken in by them either');
SELECT is(pg_temp.under('hostile, pg_temp', 'SELECT event_store.current_store()'), NULL, 'without the store on the path there is none');
SELECT is(pg_temp.under('hostile, pg_temp', $$SELECT event_store.append_event('order-1', 'A')$$), 'VE006', 'and no append');
SELECT is(pg_temp.under('pg_temp', $$SELECT event_store.attach_store('hostile')$$), '42501', 'the look-alike cannot be attached by somebody else');

-- a superuser who stands in the trap creates the extension anew; what looks like a store but is none of ours is not run either
CREATE FUNCTION pg_temp.recreate(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := 'done';
BEGIN
	PERFORM pg_catalog.set_config('search_path', path, true);
	BEGIN
		DROP EXTENSION event_store;
		CREATE EXTENSION event_store;
	EXCEPTION WHEN OTHERS THEN
		result := SQLERRM;
	END;
	PERFORM pg_catalog.set_config('search_path', 'public', true);
	RETURN result;
END $$;
DROP TABLE hostile.event_log, hostile.event_streams, hostile.event_mark;
DELETE FROM hostile.captured;
SELECT is(pg_temp.recreate(path), 'done', 'DROP and CREATE EXTENSION under search_path ' || path)
FROM unnest('{"hostile, pg_catalog","pg_temp, hostile, pg_catalog"}'::text[]) path;
SELECT is((SELECT string_agg(DISTINCT what, '; ') FROM hostile.captured), NULL, 'nothing of it was captured');
SELECT is(pg_temp.under('shop', 'SELECT event_store.current_store()'), 'shop', 'the stores are found again');

SELECT * FROM finish();
ROLLBACK;
