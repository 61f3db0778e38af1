/* tenants from templates and from the pool, dropped ones that can be restored, hosts */
\set VERBOSITY terse
SET search_path = public;

-- an application's schema with about everything it may have
CREATE ROLE regress_es_app;
SELECT event_store.create_tenant('model', '{"of": "all"}');
SELECT event_store.tenant_use_session('model');
CREATE FUNCTION public.twice(i int) RETURNS int IMMUTABLE LANGUAGE sql RETURN 2 * i;
CREATE TYPE mood AS ENUM ('glad', 'it''s so', 'sad');
CREATE DOMAIN positive AS int DEFAULT 1 CONSTRAINT is_positive CHECK (VALUE > 0);
CREATE TYPE place AS (street text COLLATE "C", feeling mood, number positive);
CREATE SEQUENCE ticket START 100 INCREMENT 10;
CREATE FUNCTION lower(t text) RETURNS text IMMUTABLE LANGUAGE sql RETURN 'low ' || pg_catalog.lower(t);
CREATE TABLE customer (
	id bigint GENERATED ALWAYS AS IDENTITY (START 7) PRIMARY KEY,
	"Na me" text COLLATE "C" NOT NULL DEFAULT model.lower('X'),
	feeling mood DEFAULT 'sad',
	at place,
	size positive,
	dropped int,
	doubled int GENERATED ALWAYS AS (public.twice(size)) STORED,
	low text GENERATED ALWAYS AS (model.lower("Na me")) STORED,
	CONSTRAINT name_there CHECK (length("Na me") > 0)
) WITH (fillfactor = 70);
ALTER TABLE customer DROP COLUMN dropped;
CREATE UNIQUE INDEX customer_name ON customer (model.lower("Na me")) WHERE size > 1;
CREATE TABLE orders (
	id serial PRIMARY KEY,
	ticket bigint DEFAULT nextval('ticket'),
	customer bigint REFERENCES customer ON DELETE CASCADE DEFERRABLE,
	parent int REFERENCES orders,
	during tstzrange,
	EXCLUDE USING gist (during WITH &&)
);
CREATE UNLOGGED TABLE scratch (i int, UNIQUE NULLS NOT DISTINCT (i));
CREATE VIEW glad WITH (security_barrier) AS SELECT c.id, c."Na me" AS name, (c.at).number FROM customer c WHERE feeling = 'glad';
CREATE FUNCTION order_count(c customer) RETURNS bigint STABLE LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM orders o WHERE o.customer = c.id; END;
CREATE OR REPLACE VIEW glad WITH (security_barrier) AS SELECT c.id, c."Na me" AS name, (c.at).number, c.order_count FROM customer c WHERE feeling = 'glad';
CREATE MATERIALIZED VIEW totals AS SELECT customer, count(*) FROM orders GROUP BY 1;
CREATE UNIQUE INDEX ON totals (customer);
CREATE PROCEDURE add_order(c bigint) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO orders (customer) VALUES (c); END $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.during := 'empty'; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.during IS NULL) EXECUTE FUNCTION stamp();
CREATE TRIGGER never BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE orders DISABLE TRIGGER never;
CREATE RULE no_delete AS ON DELETE TO customer WHERE old.feeling = 'glad' DO INSTEAD NOTHING;
ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON customer FOR SELECT TO regress_es_app USING ("Na me" = model.lower(current_user) OR size > 0);
CREATE STATISTICS customer_stats (dependencies) ON feeling, size FROM customer;
COMMENT ON TABLE customer IS 'who buys; isn''t it';
COMMENT ON COLUMN customer."Na me" IS 'what they are called';
COMMENT ON FUNCTION order_count(customer) IS 'how much they buy';
REVOKE ALL ON FUNCTION model.lower(text) FROM PUBLIC;
GRANT SELECT, INSERT ON customer TO regress_es_app WITH GRANT OPTION;
GRANT UPDATE (size) ON customer TO regress_es_app;
GRANT EXECUTE ON FUNCTION model.lower(text) TO regress_es_app;
GRANT USAGE ON SCHEMA model TO regress_es_app;
ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey;
CREATE TRIGGER seen AFTER INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE event_log DISABLE TRIGGER seen;
CALL event_store.add_index('type');
INSERT INTO customer ("Na me", feeling, at, size) VALUES ('Ann', 'glad', ('Long Street', 'sad', 3), 2), ('Bob', 'it''s so', NULL, NULL);
CALL add_order(7);
CALL add_order(7);
REFRESH MATERIALIZED VIEW totals;
SELECT last_position FROM event_store.append('order-1', '[{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}, {"type": "B", "data": 2}]');
SELECT last_position FROM event_store.append_event('order-2', 'C');
SELECT event_store.delete_stream('order-2');
SET event_store.tenant = '';
SET search_path = public;

