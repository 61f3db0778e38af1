-- a tenant as lines and back; the same between two servers is in test/t/074_tenant_move.pl
\set VERBOSITY terse
SELECT event_store.create_tenant('mover', '{"plan": "gold"}');
CREATE TABLE lines (line text);
CREATE TABLE more_lines (line text);
SELECT event_store.tenant_use_session('mover');
SELECT last_position FROM event_store.append('order-1', '[{"type": "Placed", "data": {"n": 1.50, "t": "\"quoted\\ \u00e4"}}, {"type": "Paid", "data": [null], "metadata": {"by": "a"}}]');
SELECT last_position FROM event_store.append_event('order-2', 'Placed', event_id => '00000000-0000-4000-8000-000000000001', created_at => '1999-12-31 23:59:59.123456+02');
SELECT last_position FROM event_store.append_event('order-3', 'Placed');
BEGIN; SELECT last_position FROM event_store.append_event('order-4', 'Never'); ROLLBACK;
SELECT count(*) FROM event_store.set_stream_metadata('order-1', '{"a": 1}', '1 mon 2 days 03:04:05.6', 100);
SELECT count(*) FROM event_store.delete_stream('order-3');
SELECT event_store.token(4) AS token \gset
RESET event_store.tenant;
RESET search_path;

-- what the settings of the session say about the form of values changes nothing
CREATE TEMP TABLE sums AS SELECT * FROM event_store.tenant_checksums('mover');
SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German, DMY'; SET intervalstyle = 'iso_8601'; SET bytea_output = escape; SET extra_float_digits = -3;
SELECT table_name, rows, s.checksum = c.checksum AS same FROM event_store.tenant_checksums('mover') c JOIN sums s USING (table_name, rows) ORDER BY 1;
INSERT INTO lines SELECT event_store.export_tenant('mover');
SELECT left(line, 10) AS begins, count(*) FROM lines GROUP BY left(line, 10) ORDER BY left(line, 10) COLLATE "C";
SELECT (line::jsonb -> 'tenant') - '{store,epochs}'::text[] AS header FROM lines WHERE line LIKE '{"tenant%';
-- a store is once in a database
SELECT event_store.import_tenant('copy', 'lines');
-- a later export: what came since
SELECT * FROM event_store.with_tenant('mover', $$SELECT last_position FROM event_store.append('order-2', '[{"type": "Paid", "data": 1}]')$$) AS (p bigint);
SELECT * FROM event_store.with_tenant('mover', $$SELECT last_position FROM event_store.append('order-5', '[{"type": "Placed", "data": 1}]')$$) AS (p bigint);
SELECT * FROM event_store.with_tenant('mover', $$SELECT count(*) FROM event_store.delete_stream('order-2')$$) AS (n bigint);
SELECT event_store.suspend_tenant('mover', reads => true, reason => 'it moves');
SELECT (line::jsonb -> 'tenant' ->> 'position')::bigint AS "position" FROM lines WHERE line LIKE '{"tenant%' \gset
INSERT INTO more_lines SELECT event_store.export_tenant('mover', after_position => :position);
SELECT left(line, 10) AS begins, count(*) FROM more_lines GROUP BY left(line, 10) ORDER BY left(line, 10) COLLATE "C";
TRUNCATE sums;
INSERT INTO sums SELECT * FROM event_store.tenant_checksums('mover');
SELECT event_store.drop_tenant('mover', 'mover');

-- bad input: nothing is half done
CREATE TABLE bad (line text);
SELECT event_store.import_tenant('mover', 'bad');
INSERT INTO bad SELECT line FROM lines WHERE line NOT LIKE '{"end"%';
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT line FROM lines WHERE line NOT LIKE '%order-2%';
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT replace(line, '1.50', '1.51') FROM lines;
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT line FROM lines UNION ALL (SELECT line FROM lines WHERE line LIKE '{"event_log%' LIMIT 1);
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT line FROM lines UNION ALL SELECT line FROM lines WHERE line LIKE '{"tenant%';
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT replace(line, '"format":1', '"format":2') FROM lines;
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT regexp_replace(line, '"store":"\d+"', '"store":"x"') FROM lines;
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT regexp_replace(line, '"epochs":\[.*\]', '"epochs":[[1]]') FROM lines;
SELECT event_store.import_tenant('mover', 'bad');
TRUNCATE bad; INSERT INTO bad SELECT replace(line, 'event_commands', 'event_mark') FROM lines;
SELECT event_store.import_tenant('mover', 'bad');
SELECT event_store.import_tenant('mover', 'more_lines');
SELECT event_store.import_tenant('mover', 'pg_class');
SELECT event_store.import_tenant('mover', 0);
SELECT event_store.import_tenant('mover', NULL);
SELECT event_store.import_tenant('Bad Name', 'lines');
SELECT event_store.import_tenant(NULL, 'lines');
SELECT count(*) FROM event_store.tenant_residue('mover');

