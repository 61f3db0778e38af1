/* conditions: tags, queries over types and tags, appends that stand if nothing has come that matches */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop, public;

-- without tags a store takes no conditions, and whatever stands in the metadata is none of its business
SELECT last_position FROM event_store.append('student-s1', '[{"type": "StudentRegistered", "data": {}, "metadata": {"tags": ["student:s1", "student:s1"]}},
	{"type": "Other", "data": {}, "metadata": {"tags": "no list"}}, {"type": "Other", "data": {}, "metadata": {"tags": ["", 3, null]}}]');
SELECT event_store.append('x-1', '[{"type": "X", "data": 1}]', condition => '[{"tags": ["student:s1"]}]');
SELECT head, position, type FROM event_store.read_by_query('{"tags": ["student:s1"]}');
SELECT event_store.disable_tags();
SELECT event_store.enable_tags();
SELECT event_store.enable_tags();
\d shop.event_tags
SELECT * FROM event_tags ORDER BY 1, 2;

-- tags of events, in every form of an append
SELECT last_position FROM event_store.append_event('course-c1', 'CourseDefined', '{"seats": 2}', '{"tags": ["course:c1", "term:1"]}');
SELECT last_position FROM event_store.append('course-c2', ARRAY[ROW('CourseDefined', '{"seats": 9}', '{"tags": ["course:c2", "term:1"]}', NULL, NULL, NULL, NULL)]::event_store.new_event[]);
SELECT last_position FROM event_store.append_many('[{"stream": "a-1", "events": [{"type": "A", "data": 1, "metadata": {"tags": ["a", "b", "a"]}}, {"type": "B", "data": 1}]},
	{"stream": "a-2", "events": [{"type": "B", "data": 2, "metadata": {"tags": ["b"], "more": 1}}, {"type": "A", "data": 3, "metadata": {"tags": null}}]}]');
SELECT * FROM event_tags ORDER BY 2, 1;

-- what cannot be a tag
SELECT event_store.append('a-1', '[{"type": "A", "data": 1}, {"type": "A", "data": 1, "metadata": {"tags": "a"}}]');
SELECT event_store.append('a-1', '[{"type": "A", "data": 1, "metadata": {"tags": {"a": 1}}}]');
SELECT event_store.append('a-1', '[{"type": "A", "data": 1, "metadata": {"tags": ["a", 1]}}]');
SELECT event_store.append('a-1', '[{"type": "A", "data": 1, "metadata": {"tags": [["a"]]}}]');
SELECT event_store.append('a-1', '[{"type": "A", "data": 1, "metadata": {"tags": [""]}}]');
SELECT event_store.append('a-1', '[{"type": "A", "data": 1, "metadata": {"tags": ["$a"]}}]');
SELECT event_store.append('a-1', jsonb_build_object('type', 'A', 'data', 1, 'metadata', jsonb_build_object('tags', jsonb_build_array(repeat('x', 513)))));
SELECT event_store.append('a-1', jsonb_build_object('type', 'A', 'data', 1, 'metadata', jsonb_build_object('tags', (SELECT jsonb_agg('t' || n) FROM generate_series(1, 65) n))));
\set VERBOSITY default
SELECT event_store.append_many('[{"stream": "a-8", "events": [{"type": "A", "data": 1}]}, {"stream": "a-9", "events": [{"type": "A", "data": 1}, {"type": "A", "data": 1, "metadata": {"tags": [2]}}]}]');
\set VERBOSITY terse
SELECT count(*) FROM event_store.read_all(9);

