/* append: versions, shapes, ids, retries, limits */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop;

-- every form of a call
SELECT * FROM event_store.append_event('order-1', 'OrderPlaced', '{"total": 10}');
SELECT * FROM event_store.append('order-1', '[{"type": "A", "data": 1}, {"type": "B", "data": [2], "metadata": {"by": "me"}}]');
SELECT * FROM event_store.append('order-1', '[{"type": "C", "data": {}}]'::jsonb, 3);
SELECT * FROM event_store.append('order-1', '{"type": "D", "data": "one object"}', 4::bigint);
SELECT * FROM event_store.append('order-1', ARRAY[ROW('E', '{}', '{"x": 1}', NULL, NULL, NULL, NULL)::event_store.new_event], '5');
PREPARE untyped AS SELECT * FROM event_store.append($1, $2, $3);
EXECUTE untyped('order-1', '[{"type": "F", "data": {}}]', 'exists');
EXECUTE untyped('order-2', '[{"type": "F", "data": {}}]', 'no_stream');
SELECT * FROM event_store.append('order-2', '[{"type": "G", "data": {}}]', expected => '1'::text);
SELECT position, stream, version, type, data, metadata FROM event_store.read_all();

-- the wrong version (systems 2.3.1); no_stream, exists, deleted, $all, duplicate (systems 2.3.2)
\set VERBOSITY default
SELECT event_store.append_event('order-1', 'X', expected => 3);
\set VERBOSITY sqlstate
SELECT event_store.append_event('order-1', 'X', expected => 3);
SELECT event_store.append_event('order-1', 'X', expected => 8);
SELECT event_store.append_event('order-9', 'X', expected => 1);
SELECT event_store.append_event('order-1', 'X', expected => 0);
SELECT event_store.append_event('order-1', 'X', expected => 'no_stream');
SELECT event_store.append_event('order-9', 'X', expected => 'exists');
SELECT event_store.append_event('$all', 'X');
SELECT event_store.append_event('order-1', '$x');
SELECT event_store.read_stream('$all');
\set VERBOSITY terse
SELECT * FROM event_store.append_event('order-3', 'X', expected => 0);
SELECT event_store.delete_stream('order-3', expected => 2);
SELECT event_store.delete_stream('order-3', expected => 1);
SELECT event_store.append_event('order-3', 'X');
SELECT event_store.append_event('order-3', 'X', expected => 'no_stream');
SELECT * FROM event_store.read_stream('order-3');
SELECT stream, type FROM event_store.read_all(categories => ARRAY['order']) WHERE stream = 'order-3';

-- the same event id twice: nothing of the batch is stored
SELECT * FROM event_store.append('order-4', '[{"type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-000000000001"}]');
SELECT * FROM event_store.append('order-5', '[{"type": "A", "data": {}}, {"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000001"}]');
SELECT * FROM event_store.append('order-4', '[{"type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-000000000001"}]');
SELECT * FROM event_store.append('order-5', '[{"type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-000000000002"}, {"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000002"}]');
SELECT event_store.stream_version('order-4'), event_store.stream_version('order-5');

-- a retry with the expected version of the first try returns the first result
SELECT * FROM event_store.append('order-4', '[{"type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-000000000001"}]', 0);
SELECT * FROM event_store.append('order-4', '[{"type": "A", "data": {}, "event_id": "00000000-0000-4000-8000-000000000001"}]', 'no_stream');
SELECT * FROM event_store.append('order-4', '[{"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000003"}, {"type": "C", "data": {}, "event_id": "00000000-0000-4000-8000-000000000004"}]', 1);
SELECT * FROM event_store.append('order-4', '[{"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000003"}, {"type": "C", "data": {}, "event_id": "00000000-0000-4000-8000-000000000004"}]', 1);
-- some of them, others, another order: no retry
SELECT * FROM event_store.append('order-4', '[{"type": "C", "data": {}, "event_id": "00000000-0000-4000-8000-000000000004"}, {"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000003"}]', 1);
SELECT * FROM event_store.append('order-4', '[{"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000003"}, {"type": "C", "data": {}}]', 1);
SELECT * FROM event_store.append('order-4', '[{"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000003"}]', 2);

-- ids made here: version 8, the store's number and the position; found by id; not to be imitated
SELECT bool_and(substr(event_id::text, 15, 1) = '8'), count(DISTINCT left(event_id::text, 18)) FROM event_store.read_stream('order-1');
SELECT e.position FROM event_store.read_stream('order-1', 3, 1) r, event_store.event(r.event_id) e;
SELECT stream, version FROM event_store.event('00000000-0000-4000-8000-000000000003');
SELECT count(*) FROM event_store.event('00000000-0000-4000-8000-00000000000f');
DO $$
BEGIN
	PERFORM event_store.append_event('order-6', 'X', event_id => (SELECT event_id FROM event_store.read_all(0, 1)));
