/* migrations of tenants: as data, to each tenant once, in stages */
\set VERBOSITY terse
SET search_path = public;

-- registering
SELECT event_store.register_migration(1, 'notes', 'CREATE TABLE note (id bigint PRIMARY KEY, t text)', 'DROP TABLE note');
SELECT event_store.register_migration(1, 'notes', 'CREATE TABLE note (id bigint PRIMARY KEY, t text)');
-- a changed checksum is refused
SELECT event_store.register_migration(1, 'notes', 'CREATE TABLE note (id bigint)');
SELECT event_store.register_migration(2, 'view', 'CREATE VIEW notes AS SELECT * FROM note; INSERT INTO note VALUES (1, event_store.current_tenant())',
	'DROP VIEW notes; DELETE FROM note', checksum => 'x');
SELECT event_store.register_migration(2, 'view', 'CREATE VIEW notes AS SELECT * FROM note; INSERT INTO note VALUES (1, event_store.current_tenant())',
	'DROP VIEW notes; DELETE FROM note', checksum => encode(sha256('CREATE VIEW notes AS SELECT * FROM note; INSERT INTO note VALUES (1, event_store.current_tenant())'), 'hex')) IS NOT NULL AS registered;
SELECT event_store.register_migration(0, 'none', 'SELECT 1');
SELECT event_store.register_migration(NULL, 'none', 'SELECT 1');
SELECT event_store.register_migration(9, NULL, 'SELECT 1');
SELECT event_store.register_migration(9, 'none', NULL);

-- a new tenant is born at the newest version
SELECT event_store.create_tenant('one');
SELECT * FROM event_store.with_tenant('one', 'SELECT t FROM notes') AS (t text);
SELECT tenant, version, pending, drifted FROM event_store.tenant_versions;

-- systems 3.3.5: the third migration fails
SELECT event_store.register_migration(3, 'bad one', 'CREATE TABLE made (i int); SELECT 1/0') IS NOT NULL AS registered;
SELECT event_store.create_tenant('two');
SELECT name FROM event_store.tenants;
SELECT nspname FROM pg_namespace WHERE nspname = 'two';
SELECT * FROM event_store.tenant_residue('two');
\set VERBOSITY default
SELECT event_store.create_tenant('two');
\set VERBOSITY terse
SELECT event_store.unregister_migration(3);
SELECT event_store.unregister_migration(3);

-- one tenant
SELECT event_store.create_tenant('two');
SELECT event_store.revert_tenant('two', 0);
SELECT tenant, version, name, drift FROM event_store.tenant_drift ORDER BY tenant, version;
SELECT event_store.migrate_tenant('two', 1);
SELECT event_store.migrate_tenant('two');
SELECT event_store.migrate_tenant('two');
SELECT event_store.migrate_tenant('nobody');
SELECT event_store.migrate_tenant(NULL);
-- systems 3.3.11: one bad tenant of 20
SELECT event_store.create_tenant(format('t%s', lpad(i::text, 2, '0'))) FROM generate_series(3, 20) i;
SELECT * FROM event_store.with_tenant('t07', 'CREATE TABLE extra (i int)') AS (i int);
SELECT event_store.register_migration(3, 'extra', 'CREATE TABLE extra (i int)') IS NOT NULL AS registered;
SELECT count(applied), count(problem) FROM event_store.migrate_tenants();
SELECT tenant, drift FROM event_store.tenant_drift;
SELECT * FROM event_store.with_tenant('t07', 'DROP TABLE extra') AS (i int);
SELECT tenant, applied, problem FROM event_store.migrate_tenants() WHERE applied <> '{}';
SELECT DISTINCT version, pending, drifted FROM event_store.tenant_versions;
-- the problem of one
SELECT event_store.register_migration(4, 'odd', $$SELECT 1 / (event_store.current_tenant() <> 't07')::int$$) IS NOT NULL AS registered;
SELECT tenant, problem ->> 'detail' AS detail, problem -> 'migration' AS migration, problem ->> 'tenant' AS who FROM event_store.migrate_tenants() WHERE problem IS NOT NULL;
SELECT event_store.unregister_migration(4);