-- reads: items are alternatives, of an item one type and all tags
SELECT head, position, stream, type FROM event_store.read_by_query('[{"tags": ["term:1"]}]');
SELECT head, position, stream, type FROM event_store.read_by_query('[{"tags": ["term:1", "course:c2"]}]');
SELECT head, position, type FROM event_store.read_by_query('[{"tags": ["b"], "types": ["A", "C"]}, {"tags": ["student:s1"]}, {"types": [], "tags": ["b", "a"]}]');
SELECT head, position, type FROM event_store.read_by_query('[{"types": ["B"]}]');
SELECT head, position, type FROM event_store.read_by_query('[{"types": ["B"], "tags": null}, {"tags": ["course:c1"]}]');
SELECT count(position), max(head) FROM event_store.read_by_query('{}');
SELECT head, position, type FROM event_store.read_by_query('[{"tags": ["none"]}]');
SELECT head, position, type FROM event_store.read_by_query('[{"tags": ["b", "none"]}]');
-- parts of it: the head is how far it got
SELECT head, position FROM event_store.read_by_query('{"tags": ["term:1"]}', max_count => 1);
SELECT head, position FROM event_store.read_by_query('{"tags": ["term:1"]}', 4, 2);
SELECT head, position FROM event_store.read_by_query('{"tags": ["term:1"]}', 9);
SELECT head, position FROM event_store.read_by_query('{"tags": ["term:1"]}', 2, 0);
SELECT head, position FROM event_store.read_by_query('{"tags": ["term:1"]}', 9, NULL);

-- the same answers with the index and without, whatever the query
CREATE TABLE public.queries AS SELECT jsonb_agg(jsonb_build_object('types', types, 'tags', tags)) AS query FROM (
	SELECT n, (SELECT jsonb_agg('T' || t) FROM generate_series(0, 2) t WHERE hashint4(n * 31 + t) % 3 = 0) AS types,
		(SELECT coalesce(jsonb_agg('t' || t), '["t1"]') FROM generate_series(0, 6) t WHERE hashint4(n * 77 + t) % 4 = 0) AS tags
	FROM generate_series(1, 120) n) i GROUP BY n / 2;
SELECT count(event_store.append_event('r-' || n % 7, 'T' || n % 3, to_jsonb(n), jsonb_build_object('tags',
	(SELECT jsonb_agg('t' || t) FROM generate_series(0, 6) t WHERE hashint4(n * 13 + t) % 2 = 0)))) FROM generate_series(1, 300) n;
CREATE FUNCTION public.answers() RETURNS TABLE (query jsonb, positions bigint[]) LANGUAGE sql AS
	$$ SELECT q.query, array_agg(r.position) FROM public.queries q, event_store.read_by_query(q.query) r GROUP BY q.query $$;
SELECT count(DISTINCT query) > 50 AS many, count(*) > 1000 AS found FROM public.answers(), unnest(positions);
CREATE TABLE public.with_index AS SELECT * FROM public.answers();
CREATE TABLE public.by_sql AS SELECT q.query, (SELECT array_agg(position ORDER BY position) FROM event_log l WHERE EXISTS (
	SELECT FROM jsonb_array_elements(q.query) i WHERE (jsonb_typeof(i->'types') = 'null' OR i->'types' ? l.event_type) AND l.metadata->'tags' @> (i->'tags'))) AS positions FROM public.queries q;
SELECT count(*) FROM public.with_index w JOIN public.by_sql s USING (query) WHERE w.positions IS DISTINCT FROM coalesce(s.positions, '{NULL}');
BEGIN;
SELECT event_store.disable_tags();
SELECT count(*) FROM public.with_index w JOIN public.answers() a USING (query) WHERE w.positions IS DISTINCT FROM a.positions;
ROLLBACK;
DROP TABLE public.with_index, public.by_sql;

-- what is no query
SELECT * FROM event_store.read_by_query(NULL);
SELECT * FROM event_store.read_by_query('[]');
SELECT * FROM event_store.read_by_query('3');
SELECT * FROM event_store.read_by_query('[3]');
SELECT * FROM event_store.read_by_query('[[]]');
SELECT * FROM event_store.read_by_query('[{}, {"tag": ["a"]}]');
SELECT * FROM event_store.read_by_query('{"tags": "a"}');
SELECT * FROM event_store.read_by_query('{"tags": ["a", 1]}');
SELECT * FROM event_store.read_by_query('{"types": [""]}');
SELECT * FROM event_store.read_by_query('{"types": {"a": 1}}');
SELECT * FROM event_store.read_by_query('{"tags": ["a"]}', -1);
SELECT * FROM event_store.read_by_query('{"tags": ["a"]}', 1000000);
SELECT * FROM event_store.read_by_query('{"tags": ["a"]}', max_count => -1);
SET event_store.max_query_terms = 5;
SELECT head FROM event_store.read_by_query('[{"tags": ["a"]}, {"tags": ["b", "c"]}]');
SELECT head FROM event_store.read_by_query('[{"tags": ["zz"]}, {"types": ["zz", "c"]}]');
SELECT head FROM event_store.read_by_query((SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 6)));
RESET event_store.max_query_terms;

