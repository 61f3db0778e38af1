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

-- tokens: a position that comes back is checked
SELECT event_store.create_store('told');
SET search_path = told, public;
SELECT event_store.append('s-1', '[{"type": "A", "data": {}}, {"type": "B", "data": {}}]') IS NOT NULL AS appended;
SELECT event_store.token(2) ~ '^2:1:\d+:\d+:\d+$' AS token, event_store.token_position(event_store.token(2)) AS position;
SELECT position FROM event_store.read_all(event_store.token_position(event_store.token(1)));
SELECT event_store.token_position(event_store.token(0)), event_store.token(NULL) IS NULL AS none, event_store.token_position(NULL) IS NULL AS none;
-- no token of what is not final, or not there
SELECT event_store.token(3);
SELECT event_store.token(-1);
BEGIN;
SELECT first_position FROM event_store.append_event('s-1', 'C');
SELECT event_store.token(3);
ROLLBACK;
-- no token at all, or not quite
SELECT event_store.token_position('');
SELECT event_store.token_position('2');
SELECT event_store.token_position('2:1:1:1:1 ');
SELECT event_store.token_position('+2:1:1:1:1');
SELECT event_store.token_position('-2:1:1:1:1');
SELECT event_store.token_position('99999999999999999999:1:1:1:1');
SELECT event_store.token_position('2:4294967297:1:1:1');
-- of another store, another server, ahead of this one
SELECT event_store.create_store('other');
SELECT set_config('told.token', event_store.token(2), false) IS NOT NULL AS kept;
SET search_path = other, public;
SELECT event_store.token_position(current_setting('told.token'));
SET search_path = told, public;
SELECT event_store.token_position('2:1:1:1:1');
SELECT event_store.token_position(regexp_replace(event_store.token(2), '^2:1:', '2:2:'));
SELECT event_store.token_position(regexp_replace(event_store.token(2), '^2', '999'));
SELECT event_store.drop_store('told', 'told'), event_store.drop_store('other', 'other');