-- unknown, changed
SELECT tenant, version, drift FROM event_store.tenant_drift WHERE tenant < 't05' ORDER BY tenant;
SELECT event_store.revert_tenant('one', 3);
SELECT event_store.register_migration(4, 'odd', 'SELECT 2') IS NOT NULL AS registered;
SELECT tenant, version, name, drift FROM event_store.tenant_drift WHERE tenant IN ('one', 't07') ORDER BY tenant;
SELECT event_store.migrate_tenant('one');
SELECT event_store.revert_tenant('one', 3);
SELECT event_store.baseline_tenant(t, 4) FROM unnest('{one,t07}'::text[]) t;
SELECT event_store.migrate_tenant('one');
SELECT event_store.revert_tenant('one', 0);
SELECT event_store.unregister_migration(4);
SELECT event_store.drop_tenant(format('t%s', lpad(i::text, 2, '0')), format('t%s', lpad(i::text, 2, '0'))) FROM generate_series(3, 20) i;
SELECT event_store.drop_tenant('two', 'two');
SELECT * FROM event_store.tenant_residue('two');

-- what a migration may do: nothing that outlives it, no other tenant, no transaction
SELECT event_store.create_tenant('two');
SELECT event_store.register_migration(10, 'settings', 'SET search_path = pg_catalog; SET event_store.tenant = ''''; SET work_mem = ''1MB''') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('two', 10);
SHOW search_path;
SHOW event_store.tenant;
SHOW work_mem;
SELECT event_store.register_migration(11, 'neighbour', 'INSERT INTO one.note VALUES (2)') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('two', 11);
SELECT event_store.unregister_migration(11);
SELECT event_store.register_migration(11, 'commit', 'COMMIT') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('two', 11);
SELECT event_store.unregister_migration(11);
-- in a suspended tenant too, not in one that is dropped
SELECT event_store.suspend_tenant('two');
SELECT event_store.register_migration(11, 'more', 'INSERT INTO note VALUES (11, ''more'')') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('two', 11);
SELECT * FROM event_store.with_tenant('two', 'SELECT * FROM note') AS (i bigint, t text);
SELECT event_store.resume_tenant('two');
SELECT event_store.drop_tenant('two', 'two', keep => '1 day');
SELECT event_store.migrate_tenant('two');
SELECT tenant FROM event_store.migrate_tenants();
SELECT event_store.restore_tenant('two');
-- renamed
SELECT event_store.rename_tenant('two', 'second');
SELECT event_store.migrate_tenant('second');

-- roles: it runs as the owner of the schema
CREATE ROLE regress_es_owner;
CREATE ROLE regress_es_admin;
SELECT event_store.drop_tenant('one', 'one');
DO $$ BEGIN
	EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_es_owner', current_database());
END $$;
SET ROLE regress_es_owner;
SELECT event_store.register_migration(20, 'mine', 'SELECT 1');
SELECT event_store.unregister_migration(20);
SELECT event_store.migrate_tenants();
SELECT event_store.start_rollout();
CALL event_store.run_rollout(1);
SELECT event_store.migrate_tenant('second');
SELECT event_store.create_tenant('owned');
SELECT event_store.revert_tenant('owned', 10);
RESET ROLE;
SELECT event_store.migrate_tenant('owned');
SELECT relname, relowner::regrole FROM pg_class WHERE relnamespace = 'owned'::regnamespace AND relname IN ('note', 'notes') ORDER BY 1;
-- and with no more rights than who registered it has
UPDATE event_store.tenant_migration SET registered_by = 'regress_es_admin' WHERE version = 11;
SELECT event_store.baseline_tenant('owned', 10);
DELETE FROM event_store.tenant_migrated WHERE tenant = 'owned' AND version = 11;
SELECT event_store.migrate_tenant('owned');
SELECT event_store.register_migration(12, 'escape', 'RESET ROLE') IS NOT NULL AS registered;
UPDATE event_store.tenant_migration SET registered_by = 'regress_es_owner' WHERE version IN (11, 12);
SELECT event_store.baseline_tenant('owned', 11);
SELECT event_store.migrate_tenant('owned');
SELECT event_store.unregister_migration(12);
SELECT event_store.drop_tenant('owned', 'owned');