-- a course with two seats: whoever decides on older seats is refused
CREATE FUNCTION public.seats(course text, OUT taken bigint, OUT head bigint) LANGUAGE sql AS $$
	SELECT count(*) FILTER (WHERE type = 'StudentSubscribed'), max(head)
	FROM event_store.read_by_query(jsonb_build_object('types', '["CourseDefined", "StudentSubscribed"]'::jsonb, 'tags', jsonb_build_array(course))) $$;
SELECT * FROM public.seats('course:c1') \gset
SELECT :taken AS taken;
SELECT first_version FROM event_store.append_event('subscription-1', 'StudentSubscribed', '{}', '{"tags": ["course:c1", "student:s1"]}',
	condition => '{"types": ["CourseDefined", "StudentSubscribed"], "tags": ["course:c1"]}', after => :head);
\set VERBOSITY default
SELECT first_version FROM event_store.append_event('subscription-2', 'StudentSubscribed', '{}', '{"tags": ["course:c1", "student:s2"]}',
	condition => '{"types": ["CourseDefined", "StudentSubscribed"], "tags": ["course:c1"]}', after => :head);
\set VERBOSITY terse
-- something else than what the query asks for does no harm
SELECT count(event_store.append_event('note-1', 'Noted', '{}', '{"tags": ["course:c1"]}'));
SELECT * FROM public.seats('course:c1') \gset
SELECT count(event_store.append_event('subscription-3', 'StudentSubscribed', '{}', '{"tags": ["course:c2"]}'));
SELECT first_version FROM event_store.append('subscription-2', '[{"type": "StudentSubscribed", "data": {}, "metadata": {"tags": ["course:c1", "student:s2"]}}]', 'no_stream',
	'{"types": ["CourseDefined", "StudentSubscribed"], "tags": ["course:c1"]}', :head);
SELECT taken FROM public.seats('course:c1');

-- a name that nobody else may have: no position, no event at all
SELECT first_version FROM event_store.append_event('user-1', 'Registered', '{}', '{"tags": ["username:bob"]}', condition => '{"tags": ["username:bob"]}');
SELECT first_version FROM event_store.append_event('user-2', 'Registered', '{}', '{"tags": ["username:bob"]}', condition => '{"tags": ["username:bob"]}');
SELECT first_version FROM event_store.append_event('user-2', 'Registered', '{}', '{"tags": ["username:alice"]}', condition => '[{"tags": ["username:alice"]}, {"tags": ["username:bob"]}]');
-- several in one statement: the first of them counts for the others
SELECT event_store.append_event('user-' || n, 'Registered', '{}', '{"tags": ["username:eve"]}', condition => '{"tags": ["username:eve"]}') FROM generate_series(1, 2) n;
SELECT count(position) FROM event_store.read_by_query('{"tags": ["username:eve"]}');
-- in the same transaction too, until it is rolled back
BEGIN;
SELECT first_version FROM event_store.append_event('user-3', 'Registered', '{}', '{"tags": ["username:eve"]}', condition => '{"tags": ["username:eve"]}');
SELECT count(position) AS own, max(head) = max(position) AS to_the_end FROM event_store.read_by_query('{"tags": ["username:eve"]}');
SELECT first_version, (SELECT count(position) FROM event_store.read_by_query('{"tags": ["username:ann"]}')) AS seen_by_same_statement
	FROM event_store.append_event('user-4', 'Registered', '{}', '{"tags": ["username:ann"]}');
SAVEPOINT before;
SELECT first_version FROM event_store.append_event('user-3', 'Registered', '{}', '{"tags": ["username:eve"]}', condition => '{"tags": ["username:eve"]}');
ROLLBACK TO before;
ROLLBACK;
SELECT first_version FROM event_store.append_event('user-3', 'Registered', '{}', '{"tags": ["username:eve"]}', condition => '{"tags": ["username:eve"]}');

