-- A hostile tenant: the role of one tenant tries to read and write another's events in every way there is.
-- systems 3.3.7, 3.3.8, 3.3.9
\ir lib/problem.sql
BEGIN;
SELECT no_plan();

CREATE ROLE regress_es_super SUPERUSER;
CREATE ROLE regress_es_victim;
CREATE ROLE regress_es_hostile;
DO $$ BEGIN
	PERFORM event_store.create_tenant('victim');
	PERFORM event_store.create_tenant('hostile');
	PERFORM event_store.grant_tenant('victim', 'regress_es_victim');
	PERFORM event_store.grant_tenant('hostile', 'regress_es_hostile', 'admin');
	PERFORM event_store.tenant_use('victim');
	PERFORM event_store.append_event('order-1', 'Secret', '"of the victim"', event_id => '00000000-0000-4000-8000-000000000001');
	CREATE TABLE note AS SELECT 'secret'::text AS t;
	CREATE VIEW public.notes AS SELECT * FROM note;
	CREATE FUNCTION public.notes() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC SELECT t FROM note; END;
	GRANT SELECT ON public.notes TO PUBLIC;
	CREATE FUNCTION public.apply(state bigint, type text, data jsonb) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN state + 1;
	PERFORM event_store.register_aggregate('order', 'public.apply', '0');
	PERFORM event_store.take_snapshot('order', '1');
	CREATE TABLE public.lines AS SELECT event_store.export_tenant('victim') AS line;
	GRANT SELECT ON public.lines TO PUBLIC;
	PERFORM event_store.tenant_use('hostile');
	PERFORM event_store.append('order-1', '[{"type": "Own", "data": 1}, {"type": "Own", "data": 2}]');
	-- its role may make things in its schema and in public too
	GRANT CREATE ON SCHEMA hostile, public TO regress_es_hostile;
END $$;