EXCEPTION WHEN invalid_parameter_value THEN RAISE NOTICE 'refused';
END $$;
SELECT event_store.stream_version('order-6');

-- correlation, causation and a time of the caller's
SELECT last_version FROM event_store.append_event('order-7', 'X', correlation_id => '00000000-0000-4000-8000-00000000000a',
	causation_id => '00000000-0000-4000-8000-00000000000b', created_at => '2020-02-02 02:02:02+00');
SELECT correlation_id, causation_id, created_at AT TIME ZONE 'UTC' AS created_at FROM event_store.read_stream('order-7');

-- wrong shapes: the error names the index and the member
SELECT event_store.append('s', '[]');
SELECT event_store.append('s', '5');
SELECT event_store.append('s', '"x"');
SELECT event_store.append('s', 'no json');
SELECT event_store.append('s', '[5]');
SELECT event_store.append('s', '[[]]');
SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"data": 1}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "A"}]');
SELECT event_store.append('s', '[{"type": "A", "data": null}]');
SELECT event_store.append('s', '[{"type": 1, "data": 1}]');
SELECT event_store.append('s', '[{"type": "", "data": 1}]');
SELECT event_store.append('s', '[{"type": null, "data": 1}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "metadata": [1]}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "meta": {}}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "event_id": "x"}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "event_id": 7}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "created_at": "no time"}]');
SELECT event_store.append('s', '[{"type": "A", "data": 1, "created_at": "infinity"}]');
SELECT event_store.append('s', ARRAY[NULL]::event_store.new_event[]);
SELECT event_store.append('s', ARRAY[]::event_store.new_event[]);
SELECT event_store.append('s', ARRAY[ROW(NULL, '{}', NULL, NULL, NULL, NULL, NULL)::event_store.new_event]);
SELECT event_store.append(NULL, '[{"type": "A", "data": 1}]');
SELECT event_store.append('s', NULL::jsonb);
SELECT event_store.append('s', '[{"type": "A", "data": 1}]', NULL);
SELECT event_store.append_event('s', NULL);
SELECT event_store.append_event('s', 'A', NULL);
SELECT event_store.append_event('s', 'A', 'no json');
SELECT event_store.append_event('s', 'A', '1', '{"a": 1');
SELECT event_store.append_event('s', 'A', '1', '[]');
SELECT event_store.append_event('', 'A');
SELECT event_store.append_event(repeat('x', 513), 'A');
SELECT event_store.append_event('s', repeat('x', 513));
SELECT event_store.append_event('s', 'A', expected => -1);
SELECT event_store.append_event('s', 'A', expected => '-1');
SELECT event_store.append_event('s', 'A', expected => 'soon');
SELECT event_store.append_event('s', 'A', expected => '99999999999999999999');
SELECT event_store.append_event('s', 'A', expected => 9223372036854775807);
SELECT event_store.stream_version('s');

-- limits
SELECT event_store.append_event('s', 'A', to_jsonb(repeat('x', 1024 * 1024)));
SELECT event_store.append_event('s', 'A', (repeat('[', 101) || repeat(']', 101))::jsonb);
SELECT last_version FROM event_store.append_event('s', 'A', (repeat('[', 100) || repeat(']', 100))::jsonb);
SELECT last_version FROM event_store.append_event('s', 'A', to_jsonb(repeat('x', 1000 * 1024)));
SELECT length(data #>> '{}') FROM event_store.read_stream('s', 2);
SET event_store.max_batch_events = 2;
SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "A", "data": 1}, {"type": "A", "data": 1}]');
RESET event_store.max_batch_events;
SELECT last_version - first_version AS n FROM event_store.append('big', (SELECT jsonb_agg(jsonb_build_object('type', 'N', 'data', n)) FROM generate_series(1, 2345) n));
SELECT bool_and(data = to_jsonb(version)), count(*) FROM event_store.read_stream('big', max_count => NULL);
SELECT count(*) = max(position) - min(position) + 1 AS contiguous FROM event_store.read_stream('big', max_count => NULL);