-- rollouts: stages, a canary first
SELECT event_store.start_rollout(stages => '{}');
SELECT event_store.start_rollout(stages => '[]');
SELECT event_store.start_rollout(stages => '[{"percent": 101}]');
SELECT event_store.start_rollout(stages => '[{"percent": 10}, {"tenants": ["nobody"]}]');
SELECT event_store.start_rollout(stages => '[{"percent": 10, "pause": "-1 s"}]');
SELECT event_store.start_rollout(stages => '[{"percent": 10, "pause": "soon"}]');
SELECT event_store.start_rollout(max_failures => -1);
SELECT event_store.start_rollout(max_attempts => 0);
SELECT event_store.start_rollout(lock_timeout => '-1 s');
UPDATE event_store.tenant_migration SET registered_by = current_user::regrole;
SELECT event_store.create_tenant(format('r%s', i)) FROM generate_series(0, 9) i;
SELECT event_store.register_migration(30, 'rolled', 'INSERT INTO note VALUES (30, event_store.current_tenant())') IS NOT NULL AS registered;
BEGIN;
SELECT event_store.start_rollout(30, '[{"percent": 0}, {"percent": 1}, {"percent": 50}]') AS r \gset
SELECT stage, count(*) FROM event_store.rollout_tenant GROUP BY stage ORDER BY stage;
ROLLBACK;
SELECT event_store.start_rollout(30, '[{"tenants": ["r3", "second"], "hold": true}, {"tenants": ["r5", "r3", "r7"], "pause": "1 h"}, {"percent": 100}]') AS r \gset
SELECT stage, count(*) FROM event_store.rollout_tenant GROUP BY stage ORDER BY stage;
CALL event_store.run_rollout(:r);
SELECT tenant FROM event_store.tenant_drift WHERE version = 30 AND tenant IN ('r3', 'second');
CALL event_store.run_rollout(:r);
SELECT event_store.resume_rollout(:r);
CALL event_store.run_rollout(:r);
SELECT state, stage, stages, done + pending, continue_at > now() AS waits FROM event_store.rollouts;
SELECT event_store.resume_rollout(:r);
SELECT event_store.pause_rollout(:r);
CALL event_store.run_rollout(:r);
SELECT event_store.resume_rollout(:r);
CALL event_store.run_rollout(:r);
CALL event_store.run_rollout(:r);
SELECT count(*) FROM event_store.tenant_drift;
SELECT event_store.pause_rollout(:r);
SELECT event_store.pause_rollout(99);
SELECT event_store.resume_rollout(99);
CALL event_store.run_rollout(99);
CALL event_store.run_rollout(NULL);
-- it stops when too many fail
SELECT event_store.register_migration(31, 'bad for two', $$SELECT 1 / (event_store.current_tenant() <> ALL ('{r4,r8}'))::int$$) IS NOT NULL AS registered;
SELECT event_store.start_rollout(max_failures => 1) AS r \gset
CALL event_store.run_rollout(:r);
SELECT tenant, state, attempts, applied, problem ->> 'detail' AS detail FROM event_store.rollout_tenant WHERE rollout = :r AND state = 'failed';
SELECT count(DISTINCT duration IS NOT NULL) FROM event_store.rollout_tenant WHERE rollout = :r;
-- mended: a retry does only what failed and what was left
UPDATE event_store.tenant_migration SET up = 'INSERT INTO note VALUES (31)' WHERE version = 31;
SELECT event_store.resume_rollout(:r, retry => true);
CALL event_store.run_rollout(:r);
SELECT tenant FROM event_store.each_tenant('SELECT 1 FROM note WHERE id = 31') WHERE result -> 'rows' = '1' AND tenant IN ('r4', 'r8');
-- one that never ends is cancelled with the call, and leaves nothing
SELECT event_store.register_migration(32, 'endless', 'CREATE TABLE half (i int); SELECT pg_sleep(3600)') IS NOT NULL AS registered;
SELECT event_store.start_rollout() AS r \gset
SET statement_timeout = '200ms';
SELECT event_store.migrate_tenant('r0');
CALL event_store.run_rollout(:r);
SELECT event_store.create_tenant('never');
RESET statement_timeout;
SELECT state, done, failed, pending FROM event_store.rollouts WHERE rollout = :r;
SELECT count(*) FROM pg_class WHERE relname = 'half';
SELECT count(*) FROM event_store.tenant_residue('never');
SELECT event_store.unregister_migration(32);
-- a tenant whose schema was dropped by hand is a problem of its own
SET event_store.guard = off;
\set VERBOSITY sqlstate
DROP SCHEMA r0 CASCADE;
\set VERBOSITY terse
RESET event_store.guard;
SELECT event_store.register_migration(32, 'fine', 'SELECT 1') IS NOT NULL AS registered;
SELECT tenant, applied, problem ->> 'detail' AS problem FROM event_store.migrate_tenants() WHERE tenant IN ('r0', 'r1');
SELECT event_store.drop_tenant('r0', 'r0');
SELECT event_store.revert_tenant(name, 32) FROM event_store.tenants LIMIT 1;
UPDATE event_store.tenant_migration SET down = 'SELECT 1' WHERE version = 32;
SELECT count(event_store.revert_tenant(name, 31)) FROM event_store.tenants;
SELECT event_store.unregister_migration(32);
-- in a transaction of the caller's it is one transaction
SELECT event_store.register_migration(32, 'undone', 'INSERT INTO note VALUES (32)') IS NOT NULL AS registered;
BEGIN;
SELECT event_store.start_rollout() AS r \gset
CALL event_store.run_rollout(:r);
ROLLBACK;
SELECT count(*), min(drift) FROM event_store.tenant_drift;