-- the first export gives a tenant that can only be read
SELECT * FROM event_store.import_tenant('mover', 'lines');
SELECT state, reason, attributes FROM event_store.tenants;
SELECT event_store.import_tenant('mover', 'lines');
SELECT * FROM event_store.with_tenant('mover', $$SELECT event_store.append_event('order-9', 'X')$$) AS (r event_store.append_result);
SELECT * FROM event_store.with_tenant('mover', $$SELECT position, stream, version, type, data FROM event_store.read_all()$$) AS (p bigint, s text, v bigint, t text, d jsonb);
-- the second one completes it
SELECT * FROM event_store.import_tenant('mover', 'more_lines');
SELECT event_store.import_tenant('mover', 'more_lines');
SELECT state, reason FROM event_store.tenants;
SELECT table_name, rows, s.checksum = c.checksum AS same FROM event_store.tenant_checksums('mover') c JOIN sums s USING (table_name, rows) ORDER BY 1;
SELECT event_store.tenant_use_session('mover');
SELECT position, stream, version, type, data, metadata FROM event_store.read_all() WHERE position <= 3;
SELECT created_at = '1999-12-31 23:59:59.123456+02'::timestamptz AS same FROM event_store.event('00000000-0000-4000-8000-000000000001');
SELECT stream FROM event_store.event('00000000-0000-4000-8000-000000000001');
SELECT stream FROM event_store.event((SELECT event_id FROM event_store.read_all() WHERE position = 1));
SELECT event_store.token_position(:'token');
SELECT max_age::text, max_count, metadata FROM event_streams WHERE stream_name = 'order-1';
SELECT event_store.append_event('order-2', 'X');
-- positions and versions go on, none comes twice
SELECT first_version, first_position > (SELECT max(position) FROM event_log) AS goes_on FROM event_store.append_event('order-5', 'X');
SELECT * FROM event_store.verify_store() v WHERE v.violations <> 0;
RESET event_store.tenant;
RESET search_path;
RESET timezone; RESET datestyle; RESET intervalstyle; RESET bytea_output; RESET extra_float_digits;

-- positions that are none
SELECT event_store.export_tenant('mover', -1);
SELECT event_store.export_tenant('mover', 1000000);
SELECT event_store.export_tenant('mover', NULL);
SELECT event_store.export_tenant('nobody');
SELECT event_store.export_tenant(NULL);
SELECT event_store.tenant_checksums('mover', -1);
SELECT event_store.tenant_checksums('nobody');
SELECT table_name, rows FROM event_store.tenant_checksums('mover', 2) ORDER BY 1;
-- whoever may only use a tenant cannot take it away
CREATE ROLE regress_es_user;
SELECT event_store.grant_tenant('mover', 'regress_es_user', 'admin');
SET ROLE regress_es_user;
SELECT event_store.export_tenant('mover');
SELECT event_store.tenant_checksums('mover');
RESET ROLE;
SELECT event_store.revoke_tenant('mover', 'regress_es_user');
DROP ROLE regress_es_user;
SELECT event_store.drop_tenant('mover', 'mover');