-- several calls in one transaction are atomic together; savepoints undo their part
BEGIN;
SELECT first_version FROM event_store.append_event('tx-1', 'A');
SELECT first_version FROM event_store.append_event('tx-1', 'B', expected => 1);
SAVEPOINT a;
SELECT first_version FROM event_store.append_event('tx-1', 'C');
SELECT first_version FROM event_store.append_event('tx-2', 'C');
ROLLBACK TO a;
SELECT first_version FROM event_store.append_event('tx-1', 'D', expected => 2);
SELECT first_version FROM event_store.append_event('tx-2', 'D', expected => 'no_stream');
COMMIT;
SELECT stream, version, type FROM event_store.read_all(categories => ARRAY['tx']);
BEGIN;
SELECT first_version FROM event_store.append_event('tx-3', 'A');
ROLLBACK;
SELECT event_store.stream_version('tx-3');
SELECT first_version FROM event_store.append_event('tx-3', 'A', expected => 'no_stream');
-- two appends in one statement see each other, at every isolation level
SELECT a.first_version, b.first_version FROM event_store.append_event('tx-4', 'A') a, event_store.append_event('tx-4', 'B', expected => 1) b;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT a.first_version, b.first_version FROM event_store.append_event('tx-5', 'A') a, event_store.append_event('tx-5', 'B', expected => 1) b;
SELECT first_version FROM event_store.append_event('tx-5', 'C', expected => 2);
COMMIT;

-- more streams than locks are held one by one
SET event_store.max_stream_locks = 10;
BEGIN;
SELECT count(event_store.append_event('many-' || n, 'A')) FROM generate_series(1, 100) n;
SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND pid = pg_backend_pid();
COMMIT;
RESET event_store.max_stream_locks;
SELECT count(*) FROM event_store.read_category('many');

-- events do not change, whoever asks
INSERT INTO event_log SELECT * FROM event_log LIMIT 1;
UPDATE event_log SET version = 99 WHERE version = 1;
DELETE FROM event_log;
TRUNCATE event_log;
DELETE FROM event_streams;
SET session_replication_role = replica;
DELETE FROM event_log;
RESET session_replication_role;

-- read-only
BEGIN READ ONLY;
SELECT event_store.append_event('s', 'A');
ROLLBACK;

-- JSON text: untyped literals and parameters are text, next to a jsonb they are jsonb
PREPARE untyped_event AS SELECT last_version FROM event_store.append_event($1, $2, $3, $4);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped_event';
EXECUTE untyped_event('text-1', 'A', ' "text" ', '{"b": 1.50, "a": [], "b": 2}');
SELECT last_version FROM event_store.append_event('text-1', 'B', to_jsonb(7), '{"by": "jsonb"}');
SELECT last_version FROM event_store.append_event('text-1', 'C', 'null'::text, expected => 2);
SELECT version, type, data, metadata FROM event_store.read_stream('text-1');

-- the other path: a table with a trigger and a constraint of the user's own
SELECT event_store.create_store('watched');
SET search_path = watched, public;
CREATE FUNCTION watched.note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE NOTICE 'stored % %', NEW.event_type, NEW.version; RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT ON watched.event_log FOR EACH ROW EXECUTE FUNCTION watched.note();
ALTER TABLE watched.event_log ADD CHECK (event_type <> 'Forbidden');
SELECT * FROM event_store.append('order-1', '[{"type": "A", "data": 1}, {"type": "B", "data": 2, "event_id": "00000000-0000-4000-8000-000000000001"}]');
SELECT * FROM event_store.append_event('order-1', 'Forbidden');
SELECT * FROM event_store.append_event('order-2', 'C', event_id => '00000000-0000-4000-8000-000000000001');
SELECT * FROM event_store.append_event('order-1', 'C', expected => 1);
SELECT position, stream, version, type, data FROM event_store.read_all();
INSERT INTO event_log SELECT * FROM event_log LIMIT 1;
CREATE FUNCTION watched.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON watched.event_log FOR EACH ROW EXECUTE FUNCTION watched.swallow();
SELECT * FROM event_store.append_event('order-1', 'D');
DROP TRIGGER swallow ON watched.event_log;
CREATE RULE swallow AS ON INSERT TO watched.event_log DO INSTEAD NOTHING;
SELECT * FROM event_store.append_event('order-1', 'D');
DROP SCHEMA watched CASCADE;

-- an expected version of every type of integer, as literal, constant and parameter
SET search_path = shop;
SELECT first_version FROM event_store.append_event('typed', 'A', expected => 0::smallint);
SELECT first_version FROM event_store.append_event('typed', 'A', expected => '1');
PREPARE typed(smallint) AS SELECT first_version FROM event_store.append('typed', '{"type": "A", "data": 1}', $1);
EXECUTE typed(2);
SELECT first_version FROM event_store.append('typed', '{"type": "A", "data": 1}'::jsonb, event_store.stream_version('typed')::smallint);
SELECT event_store.append_event('typed', 'A', expected => (-1)::smallint);
SELECT event_store.append_event('typed', 'A', expected => 4::smallint + 1);
DROP SCHEMA shop CASCADE;