-- several streams, of which one is only looked at; the version is the first to be told
SELECT index, first_version FROM event_store.append_many('[{"stream": "user-5", "events": [{"type": "Registered", "data": {}, "metadata": {"tags": ["username:joe"]}}]},
	{"stream": "user-1", "expected": 1}]', '{"tags": ["username:joe"]}');
SELECT index, first_version FROM event_store.append_many('[{"stream": "user-6", "events": [{"type": "Registered", "data": {}, "metadata": {"tags": ["username:joe"]}}]},
	{"stream": "user-1", "expected": 1}]', '{"tags": ["username:joe"]}');
SELECT index FROM event_store.append_many('[{"stream": "user-1", "expected": 1}]', '{"tags": ["username:joe"]}', after => 1);
SELECT index FROM event_store.append_many('[{"stream": "user-1", "expected": 7}]', '{"tags": ["username:joe"]}', after => 1);
SELECT count(*) FROM event_store.stream_info('user-6');

-- types without tags, and everything: right, and the store is locked
BEGIN;
SELECT first_version FROM event_store.append_event('z-1', 'Z', condition => '{"types": ["Z"]}');
SELECT mode FROM pg_locks WHERE relation = 'event_log'::regclass AND pid = pg_backend_pid() AND mode LIKE '%Share%Excl%' ORDER BY 1;
COMMIT;
SELECT first_version FROM event_store.append_event('z-1', 'Z', condition => '{"types": ["Z"]}');
SELECT first_version FROM event_store.append_event('z-1', 'Z', condition => '{}', after => event_store.head());
SELECT first_version FROM event_store.append_event('z-1', 'Z', condition => '{}', after => event_store.head() - 1);
-- a condition with tags locks these
BEGIN;
SELECT first_version FROM event_store.append_event('z-1', 'Z', '{}', '{"tags": ["z1", "z2"]}', condition => '[{"tags": ["z2", "z3"]}, {"tags": ["z2"]}, {"tags": ["z4"]}]');
SELECT mode, count(*) FROM pg_locks WHERE locktype = 'userlock' AND objid > 0 AND classid = 'event_tags'::regclass AND pid = pg_backend_pid() GROUP BY 1 ORDER BY 1;
COMMIT;

-- sent again
SELECT * FROM event_store.append('id-1', '[{"type": "I", "data": 1, "metadata": {"tags": ["i"]}, "event_id": "00000000-0000-4000-8000-0000000000e1"},
	{"type": "I", "data": 2, "event_id": "00000000-0000-4000-8000-0000000000e2"}]', condition => '{"tags": ["i"]}') \gset
SELECT first_version, last_position - :last_position AS moved FROM event_store.append('id-1', '[{"type": "I", "data": 1, "metadata": {"tags": ["i"]}, "event_id": "00000000-0000-4000-8000-0000000000e1"},
	{"type": "I", "data": 2, "event_id": "00000000-0000-4000-8000-0000000000e2"}]', condition => '{"tags": ["i"]}');
SELECT first_version FROM event_store.append('id-1', '[{"type": "I", "data": 1, "metadata": {"tags": ["i"]}, "event_id": "00000000-0000-4000-8000-0000000000e1"},
	{"type": "I", "data": 2, "event_id": "00000000-0000-4000-8000-0000000000e3"}]', condition => '{"tags": ["i"]}');
SELECT first_version FROM event_store.append('id-2', '[{"type": "I", "data": 1, "metadata": {"tags": ["i"]}, "event_id": "00000000-0000-4000-8000-0000000000e1"}]', condition => '{"tags": ["i"]}');
SELECT first_version FROM event_store.append('id-1', '[{"type": "I", "data": 1, "metadata": {"tags": ["i"]}}]', condition => '{"tags": ["i"]}');

-- what is wrong with a condition
SELECT event_store.append('a-1', '[{"type": "A", "data": 1}]', after => 3);
SELECT event_store.append('a-1', '[{"type": "A", "data": 1}]', condition => '{"tags": ["a"]}', after => -3);
SELECT event_store.append('a-1', '[{"type": "A", "data": 1}]', condition => '{"tags": ["a"]}', after => 100000);
SELECT event_store.append('a-1', '[{"type": "A", "data": 1}]', condition => '[]');
SELECT event_store.append_many('[{"stream": "a-1", "events": [{"type": "A", "data": 1}]}]', after => 3);
SELECT event_store.append_event('a-1', 'A', condition => '{"tags": [], "typ": []}');

