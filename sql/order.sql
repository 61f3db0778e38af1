/* order: positions over restarts of the sequence, the durable mark */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop;
SELECT first_position, last_position FROM event_store.append_event('a', 'A');
-- an append larger than what is left of the block is contiguous all the same
SELECT last_position - first_position AS span FROM event_store.append('a',
	(SELECT jsonb_agg('{"type": "B", "data": 1}'::jsonb) FROM generate_series(1, 300)));
SELECT event_store.horizon();

-- a sequence that was set back, as on a former copy, is set forward
SELECT setval('event_position', 1, false);
SELECT count(*) FROM (SELECT event_store.append_event('a', 'C') FROM generate_series(1, 300)) x;
SELECT count(*) = count(DISTINCT position) AS unique, max(position) FROM event_store.read_all(max_count => NULL);

-- rolled-back positions are holes that readers pass
BEGIN;
SELECT last_position - first_position AS span FROM event_store.append('b', '[{"type": "A", "data": 1}, {"type": "A", "data": 1}]');
ROLLBACK;
SELECT last_position FROM event_store.append_event('b', 'A');
SELECT position FROM event_store.read_all(601);

-- a snapshot that is fixed reads up to the durable mark
DO $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXIT WHEN event_store.durable_mark() >= 604;
		PERFORM pg_sleep(0.1);
		COMMIT;
	END LOOP;
END $$;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.durable_mark(), event_store.head();
SELECT max(position) FROM event_store.read_all(max_count => NULL);
COMMIT;

-- durable mark and horizon need a right to read
CREATE ROLE regress_es_nobody;
GRANT USAGE ON SCHEMA shop TO regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT event_store.horizon();
SELECT event_store.durable_mark();
SELECT * FROM event_store.in_flight();
RESET ROLE;
DROP SCHEMA shop CASCADE;
DROP ROLE regress_es_nobody;