-- what is registered again is the same, as far as it is said
SELECT event_store.unregister_migration(32);
SELECT count(event_store.drop_tenant(name, name)) FROM event_store.tenants WHERE name NOT IN ('r1', 'r2');
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO regress_es_admin', current_database()); END $$;
SET ROLE regress_es_admin;
SELECT event_store.register_migration(32, 'theirs', 'SELECT 32', 'SELECT -32') IS NOT NULL AS registered;
RESET ROLE;
\set VERBOSITY sqlstate
SELECT event_store.migrate_tenant('r1');
SELECT event_store.register_migration(32, 'theirs', 'SELECT 32', 'SELECT 0');
-- who has not said all of it does not answer for it
SELECT event_store.register_migration(32, 'theirs', 'SELECT 32') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('r1');
\set VERBOSITY terse
SELECT event_store.register_migration(32, 'theirs', 'SELECT 32', 'SELECT -32') IS NOT NULL AS registered;
SELECT event_store.migrate_tenant('r1');
-- nor takes it from who has more rights
SET ROLE regress_es_admin;
SELECT event_store.register_migration(32, 'theirs', 'SELECT 32', 'SELECT -32') IS NOT NULL AS registered;
RESET ROLE;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), current_user); END $$;
SELECT event_store.migrate_tenant('r2');

-- a code that nobody knows is passed on
SELECT event_store.register_migration(33, 'odd', $$DO 'BEGIN RAISE ''odd'' USING ERRCODE = ''ZX001''; END'$$) IS NOT NULL AS registered;
\set VERBOSITY sqlstate
SELECT event_store.migrate_tenant('r1');
\set VERBOSITY terse
SELECT event_store.unregister_migration(33);

-- a tenant that is dropped and kept needs no migration, and stops no rollout
SELECT event_store.register_migration(33, 'later', 'CREATE TABLE m33 (i int)') IS NOT NULL AS registered;
SELECT event_store.start_rollout() AS r \gset
SELECT event_store.drop_tenant('r1', 'r1', keep => '1 day');
SELECT tenant, version, drift FROM event_store.tenant_drift;
CALL event_store.run_rollout(:r);
SELECT event_store.restore_tenant('r1');
SELECT tenant, version, drift FROM event_store.tenant_drift;

SELECT event_store.drop_tenant(name, name) FROM event_store.tenants;
SELECT count(*) FROM event_store.tenant_migrated;
SELECT event_store.unregister_migration(version) FROM event_store.tenant_migration;
DELETE FROM event_store.rollout_registry;
DROP OWNED BY regress_es_owner, regress_es_admin;
DROP ROLE regress_es_owner, regress_es_admin;
