/* what becomes of streams: limits, scavenging, hard deletion, links */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop;
CREATE FUNCTION pg_temp.versions(stream text, direction text DEFAULT 'forward') RETURNS text LANGUAGE sql
AS $$SELECT coalesce(string_agg(version::text, ' '), 'none') FROM event_store.read_stream(stream, direction => direction)$$;
CREATE FUNCTION pg_temp.stored(stream text) RETURNS text LANGUAGE sql
AS $$SELECT coalesce(string_agg(version::text, ' ' ORDER BY position), 'none') FROM event_store.read_all() a WHERE a.stream = stored.stream$$;
CREATE FUNCTION pg_temp.broken() RETURNS TABLE (invariant text, violations bigint, example text) LANGUAGE sql
AS $$SELECT * FROM event_store.verify_store() v WHERE v.violations <> 0$$;
CREATE FUNCTION pg_temp.fill(stream text, n int, age interval DEFAULT '0') RETURNS bigint LANGUAGE sql
AS $$SELECT last_version FROM event_store.append(stream,
	(SELECT jsonb_agg(jsonb_build_object('type', 'E', 'data', i, 'created_at', now() - age)) FROM generate_series(1, n) i))$$;

-- truncation hides at once, in the stream alone
SELECT pg_temp.fill('t-1', 5);
SELECT event_store.truncate_stream('t-1', 3);
SELECT pg_temp.versions('t-1'), pg_temp.versions('t-1', 'backward'), pg_temp.stored('t-1');
SELECT version FROM event_store.read_stream('t-1', 1, 2);
SELECT count(*) FROM event_store.read_stream('t-1', 2, 10, 'backward');
SELECT version, first_version, truncate_before, last_position FROM event_store.stream_info('t-1');
SELECT count(*) FROM event_store.event((SELECT event_id FROM event_log WHERE stream_id = 1 AND version = 1));
-- it only rises, and ends where the stream ends
SELECT event_store.truncate_stream('t-1', 2), event_store.truncate_stream('t-1', 3);
SELECT event_store.truncate_stream('t-1', 7);
SELECT event_store.truncate_stream('t-1', 0);
SELECT event_store.truncate_stream('t-1', -9223372036854775808);
SELECT event_store.truncate_stream('t-1', 9223372036854775807);
SELECT event_store.truncate_stream('nobody', 1);
SELECT event_store.truncate_stream(NULL, 1) IS NULL AS nothing;
SELECT event_store.truncate_stream('t-1', 6);
SELECT pg_temp.versions('t-1'), event_store.stream_version('t-1'), pg_temp.stored('t-1');
SELECT first_version FROM event_store.stream_info('t-1');
-- versions go on, and what is expected of it is what was
SELECT event_store.append_event('t-1', 'F', expected => 'no_stream');
SELECT event_store.append_event('t-1', 'F', expected => 4);
CALL event_store.scavenge_store();
SELECT pg_temp.versions('t-1'), event_store.stream_version('t-1'), pg_temp.stored('t-1');
SELECT event_store.append_event('t-1', 'F', expected => 'no_stream');
SELECT event_store.append_event('t-1', 'F', expected => 0);
SELECT first_version FROM event_store.append_event('t-1', 'F', expected => 5);
SELECT pg_temp.versions('t-1'), pg_temp.stored('t-1');
SELECT * FROM pg_temp.broken();
-- twice in one statement, and with an append
SELECT event_store.truncate_stream('t-2', 2), event_store.truncate_stream('t-2', 3)
FROM (SELECT pg_temp.fill('t-2', 3) OFFSET 0) f WHERE f.fill = 3;
BEGIN;
SELECT event_store.truncate_stream('t-2', 4);
SELECT pg_temp.versions('t-2');
ROLLBACK;
SELECT pg_temp.versions('t-2');

-- a retry is recognised as long as its events are there
SELECT first_version FROM event_store.append('r', '[{"type": "A", "data": 1, "event_id": "a0000000-0000-4000-8000-000000000001"}]', 0);
SELECT last_version FROM event_store.append_event('r', 'B');
SELECT event_store.truncate_stream('r', 2);
SELECT first_version FROM event_store.append('r', '[{"type": "A", "data": 1, "event_id": "a0000000-0000-4000-8000-000000000001"}]', 0);
CALL event_store.scavenge_store();
SELECT first_version FROM event_store.append('r', '[{"type": "A", "data": 1, "event_id": "a0000000-0000-4000-8000-000000000001"}]', 0);