-- What the victim has, as a superuser sees it who goes round everything.
CREATE FUNCTION pg_temp.victims() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	all_of_it text;
BEGIN
	PERFORM set_config('event_store.guard', 'off', true);
	SELECT concat((SELECT string_agg(l::text, ',' ORDER BY position) FROM victim.event_log l), (SELECT string_agg(s::text, ',') FROM victim.event_streams s),
		(SELECT string_agg(n::text, ',') FROM victim.note n), (SELECT string_agg(relname || relacl::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace = 'victim'::regnamespace))
	INTO all_of_it;
	PERFORM set_config('event_store.guard', 'enforce', true);
	RETURN all_of_it;
END $$;
CREATE TEMP TABLE before AS SELECT pg_temp.victims() AS v;

-- the same stream, aggregate and snapshot under both
SELECT results_eq($$SELECT * FROM event_store.with_tenant('victim', $q$SELECT event_store.stream_version('order-1'), state::text FROM event_store.rehydrate('order', '1')$q$) AS (v bigint, s text)$$,
	$$VALUES (1::bigint, '1')$$, 'the victim has its own stream and state');
SELECT results_eq($$SELECT event_store.stream_version('order-1'), state::text FROM event_store.rehydrate('order', '1')$$,
	$$VALUES (2::bigint, '2')$$, 'the other tenant has its own of the same names');
SELECT is_empty($$SELECT * FROM event_store.read_all() WHERE type = 'Secret'$$, 'a read of everything has nothing of the victim');
SELECT is_empty($$SELECT * FROM event_store.event('00000000-0000-4000-8000-000000000001')$$, 'nor has a read by id');

-- Each attempt, as the hostile role in its own tenant, with the SQLSTATE of its refusal; 'nothing' may succeed but must show and
-- change nothing of the victim's.
CREATE TEMP TABLE attempt (n serial, command text, state text);
INSERT INTO attempt (command, state) VALUES
	-- naming the victim
	($$SELECT event_store.tenant_use('victim')$$, '42501'),
	($$SELECT event_store.tenant_use_session('victim')$$, '42501'),
	($$SELECT * FROM event_store.with_tenant('victim', 'SELECT 1') AS (n int)$$, '42501'),
	($$SELECT * FROM event_store.with_tenant('victim', 'SELECT $1', 1) AS (n int)$$, '42501'),
	($$SELECT event_store.each_tenant('SELECT * FROM event_store.read_all()')$$, '42501'),
	($$SET LOCAL event_store.tenant = 'victim'; SELECT event_store.read_stream('order-1')$$, '42501'),
	($$SET LOCAL search_path = victim; SELECT 1 / (1 - count(*)) FROM event_store.read_all() WHERE type = 'Secret'$$, 'nothing'),
	($$SET LOCAL search_path = victim, hostile; SELECT 1 / (1 - count(*)) FROM event_store.read_all() WHERE type = 'Secret'$$, 'nothing'),
	($$SET LOCAL event_store.tenant = 'victim'; SET LOCAL search_path = victim, public; SELECT event_store.append_event('order-1', 'X')$$, '42501'),
	($$SET LOCAL event_store.tenant = 'victim'; SET LOCAL search_path = ''; SELECT * FROM victim.event_log$$, '42501'),
	-- settings
	($$SET event_store.guard = off$$, '42501'),
	($$SET event_store.pooler = none$$, '42501'),
	($$SET event_store.tenant_shared_schemas = victim$$, '42501'),
	($$SELECT set_config('event_store.guard', 'off', true)$$, '42501'),
	($$CREATE FUNCTION lift() RETURNS int LANGUAGE sql SET event_store.guard = off AS 'SELECT 1'; SELECT lift()$$, '42501'),
	($$SET search_path = ''; SELECT * FROM victim.event_log$$, '42501'),
	($$SET search_path = 'pg_catalog, pg_temp'; SELECT * FROM victim.note$$, '42501'),
	-- the life of a tenant
	($$SELECT event_store.suspend_tenant('victim')$$, '42501'),
	($$SELECT event_store.resume_tenant('victim')$$, '42501'),
	($$SELECT event_store.rename_tenant('victim', 'mine')$$, '42501'),
	($$SELECT event_store.drop_tenant('victim', 'victim')$$, '42501'),
	($$SELECT event_store.grant_tenant('victim', 'regress_es_hostile', 'admin')$$, '42501'),
	($$SELECT event_store.revoke_tenant('victim', 'regress_es_victim')$$, '42501'),
	($$SELECT event_store.attach_tenant('victim', 'mine')$$, '42501'),
	($$SELECT event_store.create_tenant('victim2')$$, '42501'),
	($$SELECT * FROM event_store.tenants$$, '42501'),
	($$SELECT * FROM event_store.tenant_registry$$, '42501'),
	($$UPDATE event_store.tenant_registry SET schema_oid = 'victim'::regnamespace WHERE tenant_name = 'hostile'$$, '42501'),
	-- what it may use, and taking it away
	($$SELECT event_store.set_tenant_limit('victim', 'streams', 1)$$, '42501'),
	($$SELECT event_store.set_tenant_limit('hostile', 'streams', 1000000)$$, '42501'),
	($$SELECT event_store.clear_tenant_limit('hostile')$$, '42501'),
	($$SELECT event_store.tenant_usage('victim')$$, '42501'),
	($$SELECT * FROM event_store.tenant_limits$$, '42501'),
	($$DELETE FROM event_store.tenant_limit$$, '42501'),
	($$SELECT event_store.export_tenant('victim')$$, '42501'),
	($$SELECT event_store.tenant_checksums('victim')$$, '42501'),
	($$SELECT event_store.import_tenant('victim', 'public.lines')$$, '42501'),
	($$SELECT event_store.import_tenant('mine', 'public.lines')$$, 'VE021'),
	-- what is kept for all stores, or told of them
	($$SELECT * FROM event_store.store_registry r, event_store.attach_tenant('victim', 'mine') WHERE r.store_number > 0$$, '42501'),
	($$DELETE FROM event_store.store_registry$$, '42501'),
	($$SELECT * FROM event_store.import_progress$$, '42501'),
	($$SELECT * FROM event_store.counters$$, '42501'),
	($$SELECT event_store.prometheus()$$, '42501'),
	($$SELECT event_store.problem_log()$$, '42501'),
	($$SELECT 1 / (1 - count(*)) FROM event_store.imports WHERE schema = 'victim'$$, 'nothing'),
	-- every reader and writer that takes a name of the other's things
	($$SELECT 1 / (1 - count(*)) FROM event_store.read_by_type('{Secret}')$$, 'nothing'),
	($$SELECT 1 / (1 - count(*)) FROM event_store.read_category('order') WHERE type = 'Secret'$$, 'nothing'),
	($$SELECT event_store.link_event('links', '00000000-0000-4000-8000-000000000001')$$, '42704'),
	($$SELECT event_store.append_event('order-1', 'X', event_id => '00000000-0000-4000-8000-000000000001')$$, 'nothing'),
	($$CALL event_store.import_events('victim.note', 'x')$$, '42501'),
	($$SELECT 1 / (CASE WHEN event_store.try('SELECT * FROM victim.note') ? 'ok' THEN 0 ELSE 1 END)$$, 'nothing'),
	-- prepared and left, then used again
	($$PREPARE all_secrets AS SELECT 1 / (1 - count(*)) FROM event_store.read_all() WHERE type = 'Secret'; SET LOCAL search_path = victim, public; EXECUTE all_secrets$$, 'nothing'),
	($$PREPARE a_note AS SELECT t FROM note$$, '42P01'),
	($$SET LOCAL search_path = victim; SELECT * FROM note$$, '42P01'),
	($$SELECT 'victim.note'::regclass$$, '42501'),
	($$SELECT nextval('victim.event_position')$$, '42501'),
	($$SELECT setval('victim.event_position', 1)$$, '42501'),
	($$GRANT SELECT ON victim.note TO PUBLIC$$, '42501'),
	($$COMMENT ON TABLE victim.note IS 'x'$$, '42501'),
	($$ANALYZE victim.note; SELECT 1 / (SELECT count(*) FROM pg_stats WHERE schemaname = 'victim')$$, '42501'),
	-- whole stores
	($$SELECT event_store.verify_store('victim')$$, '42501'),
	($$SELECT event_store.drop_store('victim', 'victim')$$, '42501'),
	($$SELECT event_store.grant_store('victim', 'regress_es_hostile', 'reader')$$, '42501'),
	($$SELECT event_store.revoke_store('victim', 'regress_es_victim')$$, '42501'),
	($$SELECT event_store.attach_store('victim')$$, '42501'),
	($$SELECT event_store.in_flight()$$, '42501'),
	-- plain SQL on its tables
	($$SELECT * FROM victim.event_log$$, '42501'),
	($$SELECT * FROM victim.note$$, '42501'),
	($$INSERT INTO victim.note VALUES ('x')$$, '42501'),
	($$UPDATE victim.note SET t = 'x'$$, '42501'),
	($$DELETE FROM victim.note$$, '42501'),
	($$TRUNCATE victim.note$$, '42501'),
	($$LOCK TABLE victim.note$$, '42501'),
	($$ALTER TABLE victim.note RENAME TO x$$, '42501'),
	($$DROP TABLE victim.note$$, '42501'),
	($$DROP SCHEMA victim CASCADE$$, '42501'),
	($$ALTER SCHEMA victim RENAME TO mine$$, '42501'),
	($$ALTER SCHEMA hostile RENAME TO mine$$, '42501'),
	($$CREATE TABLE copy AS SELECT * FROM victim.note$$, '42501'),
	($$CREATE TABLE child () INHERITS (victim.note)$$, '42501'),
	($$CREATE TABLE child (n bigint REFERENCES victim.event_log (position))$$, '42501'),
	($$CREATE TABLE victim.mine ()$$, '42501'),
	($$PREPARE p AS SELECT * FROM victim.note$$, '42501'),
	($$DECLARE c CURSOR FOR SELECT * FROM victim.note$$, '42501'),
	-- doors that the victim's owner has left open: a view, a function with its owner's rights
	($$SELECT * FROM public.notes$$, '42501'),
	($$SELECT public.notes()$$, '42501'),
	($$CREATE VIEW again AS SELECT * FROM public.notes; SELECT * FROM again$$, '42501'),
	($$CREATE MATERIALIZED VIEW again AS SELECT * FROM public.notes$$, '42501'),
	($$CREATE RULE r AS ON INSERT TO own DO ALSO SELECT * FROM public.notes; INSERT INTO own VALUES (1)$$, '42501'),
	-- things of the same names, for the victim or the extension to stumble over
	($$CREATE TABLE public.note (t text); CREATE TEMP TABLE event_log (LIKE hostile.event_log); SELECT event_store.append_event('order-1', 'X')$$, 'nothing'),
	($$CREATE FUNCTION public.append_event(text, text) RETURNS int LANGUAGE sql RETURN 1; SELECT append_event('order-1', 'X')$$, 'nothing'),
	($$CREATE FUNCTION event_store.append_event(text, text) RETURNS int LANGUAGE sql RETURN 1$$, '42501'),
	($$CREATE CAST (text AS event_store.expected_version) WITHOUT FUNCTION$$, '42501'),
	($$CREATE OPERATOR event_store.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)$$, '42501'),
	-- a store that says it is the victim's
	($$UPDATE hostile.event_mark SET store_number = event_store.store_number('victim'::regnamespace)$$, '42501');
