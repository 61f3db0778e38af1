/* stores: making, finding, giving rights, dropping */
CREATE EXTENSION event_store;
\set VERBOSITY terse

-- without a store on the path there is nowhere to append
SELECT event_store.current_store();
SELECT event_store.append_event('order-1', 'OrderPlaced');
SELECT * FROM event_store.read_all();

SELECT event_store.create_store('shop');
SELECT event_store.create_store('shop');
SELECT event_store.create_store('shop', if_not_exists => true);
SELECT attname, format_type(atttypid, NULL) AS type, attnotnull FROM pg_attribute WHERE attrelid = 'shop.event_log'::regclass AND attnum > 0 ORDER BY attnum;
-- the partial index holds the ids outside the range that this store makes
SELECT regexp_replace(pg_get_indexdef(indexrelid), '[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-', 'NNNNNNNN-NNNN-8NNN-', 'g') FROM pg_index WHERE indrelid = 'shop.event_log'::regclass ORDER BY 1;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'shop.event_log'::regclass ORDER BY 1;
\d shop.event_streams
\d shop.event_mark
\d shop.event_snapshots

-- names that cannot be stores
SELECT event_store.create_store('');
SELECT event_store.create_store(repeat('x', 64));
SELECT event_store.create_store('pg_store');
SELECT event_store.create_store('information_schema');
SELECT event_store.create_store('event_store');

-- an existing schema is taken as it is; odd names are quoted
CREATE SCHEMA "Odd ""schema"" -- name";
SELECT event_store.create_store('Odd "schema" -- name');

-- the first store on the path is the one, pg_temp never counts
SET search_path = public, shop, "Odd ""schema"" -- name";
SELECT event_store.current_store();
CREATE TEMP TABLE event_log (LIKE shop.event_log);
SET search_path = pg_temp, shop;
SELECT event_store.current_store();
SET search_path = "Odd ""schema"" -- name", shop;
SELECT event_store.current_store();
SELECT last_position FROM event_store.append_event('s', 'T');
SELECT count(*) FROM event_log;
SELECT schema, current FROM event_store.stores ORDER BY schema;

-- the cache follows rename, drop and recreation in one session
SET search_path = shop, lager;
SELECT last_position FROM event_store.append_event('order-1', 'OrderPlaced');
ALTER SCHEMA shop RENAME TO lager;
SELECT event_store.current_store();
SELECT last_position FROM event_store.append_event('order-1', 'OrderPaid', expected => 1);
BEGIN;
ALTER SCHEMA lager RENAME TO shop;
SELECT event_store.current_store();
ROLLBACK;
SELECT event_store.current_store();
DROP SCHEMA lager CASCADE;
SELECT event_store.append_event('order-1', 'OrderPlaced');
SELECT event_store.create_store('lager');
SELECT event_store.stream_version('order-1');
SELECT * FROM event_store.append_event('order-1', 'OrderPlaced', expected => 'no_stream');

-- DROP EXTENSION leaves the events; CREATE EXTENSION finds the store and counts on
DROP EXTENSION event_store;
SELECT event_type, version FROM lager.event_log;
CREATE EXTENSION event_store;
SELECT event_store.current_store();
SELECT first_version FROM event_store.append_event('order-1', 'OrderPaid', expected => 1);
SELECT type, version FROM event_store.read_stream('order-1');
DELETE FROM lager.event_log;
BEGIN;
DROP EXTENSION event_store;
CREATE EXTENSION event_store;
SELECT first_version FROM event_store.append_event('order-1', 'OrderSent', expected => 2);
ROLLBACK;
SELECT event_store.stream_version('order-1');

-- what only looks like a store does not keep the extension from being created
CREATE SCHEMA lookalike
	CREATE TABLE event_log (position bigint)
	CREATE TABLE event_streams ()
	CREATE TABLE event_mark (store_number bigint, position bigint, layout integer, changed_at timestamptz, epochs bigint[])
	CREATE SEQUENCE event_position;
INSERT INTO lookalike.event_mark VALUES (4711, 0, 1, now(), '{}');
CREATE FUNCTION lookalike.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE CONSTRAINT TRIGGER event_store_no_change AFTER INSERT ON lookalike.event_log FOR EACH ROW EXECUTE FUNCTION lookalike.f();
DROP EXTENSION event_store;
CREATE EXTENSION event_store;
SELECT event_store.stream_version('order-1');
SELECT event_store.attach_store('lookalike');
DROP SCHEMA lookalike CASCADE;

-- a store that is not registered, as after a restore of its schema alone
DELETE FROM event_store.store_registry;
SELECT event_store.attach_store('lager');
SELECT event_store.attach_store('public');
SELECT event_store.current_store();

-- dropping asks for the name, and takes the schema only if it is empty and ours
SELECT event_store.drop_store('lager', 'shop');
SELECT event_store.drop_store('nowhere', 'nowhere');
CREATE TABLE lager.other ();
SELECT event_store.drop_store('lager', confirm => 'lager');
SELECT count(*) FROM pg_class WHERE relnamespace = 'lager'::regnamespace;
SELECT event_store.create_store('brief');
SELECT event_store.drop_store('brief', 'brief');
SELECT count(*) FROM pg_namespace WHERE nspname = 'brief';

-- rights are those on the tables
CREATE ROLE regress_es_owner;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_admin;
CREATE SCHEMA sales AUTHORIZATION regress_es_owner;
SET ROLE regress_es_owner;
SELECT event_store.create_store('sales');
SELECT event_store.grant_store('sales', 'regress_es_reader', 'reader');
SELECT event_store.grant_store('sales', 'regress_es_writer', 'writer');
SELECT event_store.grant_store('sales', 'regress_es_admin', 'admin');
SELECT event_store.grant_store('sales', 'regress_es_admin', 'king');
RESET ROLE;
SET search_path = sales;
SET ROLE regress_es_writer;
SELECT last_position FROM event_store.append_event('order-1', 'OrderPlaced');
SELECT event_store.delete_stream('order-1');
SET ROLE regress_es_reader;
SELECT type FROM event_store.read_all();
SELECT event_store.append_event('order-1', 'OrderPaid');
SELECT event_store.create_store('mine');
SET ROLE regress_es_admin;
SELECT event_store.delete_stream('order-1');
SELECT event_store.drop_store('sales', 'sales');
SET ROLE regress_es_owner;
SELECT event_store.revoke_store('sales', 'regress_es_reader');
SET ROLE regress_es_reader;
SELECT type FROM event_store.read_all();
RESET ROLE;

-- the SQL of another version than the library
BEGIN;
UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'event_store';
ALTER TABLE sales.event_log SET (fillfactor = 100);
SELECT event_store.append_event('order-2', 'OrderPlaced');
ROLLBACK;

-- preparing is refused once the transaction has appended
BEGIN;
SELECT last_position FROM event_store.append_event('order-3', 'OrderPlaced');
PREPARE TRANSACTION 'regress_es';
SELECT count(*) FROM event_store.in_flight();

DROP SCHEMA sales CASCADE;
DROP ROLE regress_es_owner, regress_es_reader, regress_es_writer, regress_es_admin;
DROP SCHEMA lager CASCADE;
DROP SCHEMA "Odd ""schema"" -- name" CASCADE;