-- tags and subscriptions move too, though a new store has no tables for them
SELECT event_store.register_migration(1, 'notes', 'CREATE TABLE note (t text)') IS NOT NULL AS registered;
SELECT event_store.create_tenant('mover');
SELECT event_store.tenant_use_session('mover');
SELECT event_store.enable_tags();
SELECT last_position FROM event_store.append('s-1', '[{"type": "T", "data": 1, "metadata": {"tags": ["x", "y"]}}, {"type": "T", "data": 1, "metadata": {"tags": ["x"]}}]');
SELECT event_store.create_subscription('readers');
SELECT count(*) FROM event_store.fetch('readers', consumer => 'c', max_count => 1);
RESET event_store.tenant; RESET search_path;
TRUNCATE lines;
INSERT INTO lines SELECT event_store.export_tenant('mover');
SELECT count(*) FROM lines WHERE line LIKE '{"event_tags%';
SELECT event_store.tenant_use_session('mover');
SELECT last_position > 2 AS later FROM event_store.append_event('s-2', 'T', metadata => '{"tags": ["x", "z"]}');
RESET event_store.tenant; RESET search_path;
SELECT event_store.suspend_tenant('mover', reads => true);
TRUNCATE more_lines;
INSERT INTO more_lines SELECT event_store.export_tenant('mover', after_position => 2);
SELECT event_store.drop_tenant('mover', 'mover');
SELECT events, complete FROM event_store.import_tenant('mover', 'lines');
SELECT events, complete FROM event_store.import_tenant('mover', 'more_lines');
SELECT event_store.tenant_use_session('mover');
SELECT tag, count(*) FROM event_tags GROUP BY tag ORDER BY tag;
SELECT subscription_name, (SELECT count(*) FROM event_deliveries) AS deliveries FROM event_subscriptions;
DELETE FROM event_subscriptions;
DELETE FROM event_tags;
SELECT last_position > 3 AS goes_on FROM event_store.append_event('s-2', 'T', metadata => '{"tags": ["x"]}');
SELECT v.* FROM event_store.verify_store() v WHERE v.violations <> 0;
RESET event_store.tenant; RESET search_path;
-- a schema of the store alone lacks the migrations; one that is there already was made as the old one is
SELECT drift FROM event_store.tenant_drift;
SELECT event_store.migrate_tenant('mover');
SELECT event_store.drop_tenant('mover', 'mover');
CREATE SCHEMA mover;
CREATE TABLE mover.note (t text);
SELECT events, complete FROM event_store.import_tenant('mover', 'lines');
SELECT drift FROM event_store.tenant_drift;
SELECT event_store.migrate_tenant('mover');
SELECT event_store.drop_tenant('mover', 'mover');
SELECT event_store.unregister_migration(1);
DROP TABLE lines, more_lines, bad;