-- at most so many
SELECT pg_temp.fill('c-1', 10);
SELECT event_store.set_stream_metadata('c-1', max_count => 3);
SELECT pg_temp.versions('c-1'), pg_temp.versions('c-1', 'backward');
SELECT pg_temp.fill('c-1', 1);
SELECT pg_temp.versions('c-1'), pg_temp.stored('c-1');
SELECT event_store.set_stream_metadata('c-1', max_count => 5);
SELECT pg_temp.versions('c-1');
SELECT event_store.set_stream_metadata('c-1', max_count => 4);
CALL event_store.scavenge_store(batch_size => 2);
SELECT pg_temp.stored('c-1'), truncate_before, first_version FROM event_store.stream_info('c-1');
-- what is gone stays gone without the limit
SELECT event_store.set_stream_metadata('c-1');
SELECT pg_temp.versions('c-1'), truncate_before, max_count FROM event_store.stream_info('c-1');
SELECT * FROM pg_temp.broken();

-- at most so old: the beginning goes up to the first that is young, the last event stays
SELECT pg_temp.fill('a-1', 2, '3 days'), pg_temp.fill('a-1', 1, '1 hour'), pg_temp.fill('a-1', 1, '3 days'), pg_temp.fill('a-1', 1);
SELECT event_store.set_stream_metadata('a-1', max_age => '1 day');
SELECT pg_temp.versions('a-1'), pg_temp.versions('a-1', 'backward'), max_age, first_version FROM event_store.stream_info('a-1');
SELECT pg_temp.fill('a-2', 3, '3 days');
SELECT event_store.set_stream_metadata('a-2', '{"keep": "short"}', '1 day', 100);
SELECT pg_temp.versions('a-2'), version, first_version, metadata FROM event_store.stream_info('a-2');
CALL event_store.scavenge_store();
SELECT pg_temp.stored('a-1') AS a1, pg_temp.stored('a-2') AS a2;
SELECT first_version FROM event_store.append_event('a-2', 'F', expected => 3);
SELECT pg_temp.versions('a-2');
SELECT * FROM pg_temp.broken();

-- metadata, and bad limits
SELECT event_store.stream_metadata('a-2'), event_store.stream_metadata('a-1'), event_store.stream_metadata('nobody');
SELECT stream, metadata FROM event_store.streams(category => 'a');
SELECT event_store.set_stream_metadata('a-2', '[1]');
SELECT event_store.set_stream_metadata('a-2', max_count => 0);
SELECT event_store.set_stream_metadata('a-2', max_age => '0');
SELECT event_store.set_stream_metadata('a-2', max_age => '-1 day');
SELECT event_store.set_stream_metadata('a-2', max_age => '170000000 years');
SELECT event_store.set_stream_metadata('nobody', max_count => 1);
SELECT event_store.set_stream_metadata(NULL, max_count => 1);
SELECT event_store.set_stream_metadata('$all', max_count => 1);
SELECT metadata, max_age, max_count FROM event_store.stream_info('a-2');
CALL event_store.scavenge_store(0);
CALL event_store.scavenge_store(delay => '-1 s');
CALL event_store.scavenge_store(delay => '2 hours');
CALL event_store.scavenge_store(NULL);

