/* find: by type, by correlation, from a time, one of each type, the tree of causes, the list of streams; with and without indexes */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop, public;
-- times run backwards here and there; types A to D in turn but for one E; three correlations and none
SELECT count(event_store.append_event('order-' || n % 3, CASE WHEN n = 17 THEN 'E' ELSE (ARRAY['A', 'B', 'C', 'D'])[1 + n % 4] END, to_jsonb(n),
	event_id => ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
	correlation_id => CASE WHEN n % 4 > 0 THEN ('00000000-0000-4000-8000-0000000000a' || n % 4)::uuid END,
	causation_id => CASE WHEN n % 4 = 1 AND n > 1 THEN ('00000000-0000-4000-8000-' || lpad((CASE n WHEN 5 THEN 1 WHEN 9 THEN 1 WHEN 13 THEN 5 WHEN 17 THEN 9 WHEN 21 THEN 5 WHEN 25 THEN 29 ELSE n - 1 END)::text, 12, '0'))::uuid END,
	created_at => '2020-01-01 00:00:00+00'::timestamptz + CASE WHEN n = 12 THEN interval '1 year' ELSE n * interval '1 hour' - n % 5 * interval '90 min' END))
FROM generate_series(1, 30) n;

CREATE FUNCTION shop.everything() RETURNS TABLE (what text, answer text) LANGUAGE sql AS $$
	SELECT 'type A', string_agg(position::text, ' ') FROM event_store.read_by_type(ARRAY['A'])
	UNION ALL SELECT 'A and E', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY['E', 'A', 'E'])
	UNION ALL SELECT 'A, B and C after 9, four', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY['A', 'B', 'C'], 9, 4)
	UNION ALL SELECT 'the same back', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY['A', 'B', 'C'], 9, 4, 'backward')
	UNION ALL SELECT 'A back', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY['A'], direction => 'backward', max_count => 2)
	UNION ALL SELECT 'no type', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY[]::text[])
	UNION ALL SELECT 'types that are not there', string_agg(position || type, ' ') FROM event_store.read_by_type(ARRAY['', 'Z', 'AA', 'a'])
	UNION ALL SELECT 'very many types', string_agg(position || type, ' ') FROM event_store.read_by_type((SELECT array_agg('E' || n) || ARRAY['E', 'E'] FROM generate_series(1, 200) n))
	UNION ALL SELECT 'correlation a1', string_agg(position::text, ' ') FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a1')
	UNION ALL SELECT 'a2 after 6, three', string_agg(position::text, ' ') FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a2', 6, 3)
	UNION ALL SELECT 'a3 before 20 back', string_agg(position::text, ' ') FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a3', 20, 3, 'backward')
	UNION ALL SELECT 'no correlation of this id', string_agg(position::text, ' ') FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a4')
	UNION ALL SELECT 'first of each type', string_agg(position || type, ' ') FROM event_store.read_each_type()
	UNION ALL SELECT 'last of each type', string_agg(position || type, ' ') FROM event_store.read_each_type(direction => 'backward')
	UNION ALL SELECT 'first of E, B, B and Z', string_agg(position || type, ' ') FROM event_store.read_each_type(ARRAY['E', 'B', 'B', 'Z'])
	UNION ALL SELECT 'last of E and B before 17', string_agg(position || type, ' ') FROM event_store.read_each_type(ARRAY['E', 'B'], 17, 'backward')
	UNION ALL SELECT 'first of each after 15', string_agg(position || type, ' ') FROM event_store.read_each_type(NULL, 15)
	UNION ALL SELECT 'after all', string_agg(position || type, ' ') FROM event_store.read_each_type(NULL, 30)
	UNION ALL SELECT 'of no type', string_agg(position || type, ' ') FROM event_store.read_each_type(ARRAY[]::text[])
	UNION ALL SELECT 'position at ' || t, event_store.position_at(t::timestamptz)::text FROM unnest(ARRAY['-infinity', '2020-01-01 00:00:00+00', '2019-12-31 23:00:00+00',
		'2020-01-01 05:00:00+00', '2020-01-01 09:00:00+00', '2020-01-01 10:00:00+00', '2020-01-01 12:00:00+00', '2020-02-01+00', '2021-01-01+00', '2022-01-01+00', 'infinity']) t
	UNION ALL SELECT 'positions of times are right', (SELECT bool_and(event_store.position_at(t) = coalesce((SELECT min(position) - 1 FROM event_log WHERE created_at >= t), (SELECT max(position) FROM event_log)))::text
		FROM (SELECT created_at + d * interval '1 second' AS t FROM event_log, generate_series(-1, 1) d) x)
$$;
CREATE TABLE shop.without AS SELECT * FROM everything();
SELECT * FROM without;
SELECT depth, parent_event_id, position, stream, version, type, data, correlation_id, causation_id FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1');
SELECT depth, position FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1', 3);
SELECT depth, position FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a4');
CREATE TABLE shop.tree AS SELECT * FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1', NULL);