-- with its rows
SELECT event_store.clone_tenant('model', 'copy');
-- without
SELECT event_store.create_tenant('bare', template => 'model');
SELECT name, state, attributes FROM event_store.tenants ORDER BY name;
-- what they hold is the same, but for the names of the store's own index
CREATE FUNCTION pg_temp.definition(tenant text) RETURNS TABLE (phase int, object text, statement text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', format('%I, pg_catalog', tenant), true);
	RETURN QUERY SELECT d.phase, d.object, replace(d.statement, tenant, '%') FROM event_store.schema_definition d
		WHERE d.schema_oid = event_store.tenant_schema(tenant) AND d.phase NOT IN (10, 11, 32);
END $$;
SELECT 'missing', m.* FROM (SELECT * FROM pg_temp.definition('model') EXCEPT SELECT * FROM pg_temp.definition('copy')) m WHERE phase < 30
UNION ALL SELECT 'more', m.* FROM (SELECT * FROM pg_temp.definition('copy') EXCEPT SELECT * FROM pg_temp.definition('model')) m WHERE phase < 30
UNION ALL SELECT 'missing', m.* FROM (SELECT * FROM pg_temp.definition('model') EXCEPT SELECT * FROM pg_temp.definition('bare')) m WHERE phase < 30;
SELECT phase, count(*) FROM pg_temp.definition('copy') GROUP BY phase ORDER BY phase;
SELECT * FROM event_store.with_tenant('copy', 'SELECT id, name, number::int, order_count FROM glad') AS (id bigint, name text, number int, orders bigint);
SELECT * FROM event_store.with_tenant('copy', 'SELECT id, ticket, customer, during FROM orders') AS (id int, ticket bigint, customer bigint, during tstzrange);
SELECT * FROM event_store.with_tenant('copy', 'SELECT * FROM totals') AS (customer bigint, n bigint);
SELECT * FROM event_store.with_tenant('copy', $$SELECT position, stream, version, type, event_id = '00000000-0000-4000-8000-000000000001' FROM event_store.read_all()$$) AS (p bigint, s text, v bigint, t text, given bool);
SELECT count(DISTINCT ids) FROM unnest('{model,copy}'::text[]) t, LATERAL event_store.with_tenant(t, 'SELECT string_agg(event_id::text, '','' ORDER BY position) FROM event_log') AS (ids text);
SELECT * FROM event_store.with_tenant('copy', $$SELECT event_store.stream_version('order-1'), event_store.head()$$) AS (v bigint, h bigint);
SELECT * FROM event_store.tenant_differences('copy', 'model');
BEGIN;
SELECT event_store.tenant_use('copy');
ALTER TABLE orders ADD COLUMN more int, ALTER COLUMN ticket DROP DEFAULT;
CREATE TABLE by_hand (i int);
DROP VIEW glad;
SELECT object, expected IS NOT NULL AS expected, found IS NOT NULL AS found FROM event_store.tenant_differences('copy', 'model');
SHOW search_path;
ROLLBACK;
SELECT event_store.tenant_differences('copy', 'nobody');
SELECT event_store.tenant_differences(NULL, 'model');
SELECT event_store.tenant_differences('copy', NULL);
-- sequences go on where they were
SELECT * FROM event_store.with_tenant('copy', $$INSERT INTO customer ("Na me", size) VALUES ('Cid', 5) RETURNING id$$) AS (id bigint);
SELECT * FROM event_store.with_tenant('copy', $$INSERT INTO orders (customer) VALUES (9) RETURNING id, ticket$$) AS (id int, ticket bigint);
SELECT * FROM event_store.with_tenant('bare', $$INSERT INTO customer ("Na me", size) VALUES ('Cid', 5) RETURNING id$$) AS (id bigint);
SELECT * FROM event_store.with_tenant('bare', 'SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM event_store.read_all()') AS (n bigint);
-- both stores go on, and are sound
SELECT * FROM event_store.with_tenant('copy', $$SELECT last_version, last_position > 3 FROM event_store.append_event('order-1', 'D', expected => 2)$$) AS (v bigint, p bool);
SELECT * FROM event_store.with_tenant('copy', $$SELECT last_version FROM event_store.append_event('order-1', 'D', event_id => '00000000-0000-4000-8000-000000000001')$$) AS (v bigint);
SELECT * FROM event_store.with_tenant('bare', $$SELECT last_version, last_position FROM event_store.append_event('order-1', 'D', event_id => '00000000-0000-4000-8000-000000000001')$$) AS (v bigint, p bigint);
SELECT * FROM event_store.with_tenant('model', $$SELECT last_version FROM event_store.append_event('order-1', 'E', expected => 2)$$) AS (v bigint);
SELECT t, v.* FROM unnest('{model,copy,bare}'::text[]) t, LATERAL event_store.with_tenant(t, format('SELECT v::text FROM event_store.verify_store(%L) v WHERE violations > 0', t)) AS v(v text);
-- nothing of one is the other's: dropping the model harms nobody, and rights are given only if one says so
SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'copy' AND grantee = 'regress_es_app'::regrole;
SELECT event_store.clone_tenant('model', 'granted', with_data => false, with_grants => true);
SELECT * FROM pg_temp.definition('model') WHERE phase >= 30 EXCEPT SELECT * FROM pg_temp.definition('granted');
SELECT has_schema_privilege('regress_es_app', 'granted', 'USAGE'), has_column_privilege('regress_es_app', 'granted.customer', 'size', 'UPDATE'),
	has_function_privilege('public', 'granted.lower(text)', 'EXECUTE'), has_function_privilege('public', 'bare.lower(text)', 'EXECUTE');
SELECT event_store.drop_tenant('model', 'model');
SELECT * FROM event_store.with_tenant('copy', 'SELECT name, orders.* FROM glad, LATERAL (SELECT count(*) FROM orders) orders') AS (name text, n bigint);
SELECT event_store.drop_tenant(t, t) FROM unnest('{copy,bare,granted}'::text[]) t;

-- what cannot be cloned says so, and leaves nothing
SELECT event_store.create_tenant('odd');
CREATE FUNCTION pg_temp.refused(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('event_store.guard', 'off', true);
	EXECUTE command;
	PERFORM event_store.clone_tenant('odd', 'odd2');
	RAISE 'cloned';
EXCEPTION WHEN OTHERS THEN
	PERFORM set_config('event_store.guard', 'enforce', true);
	RETURN sqlstate || ' ' || sqlerrm || ' ' || (SELECT count(*) FROM event_store.tenant_residue('odd2'));
END $$;
SELECT pg_temp.refused(c) FROM unnest(ARRAY[
	'CREATE TABLE odd.parts (i int) PARTITION BY LIST (i)',
	'CREATE TABLE odd.parent (i int); CREATE TABLE odd.child () INHERITS (odd.parent)',
	'CREATE AGGREGATE odd.total (int) (SFUNC = int4pl, STYPE = int)',
	'CREATE TYPE odd.span AS RANGE (SUBTYPE = int)',
	'CREATE OPERATOR odd.## (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)',
	'CREATE FUNCTION odd.f() RETURNS int LANGUAGE sql SET search_path = odd, public AS ''SELECT 1''',
	'CREATE COLLATION odd.c FROM "C"',
	-- made when a name in it still means what it means to the server
	'CREATE FUNCTION odd.f(t text) RETURNS text LANGUAGE sql RETURN upper(t); CREATE FUNCTION odd.upper(t text) RETURNS text LANGUAGE sql RETURN t;
		CREATE OR REPLACE FUNCTION odd.f(t text) RETURNS text LANGUAGE sql RETURN odd.upper(t)']) c;
SELECT pg_temp.refused('CREATE TABLE odd.fine (i int)');
SELECT event_store.clone_tenant('nobody', 'x');
SELECT event_store.clone_tenant('odd', 'odd');
SELECT event_store.clone_tenant('odd', 'Bad');
SELECT event_store.clone_tenant(NULL, 'x');
SELECT event_store.clone_tenant('odd', NULL);
SELECT event_store.clone_tenant('odd', 'x', with_data => NULL);
SELECT event_store.create_tenant('x', template => 'nobody');
SET ROLE regress_es_app;
SELECT event_store.clone_tenant('odd', 'x');
RESET ROLE;
-- a template that is any schema; that of another role belongs to that role
CREATE SCHEMA plain AUTHORIZATION regress_es_app;
CREATE TABLE plain.t (i int DEFAULT 3);
ALTER TABLE plain.t OWNER TO regress_es_app;
-- ... and so does the code in it
CREATE FUNCTION plain.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'as %', current_user; RETURN true; END $$;
ALTER FUNCTION plain.who() OWNER TO regress_es_app;
SET ROLE regress_es_app;
INSERT INTO plain.t VALUES (1);
ALTER TABLE plain.t ADD CHECK (plain.who());
RESET ROLE;
SELECT event_store.clone_tenant('plain', 'x');
SELECT n.nspname, nspowner::regrole, relowner::regrole FROM pg_namespace n, pg_class c WHERE nspname = 'x' AND relnamespace = n.oid AND relname IN ('t', 'event_log') ORDER BY relname;
SELECT current_user = session_user AS still_me;
SELECT event_store.drop_tenant('x', 'x');
DROP SCHEMA plain CASCADE;
DROP FUNCTION public.twice(int);

-- the migrations of the template are those of the clone
SELECT event_store.register_migration(1, 'first', 'CREATE TABLE first (i int)') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('odd');
SELECT event_store.register_migration(2, 'second', 'CREATE TABLE second (i int)') IS NOT NULL AS registered;
SELECT event_store.create_tenant('x', template => 'odd');
SELECT tenant, version, pending FROM event_store.tenant_versions ORDER BY tenant;
SELECT * FROM event_store.with_tenant('x', 'SELECT count(*) FROM first, second') AS (n bigint);
SELECT event_store.drop_tenant('x', 'x');

-- the pool
CALL event_store.fill_tenant_pool(2);
CALL event_store.fill_tenant_pool(1, 'odd');
CALL event_store.fill_tenant_pool(-1);
CALL event_store.fill_tenant_pool(NULL);
CALL event_store.fill_tenant_pool(1, 'nobody');
SELECT template, with_data, count(*) FROM event_store.tenant_pool GROUP BY 1, 2 ORDER BY 1;
SELECT schema::regnamespace::oid AS ready FROM event_store.tenant_pool WHERE template IS NULL ORDER BY created_at LIMIT 1 \gset
SELECT event_store.register_migration(3, 'third', 'CREATE TABLE third (i int)') IS NOT NULL AS registered;
SELECT event_store.create_tenant('p1', '{"from": "pool"}');
SELECT event_store.tenant_schema('p1') = :ready AS was_ready;
SELECT event_store.create_tenant('p2', template => 'odd');
SELECT event_store.create_tenant('p3', template => 'odd');
SELECT name, schema, state, attributes FROM event_store.tenants ORDER BY name;
SELECT template, count(*) FROM event_store.tenant_pool GROUP BY 1;
SELECT tenant, version, pending, drifted FROM event_store.tenant_versions ORDER BY tenant;
SELECT t, e.* FROM unnest('{p1,p2,p3}'::text[]) t, LATERAL event_store.with_tenant(t, $$SELECT last_position FROM event_store.append_event('s', 'T')$$) AS e(p bigint);
-- whoever rolls back gives it back
BEGIN;
SELECT event_store.create_tenant('p4');
SELECT count(*) FROM event_store.tenant_pool;
ROLLBACK;
SELECT count(*) FROM event_store.tenant_pool;
-- it belongs to who filled it
DO $$ BEGIN
	EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_es_app', current_database());
END $$;
SET ROLE regress_es_app;
SELECT event_store.create_tenant('p4');
RESET ROLE;
SELECT owner = 'regress_es_app' FROM event_store.tenants WHERE name = 'p4';
-- an owner who is no superuser clones too
SELECT * FROM event_store.with_tenant('p4', $$SELECT last_position FROM event_store.append_event('s', 'T')$$) AS (p bigint);
SET ROLE regress_es_app;
SELECT event_store.clone_tenant('p4', 'p5');
RESET ROLE;
SELECT * FROM event_store.with_tenant('p5', 'SELECT count(*), count(third.i) FROM event_store.read_all() LEFT JOIN third ON true') AS (n bigint, m bigint);
SELECT event_store.drop_tenant('p5', 'p5');
SELECT count(*) FROM event_store.tenant_pool;
CALL event_store.fill_tenant_pool(0);
SELECT count(*) FROM event_store.tenant_pool;
SELECT nspname FROM pg_namespace WHERE nspname ~ 'pool';
-- a task keeps it at a size (test/t/098_upkeep.pl lets it work)
SELECT event_store.keep_tenant_pool(3);
SELECT event_store.keep_tenant_pool(2, 'p1', true);
SELECT event_store.keep_tenant_pool(4);
SELECT event_store.keep_tenant_pool(0, 'p2');
SELECT replace(k.name, quote_ident(current_user), 'me') AS name, k.owner = current_user::regrole AS mine, t.size, t.template, t.with_data
FROM event_store.tenant_pool_target t JOIN event_store.tasks k ON k.kind = 'pool' AND k.name ~ 'p1' = (t.template IS NOT NULL) ORDER BY t.size;
SELECT event_store.keep_tenant_pool(-1);
SELECT event_store.keep_tenant_pool(NULL);
SELECT event_store.keep_tenant_pool(1, 'nobody');
SET ROLE regress_es_app;
SELECT event_store.keep_tenant_pool(1, 'p1');
RESET ROLE;
SELECT count(*) FROM event_store.tenant_migrated WHERE tenant ~ 'pool';

-- dropped, and kept for a while: systems 3.3.12
SELECT event_store.drop_tenant('p1', 'P1', keep => '1 day');
SELECT event_store.drop_tenant('p1', 'p1', keep => '-1 day');
SELECT event_store.drop_tenant('p1', 'p1', keep => '1 day');
SELECT event_store.drop_tenant('p1', 'p1', keep => '1 day');
SELECT name, state, purge_after > now() AS later FROM event_store.tenants WHERE name = 'p1';
SELECT name, owner = current_user::regrole AS mine FROM event_store.tasks WHERE kind = 'purge';
SELECT event_store.tenant_use('p1');
SELECT * FROM event_store.with_tenant('p1', 'SELECT 1') AS (n int);
SET event_store.tenant = 'p1';
SELECT event_store.read_all();
SELECT * FROM p1.event_log;
RESET event_store.tenant;
SELECT event_store.resume_tenant('p1');
SELECT event_store.suspend_tenant('p1');
SELECT event_store.create_tenant('p1');
SELECT event_store.clone_tenant('p1', 'p5');
CALL event_store.purge_tenants();
SELECT event_store.restore_tenant('p1');
SELECT name, state, purge_after FROM event_store.tenants WHERE name = 'p1';
SELECT name FROM event_store.tasks WHERE kind = 'purge';
SELECT * FROM event_store.with_tenant('p1', 'SELECT type FROM event_store.read_all()') AS (t text);
SELECT event_store.restore_tenant('p1');
CALL event_store.purge_tenants('p1');
CALL event_store.purge_tenants(max_relations => 0);
-- purged when its time has come, or when one says so
SELECT event_store.drop_tenant('p1', 'p1', keep => '0');
SELECT event_store.drop_tenant('p2', 'p2', keep => '1 day');
SELECT event_store.drop_tenant('p3', 'p3', keep => '1 day');
CALL event_store.purge_tenants(max_relations => 1);
SELECT * FROM event_store.tenant_residue('p1');
CALL event_store.purge_tenants('p2');
SELECT * FROM event_store.tenant_residue('p2');
SELECT event_store.drop_tenant('p3', 'p3');
SELECT * FROM event_store.tenant_residue('p3');
CALL event_store.purge_tenants('p3');
SELECT name FROM event_store.tasks WHERE kind = 'purge';
-- interrupted in the middle it can only be finished
SELECT event_store.create_tenant('half');
SELECT event_store.add_tenant_domain('half', 'half.example');
SELECT event_store.drop_tenant('half', 'half', keep => '0');
UPDATE event_store.tenant_registry SET state = 'purging' WHERE tenant_name = 'half';
SET event_store.guard = off;
DROP TABLE half.event_log;
RESET event_store.guard;
SELECT event_store.restore_tenant('half');
SELECT name, state FROM event_store.tenants WHERE name = 'half';
SELECT kind FROM event_store.tenant_residue('half') WHERE kind NOT IN ('store', 'migration');
SET ROLE regress_es_app;
CALL event_store.purge_tenants();
CALL event_store.purge_tenants('half');
SELECT event_store.restore_tenant('half');
RESET ROLE;
CALL event_store.purge_tenants();
SELECT * FROM event_store.tenant_residue('half');

-- tenancy 1.5.6: many, and a huge one, never need more than 100 locks at once
SELECT event_store.create_tenant(format('m%s', i)) FROM generate_series(1, 30) i;
SELECT event_store.tenant_use_session('m1');
DO $$ BEGIN
	FOR i IN 1..60 LOOP
		EXECUTE format('CREATE TABLE t%s (i int PRIMARY KEY, t text UNIQUE, d date UNIQUE)', i);
	END LOOP;
END $$;
RESET event_store.tenant;
SET search_path = public;
SELECT count(event_store.drop_tenant(name, name, keep => '0')) FROM event_store.tenants WHERE name ~ '^m';
CREATE TABLE public.locks (n bigint);
CREATE FUNCTION public.count_locks() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.locks SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid(); END $$;
CREATE EVENT TRIGGER count_locks ON sql_drop EXECUTE FUNCTION public.count_locks();
CALL event_store.purge_tenants();
DROP EVENT TRIGGER count_locks;
SELECT count(*) > 90 AS counted, max(n) <= 100 AS few FROM public.locks;
DROP TABLE public.locks;
DROP FUNCTION public.count_locks();
SELECT r.* FROM generate_series(1, 30) i, event_store.tenant_residue(format('m%s', i)) r;

-- systems 3.3.14: what is counted is tagged by tenant, and goes with its name
SELECT event_store.create_tenant('counted');
CREATE FUNCTION pg_temp.counted() RETURNS TABLE (tenant text, appended bigint) LANGUAGE sql
AS $$SELECT tags ->> 'store', value FROM event_store.counters WHERE name = 'event_store_events_appended' AND tags ->> 'store' ~ '^counted'$$;
SELECT * FROM event_store.with_tenant('counted', $$SELECT last_version FROM event_store.append_event('s', 'T')$$) AS (v bigint);
SELECT * FROM pg_temp.counted();
SELECT event_store.rename_tenant('counted', 'counted2');
SELECT * FROM event_store.with_tenant('counted2', $$SELECT last_version FROM event_store.append_event('s', 'T')$$) AS (v bigint);
SELECT * FROM pg_temp.counted();
SELECT event_store.drop_tenant('counted2', 'counted2', keep => '0');
CALL event_store.purge_tenants();
SELECT * FROM pg_temp.counted();

-- hosts
SELECT event_store.create_tenant('acme');
SELECT event_store.create_tenant('beta');
SELECT event_store.add_tenant_domain('acme', 'WWW.Acme.Example:8080');
SELECT event_store.add_tenant_domain('acme', 'shop.acme.example.');
SELECT event_store.add_tenant_domain('acme', 'acme.example');
SELECT event_store.add_tenant_domain('beta', 'beta.example');
SELECT event_store.add_tenant_domain('beta', 'acme.example');
SELECT event_store.add_tenant_domain('beta', 'www.acme.example:1');
SELECT event_store.add_tenant_domain('beta', '');
SELECT event_store.add_tenant_domain('beta', 'www.');
SELECT event_store.add_tenant_domain('beta', 'a;b');
SELECT event_store.add_tenant_domain('beta', 'a:b');
SELECT event_store.add_tenant_domain('beta', 'a b');
SELECT event_store.add_tenant_domain('beta', 'a..b');
SELECT event_store.add_tenant_domain('beta', '[::1]:80');
SELECT event_store.add_tenant_domain('beta', repeat('x', 254));
SELECT event_store.add_tenant_domain('beta', NULL);
SELECT event_store.add_tenant_domain('nobody', 'x.example');
SELECT * FROM event_store.tenant_domain ORDER BY host;
SELECT event_store.add_tenant_domain('acme', 'shop.acme.example', is_primary => true);
SELECT * FROM event_store.tenant_domain ORDER BY host;
SELECT h, event_store.tenant_for_host(h) FROM unnest(ARRAY['acme.example', 'ACME.example:443', 'www.acme.example.', 'wwwacme.example', 'x.acme.example', 'shop.acme.example', 'beta.example', '', 'a b', '[::1]:80']) h;
SELECT event_store.tenant_for_host(NULL);
SET ROLE regress_es_app;
SELECT event_store.tenant_for_host('beta.example');
SELECT event_store.add_tenant_domain('acme', 'evil.example');
SELECT event_store.remove_tenant_domain('acme.example');
SELECT * FROM event_store.tenant_domain;
RESET ROLE;
SELECT event_store.rename_tenant('acme', 'acme2');
SELECT event_store.tenant_for_host('shop.acme.example');
SELECT event_store.remove_tenant_domain('WWW.acme.example');
SELECT event_store.remove_tenant_domain('acme.example');
SELECT event_store.drop_tenant('acme2', 'acme2');
SELECT event_store.tenant_for_host('shop.acme.example');

-- a clone is made as the owner of the schema, who does not run what others have put into it
SELECT event_store.create_tenant('shared');
GRANT USAGE, CREATE ON SCHEMA shared TO regress_es_app;
SET event_store.tenant = 'shared';
SET ROLE regress_es_app;
CREATE FUNCTION shared.who() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'runs as %', current_user; RETURN current_user; END $$;
CREATE MATERIALIZED VIEW shared.seen AS SELECT shared.who() WITH NO DATA;
CREATE TABLE shared.theirs (i int);
RESET ROLE;
RESET event_store.tenant;
SELECT object FROM event_store.schema_definition WHERE phase = 0 AND schema_oid = 'shared'::regnamespace ORDER BY object;
SELECT event_store.clone_tenant('shared', 'shared2');
SET event_store.guard = off;
ALTER TABLE shared.theirs OWNER TO CURRENT_USER;
DROP FUNCTION shared.who CASCADE;
RESET event_store.guard;
SELECT event_store.clone_tenant('shared', 'shared2');

-- tags and subscriptions are cloned, and guarded like the originals
SELECT event_store.tenant_use_session('shared');
SELECT event_store.enable_tags();
SELECT last_position FROM event_store.append_event('tagged-1', 'T', metadata => '{"tags": ["x"]}');
SELECT event_store.create_subscription('readers');
RESET event_store.tenant; SET search_path = public;
SELECT * FROM event_store.tenant_differences('shared2', 'shared');
SELECT event_store.clone_tenant('shared', 'shared3');
SELECT c.relname, count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'shared3'::regnamespace AND t.tgfoid = 'event_store.guard_store_table()'::regprocedure GROUP BY 1 ORDER BY 1;
SELECT event_store.tenant_use_session('shared3');
SELECT last_position > 1 AS goes_on FROM event_store.append_event('tagged-2', 'T', metadata => '{"tags": ["x"]}');
SELECT tag, count(*) FROM event_tags GROUP BY tag;
DELETE FROM event_tags;
DELETE FROM event_subscriptions;
SELECT v.* FROM event_store.verify_store() v WHERE v.violations > 0;
RESET event_store.tenant; SET search_path = public;

-- the schema of a tenant that is called otherwise is that tenant
SELECT event_store.register_migration(200, 'm', 'CREATE TABLE m200 (i int)') IS NOT NULL AS registered;
SELECT event_store.create_store('old_shop');
SELECT event_store.attach_tenant('old_shop', 'shop');
SELECT event_store.migrate_tenant('shop', 200) @> '{200}' AS migrated;
SELECT event_store.clone_tenant('old_shop', 'shop2');
SELECT tenant, version FROM event_store.tenant_versions WHERE tenant ~ 'shop' ORDER BY tenant;
SELECT event_store.drop_tenant('shop', 'shop', keep => '1 day');
SELECT event_store.clone_tenant('old_shop', 'shop3');

-- the pool of a template of another role: whoever may have the template fills it, no further than said
ALTER SCHEMA shop2 OWNER TO regress_es_app;
SET event_store.guard = off;
DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'shop2'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO regress_es_app', t);
	END LOOP; END $$;
RESET event_store.guard;
CALL event_store.fill_tenant_pool(1, 'shop2');
CALL event_store.fill_tenant_pool(1, 'shop2');
SELECT count(*) FROM event_store.tenant_pool;
-- what was made from a tenant is not there for another one of its name
SELECT event_store.drop_tenant('shop2', 'shop2');
SELECT event_store.create_tenant('shop4', template => 'shop2');
SELECT owner FROM event_store.tenants WHERE name = 'shop4';
SELECT count(*) FROM event_store.tenant_pool;
SELECT event_store.drop_tenant('shop2', 'shop2');

-- a schema of the pool that is made a tenant's is not in it any more
CALL event_store.fill_tenant_pool(1);
SELECT event_store.attach_tenant(schema, 'pooled') FROM event_store.tenant_pool;
SELECT count(*) FROM event_store.tenant_pool;
SELECT tenant, pending FROM event_store.tenant_versions WHERE tenant = 'pooled';
CALL event_store.fill_tenant_pool(0);
SELECT state FROM event_store.tenants WHERE name = 'pooled';
-- of one that somebody has dropped nothing is left
CALL event_store.fill_tenant_pool(1);
SET event_store.guard = off;
SET client_min_messages = warning;
DO $$ BEGIN EXECUTE (SELECT format('DROP SCHEMA %I CASCADE', schema) FROM event_store.tenant_pool); END $$;
RESET event_store.guard;
CALL event_store.fill_tenant_pool(0);
SELECT (SELECT count(*) FROM event_store.tenant_pool), (SELECT count(*) FROM event_store.tenant_migrated WHERE tenant ~ 'pool_');

-- what another one's broken tenant is does not concern who purges
SELECT event_store.drop_tenant('pooled', 'pooled', keep => '0');
SET event_store.guard = off;
DO $$ BEGIN EXECUTE (SELECT format('DROP SCHEMA %I CASCADE', schema) FROM event_store.tenants WHERE name = 'pooled'); END $$;
RESET event_store.guard;
RESET client_min_messages;
SET ROLE regress_es_app;
CALL event_store.purge_tenants();
RESET ROLE;
CALL event_store.purge_tenants();

SELECT event_store.drop_tenant(name, name) FROM event_store.tenants;
SELECT count(*) FROM event_store.tenant_domain;
SELECT event_store.unregister_migration(version) FROM event_store.tenant_migration;
DROP OWNED BY regress_es_app;
DROP ROLE regress_es_app;