-- at the other isolation levels: what the snapshot shows is VE008
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.append_event('user-9', 'Registered', '{}', '{"tags": ["username:bob"]}', condition => '{"tags": ["username:bob"]}');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT event_store.append_event('user-9', 'Registered', '{}', '{"tags": ["username:tom"]}', condition => '{"tags": ["username:tom"]}') IS NOT NULL AS done;
SELECT event_store.append_event('user-9', 'Registered', '{}', '{"tags": ["username:tom"]}', condition => '{"tags": ["username:tom"]}') IS NOT NULL AS done;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.append_event('user-' || n, 'Registered', '{}', '{"tags": ["username:eva"]}', condition => '{"tags": ["username:eva"]}') IS NOT NULL FROM generate_series(1, 2) n;
ROLLBACK;
SELECT event_store.disable_tags() FROM event_store.head();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.enable_tags();
ROLLBACK;
SELECT event_store.enable_tags();

-- events that have gone do not match, nor stays anything of their tags
SELECT count(event_store.append_event('gone-1', 'G', to_jsonb(n), jsonb_build_object('tags', jsonb_build_array('gone', 'gone:' || n)))) FROM generate_series(1, 4) n;
SELECT event_store.truncate_stream('gone-1', 3);
SELECT count(position) AS hidden_but_there FROM event_store.read_by_query('{"tags": ["gone"]}');
CALL event_store.scavenge_store();
SELECT count(position) FROM event_store.read_by_query('{"tags": ["gone"]}');
SELECT tag FROM event_tags WHERE tag LIKE 'gone%' ORDER BY position, tag;
SELECT first_version FROM event_store.append_event('gone-2', 'G', '{}', '{"tags": ["gone:1"]}', condition => '{"tags": ["gone:1"]}');
SET event_store.enable_hard_delete = on;
SELECT event_store.delete_stream('gone-1', hard => true);
RESET event_store.enable_hard_delete;
SELECT tag FROM event_tags WHERE tag LIKE 'gone%' ORDER BY position, tag;
SELECT event_store.delete_stream('gone-2');
SELECT first_version FROM event_store.append_event('gone-3', 'G', '{}', '{"tags": ["gone:1"]}', condition => '{"tags": ["gone:1"]}');
-- nor of events of the same statement
SET event_store.enable_hard_delete = on;
SELECT event_store.append_event('gone-9', 'G', '{}', '{"tags": ["gone:9"]}') IS NOT NULL AS appended, event_store.delete_stream('gone-9', 'any', true) AS deleted;
RESET event_store.enable_hard_delete;
SELECT count(*) FROM event_tags WHERE tag = 'gone:9';
-- a link bears no tags
SELECT first_version FROM event_store.link_event('links-1', (SELECT event_id FROM event_store.read_by_query('{"tags": ["gone:1"]}')));
SELECT count(position) FROM event_store.read_by_query('{"tags": ["gone:1"]}');

-- an import, whose batches end where streams and tags could no longer be locked one by one
CREATE TABLE public.lines (line bigint, stream text, type text, data jsonb, metadata jsonb);
INSERT INTO public.lines SELECT n, 'imp-' || n % 3, 'I', to_jsonb(n), jsonb_build_object('tags', jsonb_build_array('imported', 'line:' || n)) FROM generate_series(1, 1200) n;
SET event_store.max_stream_locks = 100;
CALL event_store.import_events('public.lines');
RESET event_store.max_stream_locks;
SELECT count(DISTINCT xmin::text) > 20 AS many_batches FROM event_log WHERE event_type = 'I' AND metadata->'tags' ? 'imported';
SELECT event_store.forget_import('public.lines');
SELECT count(position) FROM event_store.read_by_query('{"tags": ["imported"]}', max_count => NULL);
SELECT data FROM event_store.read_by_query('{"tags": ["imported", "line:777"]}');
SELECT invariant, violations FROM event_store.verify_store() WHERE violations > 0 OR invariant LIKE 'tags%';

