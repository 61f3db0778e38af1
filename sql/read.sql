/* read: streams, everything in order, categories, ids */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop;
SELECT count(*) FROM (SELECT event_store.append_event((ARRAY['order-1', 'order-2', 'cart-1'])[1 + n % 3],
	(ARRAY['A', 'B'])[1 + n % 2], to_jsonb(n)) FROM generate_series(0, 11) n) x;

-- a stream, forward and backward
SELECT version, type, data FROM event_store.read_stream('order-1');
SELECT version FROM event_store.read_stream('order-1', 2, 2);
SELECT version FROM event_store.read_stream('order-1', 0, 1);
SELECT version FROM event_store.read_stream('order-1', direction => 'backward');
SELECT version FROM event_store.read_stream('order-1', 3, 2, 'backward');
SELECT version FROM event_store.read_stream('order-1', 99);
SELECT version FROM event_store.read_stream('order-1', max_count => 0);
SELECT count(*) FROM event_store.read_stream('order-1', max_count => NULL);
SELECT count(*) FROM event_store.read_stream('nobody');

-- everything in order
SELECT position, stream, version FROM event_store.read_all();
SELECT position FROM event_store.read_all(3, 2);
SELECT position FROM event_store.read_all(12);
SELECT position FROM event_store.read_all(direction => 'backward', max_count => 3);
SELECT position FROM event_store.read_all(5, direction => 'backward');
SELECT position, type FROM event_store.read_all(types => ARRAY['B'], max_count => 3);
SELECT position, stream FROM event_store.read_all(types => ARRAY['A', 'B'], categories => ARRAY['cart']);
SELECT count(*) FROM event_store.read_all(types => ARRAY[]::text[]);
SELECT position, stream FROM event_store.read_category('order', 4, 2);
SELECT position, stream FROM event_store.read_category('order', max_count => 1, direction => 'backward');
SELECT count(*) FROM event_store.read_category('nothing');

-- the horizon ends before what this transaction has not committed yet
SELECT event_store.horizon(), event_store.head();
BEGIN;
SELECT first_position FROM event_store.append_event('order-1', 'C');
SELECT schema, first_position, pid = pg_backend_pid() AS mine FROM event_store.in_flight();
SELECT event_store.horizon(), event_store.head();
SELECT max(position) FROM event_store.read_all();
SELECT max(version) FROM event_store.read_stream('order-1');
SELECT event_store.poll(12);
ROLLBACK;
SELECT event_store.horizon(), event_store.head();
SELECT count(*) FROM event_store.in_flight();

-- poll: at once if there is something, after its time if there is nothing
SELECT position FROM event_store.poll(10);
SELECT position FROM event_store.poll(0, 1, '1 hour');
SELECT count(*) FROM event_store.poll(13, timeout => '10 ms');
SELECT count(*) FROM event_store.poll(0, timeout => '10 ms', types => ARRAY['Z']);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.poll(0);
ROLLBACK;

-- bad arguments
SELECT event_store.read_stream('order-1', -1);
SELECT event_store.read_stream('order-1', 1, -1);
SELECT event_store.read_stream('order-1', 1, 1, 'up');
SELECT event_store.read_stream('order-1', 1, 1, NULL);
SELECT event_store.read_stream(NULL);
SELECT event_store.read_stream('');
SELECT event_store.read_all(-1);
SELECT event_store.read_all(max_count => -1);
SELECT event_store.read_all(types => ARRAY['A', NULL]);
SELECT event_store.read_all(1000000);
SELECT event_store.read_category(NULL);
SELECT event_store.poll(NULL);
SELECT event_store.poll(0, timeout => '-1 s');
SELECT event_store.poll(0, timeout => NULL);

-- stop early: no more rows than asked for are produced
SELECT count(*) FROM (SELECT * FROM event_store.read_all(0, 5)) x;

-- wide rows: a filter by type where the type may be stored compressed
SELECT last_version FROM event_store.append_event('wide-1', repeat('t', 500), to_jsonb(array_to_string(ARRAY(SELECT md5(n::text) FROM generate_series(1, 100) n), '')));
SELECT length(type), length(data #>> '{}') FROM event_store.read_all(types => ARRAY[repeat('t', 500)]);
DROP SCHEMA shop CASCADE;