CREATE TABLE hostile.own (i int);
GRANT ALL ON hostile.own TO regress_es_hostile;
ALTER TABLE hostile.own OWNER TO regress_es_hostile;

SELECT CASE WHEN state = 'nothing'
	THEN is(pg_temp.state_as('regress_es_hostile', command), '00000', format('gets nothing: %s', command))
	ELSE is(pg_temp.state_as('regress_es_hostile', command), state, format('refused: %s', command)) END
FROM attempt ORDER BY n;
SELECT is(pg_temp.victims(), v, 'nothing of the victim has changed') FROM before;

-- owners and superusers are kept from mistakes: tenancy 1.5.1
SELECT is(pg_temp.state_as('regress_es_super', command), state, format('as superuser: %s', command))
FROM (VALUES
	($$SELECT * FROM victim.note$$, '42501'),
	($$SELECT * FROM public.notes$$, '42501'),
	($$SELECT public.notes()$$, '42501'),
	($$INSERT INTO victim.note VALUES ('x')$$, '42501'),
	($$COPY victim.note TO '/dev/null'$$, '42501'),
	($$TRUNCATE victim.note$$, '42501'),
	($$ALTER TABLE victim.event_log DISABLE TRIGGER ALL$$, '42501'),
	($$SET LOCAL event_store.tenant = 'victim'; SELECT * FROM victim.note$$, 'VE025'),
	($$SET LOCAL search_path = public; SELECT * FROM victim.note$$, '42501'),
	($$SELECT event_store.tenant_use('victim'); SELECT * FROM victim.note; SELECT public.notes(); INSERT INTO note VALUES ('x')$$, '00000'),
	($$SET LOCAL event_store.guard = off; SELECT * FROM victim.note$$, '00000'),
	($$SET LOCAL event_store.guard = warn; SELECT * FROM victim.note$$, '00000'),
	($$SELECT event_store.tenant_use('victim'); PREPARE p AS SELECT * FROM note; SELECT event_store.tenant_use('hostile'); EXECUTE p$$, '42P01')) v (command, state);

-- a tenant that its role may no longer use
SELECT event_store.revoke_tenant('hostile', 'regress_es_hostile');
SELECT is(pg_temp.state_as('regress_es_hostile', $$SELECT event_store.read_all()$$), '42501', 'after revoke_tenant its role reads nothing of its own');
SELECT is(pg_temp.state_as('regress_es_hostile', $$SELECT * FROM hostile.event_log$$), '42501', 'nor by plain SQL');

SELECT * FROM finish();
ROLLBACK;