-- more tags than locks: the store is locked
BEGIN;
SET LOCAL event_store.max_stream_locks = 4;
SELECT count(event_store.append_event('l-' || n, 'L', '{}', jsonb_build_object('tags', jsonb_build_array('l:' || n, 'l')))) FROM generate_series(1, 2) n;
SELECT mode FROM pg_locks WHERE relation = 'event_log'::regclass AND pid = pg_backend_pid() AND mode LIKE '%Share%Excl%' ORDER BY 1;
SELECT first_version FROM event_store.append_event('l-1', 'L', '{}', '{"tags": ["l:2", "l"]}');
ROLLBACK;

-- a table with triggers, whose rows are written with SQL
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION public.stamp();
SELECT first_version FROM event_store.append_event('s-1', 'S', '{}', '{"tags": ["s"]}', condition => '{"tags": ["s"]}');
SELECT event_store.append_event('s-' || n, 'S', '{}', '{"tags": ["s2"]}', condition => '{"tags": ["s2"]}') IS NOT NULL FROM generate_series(1, 2) n;
SELECT count(position) FROM event_store.read_by_query('{"tags": ["s"]}');
DROP TRIGGER stamp ON event_log;

-- and a partitioned one, which is read with SQL too
SELECT event_store.create_store('parts');
SET search_path = parts, public;
SELECT event_store.enable_tags();
ALTER TABLE event_log RENAME TO plain_log;
CREATE TABLE parts.event_log (LIKE parts.plain_log) PARTITION BY RANGE (position);
CREATE TABLE parts.event_log_1 PARTITION OF parts.event_log FOR VALUES FROM (1) TO (4);
CREATE TABLE parts.event_log_2 PARTITION OF parts.event_log FOR VALUES FROM (4) TO (1000);
SELECT event_store.append_event('p-' || n, 'P', '{}', jsonb_build_object('tags', jsonb_build_array('p', 'p:' || n)),
	condition => jsonb_build_object('tags', jsonb_build_array('p:' || n))) FROM generate_series(1, 5) n;
SELECT first_version FROM event_store.append_event('p-9', 'P', '{}', '{"tags": ["p:5"]}', condition => '{"tags": ["p:5", "p"]}', after => 4);
SELECT event_store.append_event('p-9', 'P', '{}', '{"tags": ["p9"]}', condition => '{"tags": ["p9"]}') FROM generate_series(1, 2);
SELECT head, position, stream FROM event_store.read_by_query('[{"tags": ["p:4"]}, {"tags": ["p", "p:2"]}]');
SELECT head, position, stream FROM event_store.read_by_query('{"types": ["P"]}', 3, 1);
SET search_path = shop, public;
DROP SCHEMA parts CASCADE;

-- rights: tags are nobody's but the functions'
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_appender;
SELECT event_store.grant_store('shop', 'regress_es_reader', 'reader'), event_store.grant_store('shop', 'regress_es_writer', 'writer');
GRANT USAGE ON SCHEMA shop TO regress_es_appender;
GRANT INSERT ON event_log, event_streams TO regress_es_appender;
SET ROLE regress_es_reader;
SELECT count(position) FROM event_store.read_by_query('{"tags": ["username:bob"]}');
SELECT count(*) FROM event_tags;
SELECT event_store.append_event('r-1', 'R', condition => '{"tags": ["r"]}');
SELECT event_store.enable_tags();
SELECT event_store.disable_tags();
SELECT sum(violations) FROM event_store.verify_store() WHERE invariant LIKE 'tags%';
SET ROLE regress_es_writer;
SELECT first_version FROM event_store.append_event('w-1', 'W', '{}', '{"tags": ["w"]}', condition => '{"tags": ["w"]}');
SET ROLE regress_es_appender;
SELECT first_version FROM event_store.append_event('w-2', 'W', '{}', '{"tags": ["w"]}');
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w"]}', condition => '{"tags": ["w"]}');
RESET ROLE;
INSERT INTO event_tags VALUES ('x', 1);
DELETE FROM event_tags;
UPDATE event_tags SET tag = 'x';
TRUNCATE event_tags;
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY no_w ON event_log USING (event_type <> 'W') WITH CHECK (true);
SET ROLE regress_es_writer;
SELECT count(position) FROM event_store.read_by_query('{"tags": ["w"]}');
SELECT count(position) FROM event_store.read_by_query('{"tags": ["username:bob"]}');
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w"]}', condition => '{"tags": ["w"]}');
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w"]}');
RESET ROLE;
DROP POLICY no_w ON event_log;
ALTER TABLE event_log DISABLE ROW LEVEL SECURITY;
SELECT event_store.revoke_store('shop', 'regress_es_reader'), event_store.revoke_store('shop', 'regress_es_writer');
REVOKE ALL ON event_log, event_streams FROM regress_es_appender;
REVOKE ALL ON SCHEMA shop FROM regress_es_appender;
DROP ROLE regress_es_reader, regress_es_writer, regress_es_appender;