-- with indexes the answers are the same
CALL event_store.add_index('type');
SELECT * FROM everything() EXCEPT SELECT * FROM without;
CALL event_store.add_index('correlation');
CALL event_store.add_index('time');
SELECT * FROM everything() EXCEPT SELECT * FROM without;
SELECT count(*) FROM (SELECT * FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1', NULL) EXCEPT SELECT * FROM tree) x;

-- they are used: less of the table is read
CREATE FUNCTION shop.fetched() RETURNS bigint LANGUAGE sql AS
$$ SELECT sum(pg_stat_get_xact_tuples_fetched(indexrelid)) FROM pg_index WHERE indrelid = 'shop.event_log'::regclass $$;
CREATE FUNCTION shop.reads(call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := fetched();
BEGIN
	EXECUTE 'SELECT count(*) FROM ' || call;
	RETURN fetched() - before;
END $$;
SELECT call, reads(call) FROM unnest(ARRAY[
	$c$event_store.read_by_type(ARRAY['E'])$c$,
	$c$event_store.read_by_type(ARRAY['A', 'B'], max_count => 3)$c$,
	$c$event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a1', 20)$c$,
	$c$event_store.read_each_type(ARRAY['A', 'E'])$c$,
	$c$event_store.position_at('2020-06-01')$c$,
	$c$event_store.position_at('2020-01-01')$c$,
	$c$event_store.read_all(types => ARRAY['E'])$c$]) call;

-- the horizon: nothing of what is not final, with an index or without
BEGIN;
SELECT first_position FROM event_store.append_event('order-1', 'A', correlation_id => '00000000-0000-4000-8000-0000000000a1', created_at => '2030-01-01');
SELECT max(position) FROM event_store.read_by_type(ARRAY['A']);
SELECT max(position) FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a1');
SELECT max(position) FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1');
SELECT max(position) FROM event_store.read_each_type(direction => 'backward');
SELECT event_store.position_at('2029-01-01');
ROLLBACK;

-- through SQL: a table with row-level security for the caller
CREATE ROLE regress_es_find;
SELECT event_store.grant_store('shop', 'regress_es_find', 'reader');
GRANT SELECT ON shop.without TO regress_es_find;
ALTER TABLE shop.event_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON shop.event_log FOR SELECT USING (true);
SET ROLE regress_es_find;
SELECT * FROM everything() EXCEPT SELECT * FROM without;
SELECT count(*) FROM event_store.causation_tree('00000000-0000-4000-8000-0000000000a1');
SELECT stream, version FROM event_store.streams();
RESET ROLE;
SELECT event_store.revoke_store('shop', 'regress_es_find');
REVOKE ALL ON shop.without FROM regress_es_find;
DROP ROLE regress_es_find;
ALTER TABLE shop.event_log DISABLE ROW LEVEL SECURITY;

-- bad arguments
SELECT event_store.read_by_type(NULL);
SELECT event_store.read_by_type(ARRAY['A', NULL]);
SELECT event_store.read_by_type(ARRAY['A'], -1);
SELECT event_store.read_by_type(ARRAY['A'], 0, -1);
SELECT event_store.read_by_type(ARRAY['A'], 0, 1, 'up');
SELECT event_store.read_by_type(ARRAY['A'], 1000000);
SELECT event_store.read_by_correlation(NULL);
SELECT event_store.read_by_correlation('00000000-0000-4000-8000-0000000000a1', 1000000);
SELECT event_store.read_each_type(ARRAY['A', NULL]);
SELECT event_store.read_each_type(after_position => 1000000);
SELECT event_store.causation_tree(NULL);
SELECT event_store.causation_tree('00000000-0000-4000-8000-0000000000a1', -1);
SELECT event_store.position_at(NULL) IS NULL AS none;

-- streams
SELECT event_store.create_store('list');
SET search_path = list;
SELECT event_store.streams();
SELECT event_store.position_at('2020-01-01');
SELECT count(*) FROM event_store.read_each_type();
SELECT count(event_store.append_event(s, 'T', expected => 0)) FROM unnest(ARRAY['order-1', 'order-2', 'order', 'orders-1', 'order#3', 'order-1-2', 'cart-1', 'cart_2', '-x', '100%-1', 'Cart-9', 'zoë-1', 'a"b']) s;
SELECT event_store.append_event('order-2', 'U');
SELECT event_store.delete_stream('order-1-2');
SELECT stream, category, status, version, last_position, created_at <= last_event_at AS in_time, deleted_at IS NOT NULL AS deleted, metadata FROM event_store.streams();
SELECT stream FROM event_store.streams(max_count => 3);
SELECT stream FROM event_store.streams('Cart-9', 3);
SELECT stream FROM event_store.streams('order', max_count => NULL);
SELECT stream FROM event_store.streams('zz');
SELECT stream FROM event_store.streams(max_count => 0);
SELECT stream FROM event_store.streams(prefix => 'order');
SELECT stream FROM event_store.streams(prefix => 'order-', after_stream => 'order-1', max_count => 1);
SELECT stream FROM event_store.streams(prefix => '100%');
SELECT stream FROM event_store.streams(category => 'order');
SELECT stream FROM event_store.streams(category => 'order', max_count => 2);
SELECT stream FROM event_store.streams(category => 'order', after_stream => 'order', max_count => 2);
SELECT stream FROM event_store.streams(category => 'order', prefix => 'order-1');
SELECT stream FROM event_store.streams(category => 'order', pattern => '%2');
SELECT stream FROM event_store.streams(category => '');
SELECT stream FROM event_store.streams(category => 'order-1');
SELECT stream FROM event_store.streams(category => 'nothing');
SELECT stream FROM event_store.streams(pattern => '%-1');
SELECT stream FROM event_store.streams(pattern => 'cart__');
SELECT stream FROM event_store.streams(pattern => 'cart\__');
SELECT stream FROM event_store.streams(pattern => 'zo_-1');
SELECT stream FROM event_store.streams(pattern => 'x\');
SELECT stream FROM event_store.streams(max_count => -1);
BEGIN;
SELECT last_version FROM event_store.append_event('mine', 'T');
SELECT stream, version FROM event_store.streams(prefix => 'm');
ROLLBACK;
DROP SCHEMA list CASCADE;
DROP SCHEMA shop CASCADE;
