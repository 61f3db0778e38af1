/* append_many: several streams at once, checks, positions, all failures in one error, retries, limits */
SELECT event_store.create_store('shop');
SET search_path = shop;

-- matrix: streams in one call, each with its own expected version, in one block of positions in the order of the array
SELECT * FROM event_store.append_many('[
	{"stream": "order-1", "events": [{"type": "Placed", "data": 1}, {"type": "Paid", "data": 2}], "expected": "no_stream"},
	{"stream": "stock-7", "events": {"type": "Reserved", "data": {}}},
	{"stream": "order-2", "events": [{"type": "Placed", "data": 3}], "expected": 0}]');
SELECT position, stream, version, type, data FROM event_store.read_all();
SELECT * FROM event_store.append_many('[
	{"stream": "order-2", "events": [{"type": "Paid", "data": {}}], "expected": 1},
	{"stream": "order-3", "expected": "no_stream"},
	{"stream": "order-1", "expected": 2, "events": []},
	{"stream": "stock-7", "expected": "exists", "events": null},
	{"stream": "order-4", "events": [{"type": "Placed", "data": {}}], "expected": "any"}]'::jsonb);
PREPARE untyped AS SELECT * FROM event_store.append_many($1);
EXECUTE untyped('[{"stream": "order-1", "expected": "2"}]');

-- what is only checked is not made, and takes no position
SELECT event_store.stream_version('order-3'), count(*) FROM event_log;

-- all that fails is reported at once, and nothing is stored
SELECT event_store.delete_stream('order-4');
SELECT * FROM event_store.append_many('[
	{"stream": "order-1", "events": [{"type": "Shipped", "data": {}}], "expected": 2},
	{"stream": "order-2", "events": [{"type": "Shipped", "data": {}}], "expected": 1},
	{"stream": "stock-7", "expected": "no_stream"},
	{"stream": "order-3", "events": [{"type": "Placed", "data": {}}], "expected": "exists"},
	{"stream": "order-4", "events": [{"type": "Placed", "data": {}}]}]');
SELECT * FROM event_store.append_many('[{"stream": "order-4", "events": [{"type": "Placed", "data": {}}]}, {"stream": "order-1", "expected": 1}]');
SELECT * FROM event_store.append_many('[{"stream": "a \"b\"\n", "expected": 7}]');
SELECT event_store.stream_version('order-1'), event_store.stream_version('order-2'), count(*) FROM event_log;
\set VERBOSITY terse

-- a retry returns what the first call returned; what was only checked may have moved on
SELECT $$[
	{"stream": "r-1", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"},
		{"type": "B", "data": 1, "event_id": "00000000-0000-4000-8000-000000000002"}], "expected": "no_stream"},
	{"stream": "order-1", "expected": 2},
	{"stream": "r-2", "events": [{"type": "C", "data": 1, "event_id": "00000000-0000-4000-8000-000000000003"}], "expected": 0}]$$ AS retry \gset
