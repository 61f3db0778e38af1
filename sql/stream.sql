/* streams: version, description, deletion, names, the cache of names */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop;
SELECT event_store.stream_version('order-1');
SELECT count(*) FROM event_store.stream_info('order-1');
SELECT last_position FROM event_store.append('order-1', '[{"type": "A", "data": 1}, {"type": "B", "data": 2}]');
SELECT event_store.stream_version('order-1');
SELECT stream, category, status, version, last_position, created_at <= last_event_at AS in_time, deleted_at FROM event_store.stream_info('order-1');
SELECT last_version FROM event_store.append_event('no hyphen', 'A');
SELECT stream, category FROM event_store.stream_info('no hyphen');
SELECT last_version FROM event_store.append_event('-x', 'A');
SELECT stream, category FROM event_store.stream_info('-x');
SELECT stream_name, category FROM event_streams ORDER BY stream_name;

-- deletion: closed for good, the events stay in order
SELECT event_store.delete_stream('nobody');
SELECT event_store.delete_stream('order-1', 1);
BEGIN;
SELECT event_store.delete_stream('order-1');
SELECT event_store.append_event('order-1', 'C');
ROLLBACK;
SELECT last_version FROM event_store.append_event('order-1', 'C', expected => 2);
SELECT event_store.delete_stream('order-1', 3);
SELECT event_store.delete_stream('order-1');
SELECT event_store.read_stream('order-1');
SELECT event_store.append_event('order-1', 'D');
SELECT stream, status, version, deleted_at IS NOT NULL AS deleted FROM event_store.stream_info('order-1');
SELECT event_store.stream_version('order-1');
SELECT stream, version, type FROM event_store.read_all();

-- a name is remembered, and forgotten when its stream was rolled back
BEGIN;
SELECT first_version FROM event_store.append_event('undone', 'A');
SELECT first_version FROM event_store.append_event('undone', 'B');
ROLLBACK;
SELECT first_version FROM event_store.append_event('undone', 'A', expected => 'no_stream');
BEGIN;
SAVEPOINT a;
SELECT first_version FROM event_store.append_event('undone too', 'A');
ROLLBACK TO a;
SELECT first_version FROM event_store.append_event('undone too', 'A', expected => 'no_stream');
COMMIT;

-- more streams than are remembered
SET event_store.stream_cache_size = 16;
SELECT count(*) FROM (SELECT event_store.append_event('many-' || n, 'A') FROM generate_series(1, 100) n) x;
SELECT count(*) FROM (SELECT event_store.append_event('many-' || n, 'B', expected => 1) FROM generate_series(1, 100) n) x;
SELECT count(DISTINCT stream) FROM event_store.read_category('many');
RESET event_store.stream_cache_size;

-- made and deleted in one statement
SELECT (a).last_version, deleted FROM event_store.append_event('short-1', 'A') a, LATERAL event_store.delete_stream('short-1', (a).last_version) deleted;
SELECT status FROM event_store.stream_info('short-1');
DROP SCHEMA shop CASCADE;