-- what is at work on the events moves with its place: tags, subscriptions, handlers.  A tenant that can only be read rests meanwhile
SELECT event_store.create_tenant('busy');
SELECT event_store.tenant_use_session('busy');
CREATE TABLE seen ("position" bigint);
CREATE FUNCTION see(event event_store.recorded_event) RETURNS void LANGUAGE sql AS $$INSERT INTO seen SELECT event."position"$$;
SELECT event_store.enable_tags();
SELECT count(*) FROM generate_series(1, 6) i, event_store.append_event('o-' || i, 'Placed', to_jsonb(i), jsonb_build_object('tags', jsonb_build_array('n:' || i)));
SELECT event_store.create_subscription('mailer', start_from => 'origin', max_attempts => 1);
SELECT "position" FROM event_store.fetch('mailer', 'm1', max_count => 4, timeout => '0');
SELECT event_store.ack('mailer', 'm1', '{1,2}');
SELECT * FROM event_store.nack('mailer', 'm1', '{3}', 'park', 'no address');
SELECT event_store.register_handler('see', 'see', background => false);
SELECT event_store.handler_run('see', 4);
RESET event_store.tenant; RESET search_path;
CREATE TABLE lines AS SELECT event_store.export_tenant('busy') AS line;
CREATE TABLE more_lines (line text);
-- while it goes on: what was at work in the first export is at another place in the second
SELECT * FROM event_store.with_tenant('busy', $$SELECT event_store.handler_run('see', 1) + event_store.ack('mailer', 'm1', '{4}')$$) AS (n bigint);
SELECT event_store.suspend_tenant('busy', reads => true);
SELECT * FROM event_store.with_tenant('busy', $$SELECT event_store.handler_run('see')$$) AS (n bigint);
SELECT * FROM event_store.with_tenant('busy', $$SELECT "position" FROM event_store.fetch('mailer', 'm1', timeout => '0')$$) AS (n bigint);
INSERT INTO more_lines SELECT event_store.export_tenant('busy', 6);
TRUNCATE sums;
INSERT INTO sums SELECT * FROM event_store.tenant_checksums('busy');
CREATE TEMP TABLE kept AS SELECT * FROM event_store.with_tenant('busy', 'SELECT "position" FROM seen') AS ("position" bigint);
SELECT event_store.drop_tenant('busy', 'busy');
SELECT count(*) FROM event_store.handler_registry;
SELECT events, complete FROM event_store.import_tenant('busy', 'lines');
SELECT events, complete FROM event_store.import_tenant('busy', 'more_lines');
SELECT table_name, rows, s.checksum = c.checksum AS same FROM event_store.tenant_checksums('busy') c JOIN sums s USING (table_name, rows) ORDER BY 1;
SELECT c.relname, array_agg(t.tgname ORDER BY t.tgname) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'busy'::regnamespace AND c.relname ~ 'tags|subscr|deliv' GROUP BY 1 ORDER BY 1;
SELECT event_store.tenant_use_session('busy');
CREATE TABLE seen AS SELECT * FROM pg_temp.kept;
CREATE FUNCTION see(event event_store.recorded_event) RETURNS void LANGUAGE sql AS $$INSERT INTO seen SELECT event."position"$$;
SELECT event_store.register_handler('see', 'see', background => false);
SELECT event_store.handler_run('see');
SELECT "position", count(*) FROM seen GROUP BY 1 ORDER BY 1;
SELECT checkpoint, parked FROM event_store.subscriptions;
SELECT "position" FROM event_store.fetch('mailer', 'm2', timeout => '0');
SELECT "position" FROM event_store.read_by_query('{"tags": ["n:5"]}');
SELECT count(*) FROM event_store.append_event('o-7', 'Placed', '7', '{"tags": ["n:5"]}');
SELECT "position" > 6 AS new FROM event_store.read_by_query('{"tags": ["n:5"]}') ORDER BY "position";
SELECT * FROM event_store.verify_store() v WHERE v.violations <> 0;
DELETE FROM event_deliveries;
RESET event_store.tenant; RESET search_path;

-- so does a clone; without data it has them empty, and can use them
SELECT event_store.clone_tenant('busy', 'twin');
SELECT event_store.create_tenant('blank', template => 'busy');
SELECT c.relnamespace::regnamespace, c.relname, count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace IN ('twin'::regnamespace, 'blank'::regnamespace) AND c.relname ~ 'tags|subscr|deliv' GROUP BY 1, 2 ORDER BY c.relnamespace::regnamespace::text, 2;
SELECT * FROM event_store.with_tenant('twin', $$SELECT subscription, checkpoint, parked FROM event_store.subscriptions$$) AS (s text, c bigint, p bigint);
SELECT * FROM event_store.with_tenant('twin', $$SELECT "position" FROM event_store.read_by_query('{"tags": ["n:2"]}')$$) AS (p bigint);
SELECT event_store.tenant_use_session('blank');
SELECT count(*) FROM event_tags;
SELECT count(*) FROM event_handlers;
SELECT count(*) FROM event_store.subscriptions;
SELECT event_store.create_subscription('mailer', start_from => 'origin');
SELECT last_position FROM event_store.append_event('o-1', 'Placed', '1', '{"tags": ["n:1"]}');
SELECT "position" FROM event_store.fetch('mailer', 'm1', timeout => '0');
SELECT "position" FROM event_store.read_by_query('{"tags": ["n:1"]}');
DELETE FROM event_tags;
RESET event_store.tenant; RESET search_path;
-- a subscription is no difference between tenants
SELECT event_store.create_tenant('plain', template => 'blank');
SELECT * FROM event_store.with_tenant('plain', $$SELECT 1 FROM event_store.create_subscription('other')$$) AS (n int);
SELECT object FROM event_store.tenant_differences('plain', 'blank');
SELECT event_store.drop_tenant(name, name) FROM event_store.tenants;
DROP TABLE lines, more_lines;