-- an aggregate does not begin in the middle
CREATE FUNCTION shop.add(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN to_jsonb(state::int + data::int);
SELECT event_store.register_aggregate('sum', apply => 'shop.add', initial => '0');
SELECT pg_temp.fill('sum-1', 4), pg_temp.fill('sum-2', 4);
SELECT event_store.take_snapshot('sum', '1');
SELECT pg_temp.fill('sum-1', 2);
SELECT event_store.truncate_stream('sum-1', 4), event_store.truncate_stream('sum-2', 2);
SELECT * FROM event_store.rehydrate('sum', '1');
SELECT * FROM event_store.rehydrate('sum', '2');
SELECT * FROM event_store.rehydrate('sum', '2', as_of_version => 0);
SELECT * FROM event_store.rehydrate('sum', '1', as_of_version => 5);
SELECT * FROM event_store.rehydrate('sum', '1', as_of_version => 3);
SELECT * FROM event_store.rehydrate('sum', '1', as_of_time => 'infinity');
SELECT event_store.take_snapshot('sum', '2');
CALL event_store.scavenge_store();
SELECT * FROM event_store.rehydrate('sum', '1');
SELECT event_store.truncate_stream('sum-1', 6);
SELECT * FROM event_store.rehydrate('sum', '1');

-- links
SELECT pg_temp.fill('source-1', 3);
SELECT event_id AS second FROM event_store.read_stream('source-1', 2, 1) \gset
SELECT event_id AS third FROM event_store.read_stream('source-1', 3, 1) \gset
SELECT first_version, last_version FROM event_store.link_event('basket-1', :'third', 'no_stream');
SELECT first_version FROM event_store.link_event('basket-1', :'second', 1);
SELECT first_version FROM event_store.link_event('basket-1', :'second', 1);
SELECT first_version FROM event_store.append_event('basket-1', 'Own');
SELECT version, type, data - 'position' AS data, (data ->> 'position')::bigint < position AS after FROM event_store.read_stream('basket-1', max_count => 2);
SELECT stream, version, type, data FROM event_store.read_stream('basket-1', resolve_links => true);
SELECT stream, version, type, data FROM event_store.read_stream('basket-1', 2, 2, 'backward', true);
SELECT stream, version FROM event_store.read_all(types => '{$>}');
-- a link to a link leads to that one's target
SELECT first_version FROM event_store.link_event('basket-2', (SELECT event_id FROM event_store.read_stream('basket-1', 1, 1)));
SELECT stream, version FROM event_store.read_stream('basket-2', resolve_links => true);
-- an event of the same transaction; a stream to itself
BEGIN;
SELECT last_version FROM event_store.append_event('source-2', 'E', event_id => 'b0000000-0000-4000-8000-000000000001');
SELECT last_version FROM event_store.link_event('source-2', 'b0000000-0000-4000-8000-000000000001');
COMMIT;
SELECT stream, version, type FROM event_store.read_stream('source-2', resolve_links => true);
-- what does not exist, what is closed
SELECT event_store.link_event('basket-1', 'c0000000-0000-4000-8000-000000000001');
SELECT event_store.link_event('basket-1', NULL);
SELECT event_store.link_event('$basket', :'second');
SELECT event_store.append_event('basket-1', '$>', '{"position": 1}');
SELECT event_store.delete_stream('basket-2');
SELECT event_store.link_event('basket-2', :'second');
SELECT event_store.read_stream('basket-1', resolve_links => NULL);
-- a soft deleted stream's events are still led to, those that are gone are not
SELECT event_store.delete_stream('source-2');
SELECT last_version FROM event_store.link_event('basket-3', 'b0000000-0000-4000-8000-000000000001');
SELECT stream, version, type FROM event_store.read_stream('basket-3', resolve_links => true);
SELECT event_store.truncate_stream('source-1', 3);
SELECT count(*) FROM event_store.read_stream('basket-1', resolve_links => true) WHERE stream = 'source-1';
CALL event_store.scavenge_store();
SELECT stream, version, type FROM event_store.read_stream('basket-1', resolve_links => true);
\set VERBOSITY sqlstate
SELECT event_store.link_event('basket-3', (SELECT event_id FROM event_store.read_stream('basket-1', 2, 1)));
\set VERBOSITY terse

-- hard deletion, only where it is enabled
SELECT event_store.delete_stream('sum-1', hard => true);
SET event_store.enable_hard_delete = on;
CREATE TABLE shop.refers (stream_id bigint, version bigint, FOREIGN KEY (stream_id, version) REFERENCES event_log);
INSERT INTO refers SELECT stream_id, 6 FROM event_streams WHERE stream_name = 'sum-1';
SELECT event_store.delete_stream('sum-1', 6, true);
DROP TABLE refers;
SELECT event_store.delete_stream('sum-1', 5, true);
SELECT event_store.delete_stream('nobody', hard => true);
SELECT event_store.delete_stream('nobody', 'any', true);
SELECT event_id AS lost FROM event_store.read_stream('sum-1') LIMIT 1 \gset
BEGIN;
SELECT event_store.delete_stream('sum-1', 6, true);
SELECT pg_temp.stored('sum-1');
ROLLBACK;
SELECT pg_temp.versions('sum-1');
SELECT event_store.delete_stream('sum-1', 6, true);
SELECT stream, version, type, jsonb_build_object('events', data -> 'events', 'first', data -> 'first_version', 'last', data -> 'last_version',
	'by', data ->> 'role' = current_user, 'session', data ->> 'session_role' = session_user) AS data
FROM event_store.read_all(types => '{$stream-deleted}');
SELECT stream, status, version, last_position = event_store.head() AS last, first_version, truncate_before FROM event_store.stream_info('sum-1');
SELECT count(*) FROM event_snapshots s JOIN event_streams USING (stream_id) WHERE stream_name = 'sum-1';
SELECT count(*) FROM event_store.event(:'lost');
SELECT event_store.read_stream('sum-1');
SELECT event_store.append_event('sum-1', 'E', expected => 'no_stream');
SELECT event_store.rehydrate('sum', '1');
SELECT event_store.delete_stream('sum-1', 'any', true);
SELECT event_store.delete_stream('sum-1');
SELECT event_store.truncate_stream('sum-1', 7);
SELECT event_store.set_stream_metadata('sum-1', max_count => 1);
SELECT event_store.link_event('sum-1', :'third');
-- after a soft one, of a stream with metadata, and of a target of links
SELECT event_store.delete_stream('a-2');
SELECT event_store.delete_stream('a-2', 4, hard => true);
SELECT status, version, metadata, max_age FROM event_store.stream_info('a-2');
SELECT event_store.delete_stream('source-1', hard => true);
SELECT stream, version, type FROM event_store.read_stream('basket-1', resolve_links => true);
SELECT * FROM pg_temp.broken();
-- made, limited, deleted in one transaction
BEGIN;
SELECT pg_temp.fill('short-1', 2);
SELECT event_store.set_stream_metadata('short-1', max_count => 1);
CALL event_store.scavenge_store();
SELECT event_store.delete_stream('short-1', 2, true);
COMMIT;
SELECT pg_temp.stored('short-1');
RESET event_store.enable_hard_delete;

-- the guard lets through only what a function is about to take away
CREATE FUNCTION shop.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM event_log WHERE stream_id = (SELECT stream_id FROM event_streams WHERE stream_name = 'c-1');
	RETURN old;
END $$;
CREATE TRIGGER meddle BEFORE DELETE ON event_log FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION meddle();
SELECT pg_temp.fill('t-1', 2), event_store.truncate_stream('t-1', 7);
CALL event_store.scavenge_store();
DROP TRIGGER meddle ON event_log;
CREATE FUNCTION shop.keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE DELETE ON event_log FOR EACH ROW EXECUTE FUNCTION keep();
CALL event_store.scavenge_store();
DROP TRIGGER keep ON event_log;
DELETE FROM event_log;
CALL event_store.scavenge_store();
DELETE FROM event_log;
SELECT pg_temp.stored('t-1'), pg_temp.versions('t-1');
SELECT * FROM pg_temp.broken();

-- several batches, and in a transaction block one of all
SELECT pg_temp.fill('big-' || n, 10) FROM generate_series(1, 3) n;
SELECT event_store.set_stream_metadata('big-' || n, max_count => 2) FROM generate_series(1, 3) n;
CALL event_store.scavenge_store(7, delay => '1 ms');
SELECT event_store.set_stream_metadata('big-' || n, max_count => 1) FROM generate_series(1, 3) n;
BEGIN;
CALL event_store.scavenge_store(2);
SELECT pg_temp.stored('big-1');
ROLLBACK;
SELECT pg_temp.stored('big-1');
DO $$
DECLARE
	events bigint;
	streams bigint;
	busy bigint;
BEGIN
	CALL event_store.scavenge_store(1, '0', events, streams, busy);
	RAISE NOTICE '% events of % streams', events, streams;
END $$;
-- more streams than one transaction looks at
SELECT count(event_store.set_stream_metadata('many-' || n, max_count => 1)) FROM generate_series(1, 250) n, LATERAL pg_temp.fill('many-' || n, 2) OFFSET 0;
CALL event_store.scavenge_store();
CALL event_store.scavenge_store();
SELECT * FROM pg_temp.broken();

-- rows hidden by row-level security are not taken away in part
CREATE ROLE regress_es_keeper;
SELECT event_store.grant_store('shop', 'regress_es_keeper', 'admin');
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
SET ROLE regress_es_keeper;
CALL event_store.scavenge_store();
RESET ROLE;
ALTER TABLE event_log DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_es_keeper;
DROP ROLE regress_es_keeper;
SELECT event_store.unregister_aggregate('sum');
DROP SCHEMA shop CASCADE;