SELECT * FROM event_store.append_many(:'retry');
SELECT last_version FROM event_store.append_event('order-1', 'Shipped');
SELECT last_version FROM event_store.append_event('r-1', 'D');
SELECT * FROM event_store.append_many(:'retry');
-- a part that is new, or that says any, is no retry
SELECT * FROM event_store.append_many('[
	{"stream": "r-1", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}], "expected": "no_stream"},
	{"stream": "r-3", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000004"}], "expected": "no_stream"}]');
SELECT * FROM event_store.append_many('[
	{"stream": "r-1", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}], "expected": "no_stream"},
	{"stream": "r-3", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000004"}]}]');
SELECT event_store.stream_version('r-3');

-- ids: in the store already, twice in the call, one of the store's own
\set VERBOSITY default
SELECT * FROM event_store.append_many('[
	{"stream": "r-4", "events": [{"type": "A", "data": 1}, {"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-00000000000a"}]},
	{"stream": "r-5", "events": [{"type": "A", "data": 1}, {"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000003"}]}]');
SELECT * FROM event_store.append_many('[
	{"stream": "r-4", "events": [{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-00000000000a"}]},
	{"stream": "r-5", "events": [{"type": "A", "data": 1}, {"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-00000000000a"}]}]');
\set VERBOSITY terse
SELECT event_id AS made FROM event_log WHERE position = 1 \gset
\set VERBOSITY sqlstate
SELECT event_store.append_many(format('[{"stream": "r-4", "events": [{"type": "A", "data": 1, "event_id": "%s"}]}]', :'made'));
\set VERBOSITY default

-- wrong shapes: the error names the element, and the event in it
SELECT event_store.append_many('[{"stream": "s", "events": [{"type": "A", "data": 1}]}, {"stream": "t", "events": [{"type": "A", "data": 1}, {"type": "B"}]}]');
SELECT event_store.append_many('[{"stream": "s", "expected": 0}, {"stream": "t", "expected": 0}, {"stream": "s", "expected": 0}]');
SELECT event_store.append_many('[{"stream": "s", "expected": 0}, {"stream": "$t", "expected": 0}]');
SELECT event_store.append_many('[{"stream": "s", "expected": 0}, {"stream": "t", "expected": "soon"}]');
\set VERBOSITY terse
SELECT event_store.append_many('{}');
SELECT event_store.append_many('5');
SELECT event_store.append_many('[]');
SELECT event_store.append_many('[5]');
SELECT event_store.append_many('[[]]');
SELECT event_store.append_many('[{}]');
SELECT event_store.append_many('[{"stream": 5, "expected": 0}]');
SELECT event_store.append_many('[{"stream": null, "expected": 0}]');
SELECT event_store.append_many('[{"stream": "", "expected": 0}]');
SELECT event_store.append_many('[{"stream": "s"}]');
SELECT event_store.append_many('[{"stream": "s", "events": []}]');
SELECT event_store.append_many('[{"stream": "s", "events": [], "expected": "any"}]');
SELECT event_store.append_many('[{"stream": "s", "events": "x"}]');
SELECT event_store.append_many('[{"stream": "s", "events": [5]}]');
SELECT event_store.append_many('[{"stream": "s", "expected": 1.5}]');
SELECT event_store.append_many('[{"stream": "s", "expected": -1}]');
SELECT event_store.append_many('[{"stream": "s", "expected": true}]');
SELECT event_store.append_many('[{"stream": "s", "expect": 0}]');
SELECT event_store.append_many(NULL::jsonb);
SELECT event_store.append_many(NULL);
SELECT event_store.append_many('no json');
SET event_store.max_batch_events = 2;
SELECT event_store.append_many('[{"stream": "s", "expected": 0}, {"stream": "t", "expected": 0}, {"stream": "u", "expected": 0}]');
SELECT event_store.append_many('[{"stream": "s", "events": [{"type": "A", "data": 1}, {"type": "A", "data": 1}]}, {"stream": "t", "events": {"type": "A", "data": 1}}]');
RESET event_store.max_batch_events;
BEGIN READ ONLY;
SELECT event_store.append_many('[{"stream": "s", "expected": 0}]');
ROLLBACK;
SELECT event_store.stream_version('s');

-- several calls in one transaction, and a savepoint
BEGIN;
SELECT index, first_version FROM event_store.append_many('[{"stream": "t-1", "events": {"type": "A", "data": 1}}, {"stream": "t-2", "events": {"type": "A", "data": 1}}]');
SAVEPOINT a;
SELECT index, first_version FROM event_store.append_many('[{"stream": "t-2", "events": {"type": "B", "data": 1}, "expected": 1}, {"stream": "t-3", "events": {"type": "A", "data": 1}}]');
ROLLBACK TO a;
SELECT index, first_version FROM event_store.append_many('[{"stream": "t-3", "events": {"type": "C", "data": 1}, "expected": 0}, {"stream": "t-1", "events": {"type": "C", "data": 1}, "expected": 1}]');
COMMIT;
SELECT stream, version, type FROM event_store.read_category('t') ORDER BY stream, version;

-- more rows than one multi-insert, parts of all sizes with checks between them
SELECT count(*) AS parts, sum(last_version - first_version + 1) AS events, count(*) FILTER (WHERE first_version IS NULL) AS checks
FROM event_store.append_many((SELECT jsonb_agg(jsonb_build_object('stream', 'n-' || n, 'expected', 0,
	'events', (SELECT coalesce(jsonb_agg(jsonb_build_object('type', 'N', 'data', jsonb_build_array(n, k)) ORDER BY k), '[]') FROM generate_series(1, n % 7) k)) ORDER BY n)
	FROM generate_series(1, 1000) n));
SELECT count(*), max(position) - min(position) + 1 AS block,
	bool_and(data = jsonb_build_array(split_part(stream, '-', 2)::int, version)) AS in_place,
	bool_and(position > before OR before IS NULL) AS in_order
FROM (SELECT *, lag(position) OVER (ORDER BY split_part(stream, '-', 2)::int, version) AS before FROM event_store.read_category('n', max_count => NULL)) x;

-- streams locked one by one up to the limit, from there on the log (reliability 12)
SET event_store.max_stream_locks = 10;
BEGIN;
SELECT count(*) FROM event_store.append_many((SELECT jsonb_agg(jsonb_build_object('stream', 'few-' || n, 'events', '{"type": "A", "data": 1}'::jsonb)) FROM generate_series(1, 10) n));
SELECT count(*) FROM event_store.append_many((SELECT jsonb_agg(jsonb_build_object('stream', 'few-' || n, 'events', '{"type": "A", "data": 1}'::jsonb)) FROM generate_series(1, 10) n));
SELECT locktype, mode, count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'userlock' OR relation = 'event_log'::regclass AND mode <> 'AccessShareLock') GROUP BY 1, 2 ORDER BY 1, 2;
COMMIT;
BEGIN;
SELECT count(*) FROM event_store.append_many((SELECT jsonb_agg(jsonb_build_object('stream', 'few-' || n, 'events', '{"type": "A", "data": 1}'::jsonb)) FROM generate_series(1, 11) n));
SELECT locktype, mode, count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'userlock' OR relation = 'event_log'::regclass AND mode <> 'AccessShareLock') GROUP BY 1, 2 ORDER BY 1, 2;
COMMIT;
RESET event_store.max_stream_locks;

-- the other path: a table with a trigger of the user's own
CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.event_type = 'Skipped' THEN RETURN NULL; ELSIF NEW.event_type = 'Moved' THEN NEW.position := NEW.position + 1000; END IF;
	RAISE NOTICE 'stored % %', NEW.event_type, NEW.version; RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT ON shop.event_log FOR EACH ROW EXECUTE FUNCTION shop.note();
SELECT index, stream, first_version, last_version FROM event_store.append_many('[
	{"stream": "w-1", "events": [{"type": "A", "data": 1}, {"type": "B", "data": 1}]},
	{"stream": "w-3", "expected": 0},
	{"stream": "w-2", "events": [{"type": "C", "data": 1}]}]');
\set VERBOSITY default
SELECT event_store.append_many('[{"stream": "w-3", "events": {"type": "A", "data": 1}}, {"stream": "w-1", "events": {"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}}]');
SELECT event_store.append_many('[{"stream": "w-3", "events": {"type": "A", "data": 1}}, {"stream": "w-1", "events": [{"type": "A", "data": 1}, {"type": "Skipped", "data": 1}]}]');
SELECT event_store.append_many('[{"stream": "w-3", "events": {"type": "A", "data": 1}}, {"stream": "w-1", "events": [{"type": "A", "data": 1}, {"type": "Moved", "data": 1}]}]');
\set VERBOSITY terse
DROP SCHEMA shop CASCADE;