-- faults of the index are found, and one that is altered is not used
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE event_tags DISABLE TRIGGER ALL;
DELETE FROM event_tags WHERE tag = 'username:bob';
INSERT INTO event_tags VALUES ('username:zoe', 1);
SELECT * FROM event_store.verify_store() WHERE violations > 0;
ROLLBACK;
BEGIN;
ALTER TABLE event_tags DROP CONSTRAINT event_tags_pkey;
SELECT event_store.append_event('w-3', 'W');
ROLLBACK;
BEGIN;
CREATE INDEX ON event_tags (lower(tag));
SELECT event_store.append_event('w-3', 'W');
ROLLBACK;
BEGIN;
ALTER TABLE event_tags ADD COLUMN more integer;
SELECT event_store.append_event('w-3', 'W');
ROLLBACK;
BEGIN;
CREATE INDEX ON event_tags (position);
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w5"]}');
SELECT count(*) FROM event_tags WHERE tag = 'w5';
ROLLBACK;
-- who may make tables in the schema gets no tags by it
SELECT event_store.create_store('other');
CREATE ROLE regress_es_maker;
GRANT ALL ON SCHEMA other TO regress_es_maker;
SET ROLE regress_es_maker;
CREATE TABLE other.event_tags (tag text COLLATE "C", "position" bigint, UNIQUE (tag, "position"));
RESET ROLE;
SET search_path = other, public;
SELECT event_store.append_event('w-3', 'W', '{}', '{"tags": ["w5"]}');
DROP TABLE event_tags;
DROP OWNED BY regress_es_maker;
DROP ROLE regress_es_maker;
SELECT event_store.enable_tags();
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w5"]}', condition => '{"tags": ["w5"]}');
REINDEX TABLE CONCURRENTLY event_tags;
SELECT first_version FROM event_store.append_event('w-3', 'W', '{}', '{"tags": ["w5"]}', condition => '{"tags": ["w5"]}');

-- the store goes with its tags
BEGIN;
DROP TABLE event_tags;
SELECT event_store.append_event('w-4', 'W', condition => '{"tags": ["w5"]}');
ROLLBACK;
SELECT event_store.append_event('w-4', 'W', condition => '{"tags": ["w5"]}');
SELECT event_store.attach_store('other');
SELECT event_store.drop_store('other', 'other');
SELECT to_regnamespace('other');
SET search_path = public;
SELECT event_store.enable_tags();
-- a tenant has tags of its own
SELECT event_store.create_tenant('regress_es_acme') IS NOT NULL AS created;
BEGIN;
SELECT event_store.tenant_use('regress_es_acme');
SELECT event_store.enable_tags();
SELECT first_version FROM event_store.append_event('user-1', 'Registered', '{}', '{"tags": ["username:bob"]}', condition => '{"tags": ["username:bob"]}');
COMMIT;
BEGIN READ ONLY;
SELECT event_store.tenant_use('regress_es_acme');
SELECT head, position FROM event_store.read_by_query('{"tags": ["username:bob"]}');
SELECT first_version FROM event_store.append_event('user-2', 'Registered', '{}', '{"tags": ["username:bob"]}', condition => '{"tags": ["username:bob"]}');
ROLLBACK;
SELECT event_store.drop_tenant('regress_es_acme', 'regress_es_acme') IS NOT NULL AS dropped;
DROP FUNCTION public.stamp(), public.answers(), public.seats(text);
DROP TABLE public.queries, public.lines;
DROP SCHEMA shop CASCADE;
