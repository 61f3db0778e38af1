/* the indexes a store may have: adding and dropping them, appends that fill them */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop, public;
SELECT count(event_store.append_event('order-' || n % 3, 'T' || n % 2, to_jsonb(n),
	correlation_id => CASE WHEN n % 4 = 0 THEN '00000000-0000-4000-8000-0000000000aa'::uuid END)) FROM generate_series(1, 8) n;
CALL event_store.add_index('type');
CALL event_store.add_index('correlation');
CALL event_store.add_index(kind => 'time', concurrently => false);
SELECT indexdef FROM pg_indexes WHERE schemaname = 'shop' AND indexname LIKE 'event\_log\_by%' ORDER BY 1;

-- what is appended after it is in them too, nulls but where they are left out; the rows are still written directly
SELECT count(event_store.append('order-' || n % 3, jsonb_build_array(
	jsonb_build_object('type', 'T' || n % 2, 'data', n, 'correlation_id', CASE WHEN n % 4 = 0 THEN '00000000-0000-4000-8000-0000000000aa' END, 'created_at', '2020-01-01'),
	jsonb_build_object('type', 'U', 'data', n, 'event_id', format('00000000-0000-4000-8000-0000000000%s', n))))) FROM generate_series(10, 17) n;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT position FROM event_log WHERE correlation_id = '00000000-0000-4000-8000-0000000000aa' ORDER BY position;
SELECT position FROM event_log WHERE correlation_id = '00000000-0000-4000-8000-0000000000aa' ORDER BY position;
-- no row is in the partial index that does not belong there: its predicate is not looked at again
SELECT count(*) FROM event_log WHERE correlation_id IS NOT NULL;
SELECT count(*) FROM event_log WHERE event_type = 'U';
SELECT count(*) FROM event_log WHERE created_at < '2021-01-01';
RESET enable_seqscan;
RESET enable_bitmapscan;

-- a second one of a kind; none; not the owner; no such kind
CALL event_store.add_index('type');
CALL event_store.drop_index('type');
CALL event_store.drop_index('type');
CALL event_store.drop_index('time', concurrently => false);
CALL event_store.add_index('colour');
CALL event_store.add_index(NULL);
CALL event_store.add_index('type', NULL);
CREATE ROLE regress_es_index;
SELECT event_store.grant_store('shop', 'regress_es_index', 'admin');
SET ROLE regress_es_index;
CALL event_store.add_index('type');
CALL event_store.drop_index('correlation');
RESET ROLE;
SELECT event_store.revoke_store('shop', 'regress_es_index');
DROP ROLE regress_es_index;

-- concurrently not in a transaction, nor in what runs in one
BEGIN;
CALL event_store.add_index('type');
ROLLBACK;
BEGIN;
CALL event_store.drop_index('correlation');
ROLLBACK;
CALL event_store.add_index('type') \; SELECT 1;
DO $$ BEGIN CALL event_store.add_index('type'); END $$;
DO $$ BEGIN COMMIT; CALL event_store.add_index('type'); END $$;
CREATE PROCEDURE shop.add() LANGUAGE plpgsql AS $$ BEGIN CALL event_store.add_index('type'); END $$;
CALL shop.add();
CREATE FUNCTION shop.add_function() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL event_store.add_index('type'); END $$;
SELECT shop.add_function();
CREATE PROCEDURE shop.add_sql() LANGUAGE sql AS $$ CALL event_store.add_index('type') $$;
CALL shop.add_sql();
-- the other way it may, and is undone with it
BEGIN;
CALL event_store.add_index('type', concurrently => false);
SELECT last_version FROM event_store.append_event('order-9', 'V');
SELECT locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'event_log'::regclass AND mode LIKE 'Share%' ORDER BY 2;
ROLLBACK;
SELECT to_regclass('event_log_by_type');
CALL event_store.add_index('type', false);

-- an index that was left behind half-built is built anew
CALL event_store.drop_index('type');
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'event_log_by_correlation'::regclass;
CALL event_store.add_index('correlation');
SELECT indexrelid::regclass, indisvalid FROM pg_index WHERE indrelid = 'event_log'::regclass AND NOT indisunique;

-- after it the session is as before
SELECT last_version FROM event_store.append_event('order-9', 'V');
BEGIN READ ONLY;
CALL event_store.add_index('type', concurrently => false);
ROLLBACK;
DROP SCHEMA shop CASCADE;
SET search_path = public;
CALL event_store.add_index('type');
