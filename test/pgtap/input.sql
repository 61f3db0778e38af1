-- reliability 64 and everything else that is bad input: the SQLSTATE, the index and member that are wrong, and that nothing is stored.
\ir lib/problem.sql
SELECT no_plan();
SELECT event_store.create_store('shop');
SET search_path = shop, public;
DO $$ BEGIN
	PERFORM event_store.append('order-1', '[{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}, {"type": "B", "data": 2}]');
END $$;

-- what a command ends with: its SQLSTATE, and the member and the index that its problem document names; and what it has left behind
CREATE FUNCTION pg_temp.refused(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	before text := (SELECT format('%s events, %s streams', (SELECT count(*) FROM event_log), (SELECT count(*) FROM event_streams)));
	p record;
	later text;
BEGIN
	p := pg_temp.problem(command);
	later := format('%s events, %s streams', (SELECT count(*) FROM event_log), (SELECT count(*) FROM event_streams));
	RETURN concat_ws(' ', p.state, p.document->>'index', coalesce(p.document->>'member', p.document->>'argument'),
		CASE WHEN later <> before THEN 'and now there are ' || later END,
		-- an error of ours has a document as the catalogue of problem types has it, whose detail is the message, and a hint
		CASE WHEN p.document IS NULL THEN '-'
			WHEN p.document->>'detail' IS DISTINCT FROM p.message THEN 'detail ' || (p.document->>'detail')
			WHEN NOT EXISTS (SELECT FROM event_store.problem_type t
				WHERE t.sqlstate = p.state AND t.uri = p.document->>'type' AND t.title = p.document->>'title' AND t.status = (p.document->>'status')::int)
				THEN 'not in the catalogue'
			WHEN coalesce(p.hint, '') = '' THEN 'without a hint'
			ELSE '+' END);
END $$;

-- ---- the shape of events as JSON; the good event before each makes the index 1

SELECT is(pg_temp.refused(format('SELECT event_store.append(%L, %L)', 's', format('[{"type": "Good", "data": 0}, %s]', event))), answer, 'text: ' || event)
FROM (VALUES
	('5', '22023 1 +'), ('null', '22023 1 +'), ('"x"', '22023 1 +'), ('true', '22023 1 +'), ('[]', '22023 1 +'), ('[{"type": "A", "data": 1}]', '22023 1 +'),
	('{}', '22023 1 type +'),
	('{"data": 1}', '22023 1 type +'),
	('{"type": "A"}', '22023 1 data +'),
	('{"type": "A", "data": null}', '22023 1 data +'),
	('{"type": null, "data": 1}', '22023 1 type +'),
	('{"type": "", "data": 1}', '22023 type of event 1 +'),
	('{"type": 1, "data": 1}', '22023 1 type +'),
	('{"type": ["A"], "data": 1}', '22023 1 type +'),
	('{"type": {"a": "A"}, "data": 1}', '22023 1 type +'),
	('{"type": true, "data": 1}', '22023 1 type +'),
	('{"type": "$A", "data": 1}', '22023 type of event 1 +'),
	(format('{"type": "%s", "data": 1}', repeat('x', 513)), '54000 type of event 1 +'),
	('{"Type": "A", "data": 1}', '22023 1 Type +'),
	('{"type": "A", "data": 1, "extra": 1}', '22023 1 extra +'),
	('{"type": "A", "data": 1, "": 1}', '22023 1  +'),
	('{"type": "A", "data": 1, "eventId": null}', '22023 1 eventId +'),
	('{"type": "A", "data": 1, "metadata": 5}', '22023 1 metadata +'),
	('{"type": "A", "data": 1, "metadata": "x"}', '22023 1 metadata +'),
	('{"type": "A", "data": 1, "metadata": []}', '22023 1 metadata +'),
	('{"type": "A", "data": 1, "event_id": 5}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": true}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": {}}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": ""}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-00000000000"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-00000000000g"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-0000000000000"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "0000000-00000-4000-8000-000000000001"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "{00000000-0000-4000-8000-000000000001"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "event_id": "00000000000040008000000000000001-"}', '22023 1 event_id +'),
	('{"type": "A", "data": 1, "correlation_id": "x"}', '22023 1 correlation_id +'),
	('{"type": "A", "data": 1, "correlation_id": "-0000000000040008000000000000001-"}', '22023 1 correlation_id +'),
	('{"type": "A", "data": 1, "causation_id": []}', '22023 1 causation_id +'),
	('{"type": "A", "data": 1, "causation_id": "}00000000-0000-4000-8000-000000000001{"}', '22023 1 causation_id +'),
	('{"type": "A", "data": 1, "created_at": 5}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": ""}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "soon"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "2020-13-01"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "2020-02-30T00:00:00Z"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "2020-01-01 00:00 Nowhere/City"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "2020-01-01 00:00+99"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "999999-01-01"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "infinity"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "created_at": "-infinity"}', '22023 1 created_at +'),
	('{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}', 'VE005 1 +'),
	-- no JSON
	('{"type": "A", "data": 1', '22P02 -'), ('{"type": "A", "data": 01}', '22P02 -'), ('{type: "A"}', '22P02 -'), ('', '22P02 -'),
	('{"type": "A", "data": NaN}', '22P02 -'), ('{"type": "A", "data": ' || chr(39) || 'x' || chr(39) || '}', '22P02 -'),
	-- what JSON can say and text cannot hold
	('{"type": "A", "data": "\u0000"}', '22P05 -'), ('{"type": "A\u0000", "data": 1}', '22P05 -'), ('{"type": "A", "data": {"\u0000": 1}}', '22P05 -'),
	('{"type": "A", "data": "\ud800"}', '22P02 -'), ('{"type": "A", "data": "\udc00"}', '22P02 -'), ('{"type": "A", "data": "\ud800\ud800"}', '22P02 -'),
	('{"type": "\ud83d", "data": 1}', '22P02 -'), ('{"type": "A", "data": "\u12"}', '22P02 -'),
	('{"type": "A", "data": 1' || repeat('0', 131072) || '}', '22003 -'),
	('{"type": "A", "data": 1e131072}', '22003 -'),
	('{"type": "A", "data": 1e-16384}', '22003 -')) v(event, answer);

SELECT is(pg_temp.refused(format('SELECT event_store.append(%L, %L)', 's', events)), answer, 'text: ' || events) FROM (VALUES
	('', '22P02 -'), ('[]', '22023 +'), ('5', '22023 +'), ('null', '22023 +'), ('"A"', '22023 +'), ('true', '22023 +'), ('{}', '22023 0 type +'), ('[[]]', '22023 0 +'), ('{"type": "A"}', '22023 0 data +'),
	('[{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000009"}, {"type": "B", "data": 1}, {"type": "C", "data": 1, "event_id": "00000000-0000-4000-8000-000000000009"}]', 'VE005 2 +'),
	('[{"type": "A", "data": 1, "event_id": "{00000000-0000-4000-8000-000000000009}"}, {"type": "B", "data": 1, "event_id": "00000000000040008000000000000009"}]', 'VE005 1 +')) v(events, answer);
SELECT is(pg_temp.refused(format('SELECT event_store.append(%L, %L::jsonb)', 's', events)), answer, 'jsonb: ' || events) FROM (VALUES
	('[]', '22023 +'), ('5', '22023 +'), ('null', '22023 +'), ('"A"', '22023 +'), ('{}', '22023 0 type +'), ('[[]]', '22023 0 +'),
	('[{"type": "A", "data": 1}, {"type": "A", "data": null}]', '22023 1 data +')) v(events, answer);

-- ---- events as an array

SELECT is(pg_temp.refused(format('SELECT event_store.append(%L, ARRAY[ROW(%L, %L, NULL, NULL, NULL, NULL, NULL), %s]::event_store.new_event[])', 's', 'Good', '0', event)), answer, 'array: ' || event) FROM (VALUES
	('NULL', '22004 1 +'),
	($$ROW(NULL, '1', NULL, NULL, NULL, NULL, NULL)$$, '22023 1 type +'),
	($$ROW('A', NULL, NULL, NULL, NULL, NULL, NULL)$$, '22023 1 data +'),
	($$ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL)$$, '22023 1 type +'),
	($$ROW('', '1', NULL, NULL, NULL, NULL, NULL)$$, '22023 type of event 1 +'),
	($$ROW('$A', '1', NULL, NULL, NULL, NULL, NULL)$$, '22023 type of event 1 +'),
	($$ROW(repeat('x', 513), '1', NULL, NULL, NULL, NULL, NULL)$$, '54000 type of event 1 +'),
	($$ROW('A', '1', '[]', NULL, NULL, NULL, NULL)$$, '22023 1 metadata +'),
	($$ROW('A', '1', 'null', NULL, NULL, NULL, NULL)$$, '22023 1 metadata +'),
	($$ROW('A', '1', NULL, '00000000-0000-4000-8000-000000000001', NULL, NULL, NULL)$$, 'VE005 1 +'),
	($$ROW('A', '1', NULL, NULL, NULL, NULL, 'infinity')$$, '22023 1 created_at +'),
	($$ROW('A', '1', NULL, 'x', NULL, NULL, NULL)$$, '22P02 -')) v(event, answer);
SELECT is(pg_temp.refused($$SELECT event_store.append('s', '{}'::event_store.new_event[])$$), '22023 +', 'array: empty');
SELECT is(pg_temp.refused($$SELECT event_store.append('s', ARRAY[[ROW('A', '1', NULL, NULL, NULL, NULL, NULL)], [NULL]]::event_store.new_event[])$$), '22004 1 +', 'array: of two dimensions, a null in it');

-- ---- nulls, versions, counts, positions, names

SELECT is(pg_temp.refused(command), answer, command) FROM (VALUES
	($$SELECT event_store.append(NULL, '[{"type": "A", "data": 1}]')$$, '22004 stream +'),
	($$SELECT event_store.append('s', NULL::text)$$, '22004 events +'),
	($$SELECT event_store.append('s', NULL::jsonb)$$, '22004 events +'),
	($$SELECT event_store.append('s', NULL::event_store.new_event[])$$, '22004 events +'),
	($$SELECT event_store.append('s', '[{"type": "A", "data": 1}]', NULL)$$, '22004 expected +'),
	($$SELECT event_store.append_event(NULL, 'A')$$, '22004 stream +'),
	($$SELECT event_store.append_event('s', NULL)$$, '22004 type +'),
	($$SELECT event_store.append_event('s', 'A', NULL)$$, '22004 data +'),
	($$SELECT event_store.append_event('s', 'A', expected => NULL)$$, '22004 expected +'),
	($$SELECT event_store.append_event('s', 'A', metadata => '[]')$$, '22023 0 metadata +'),
	($$SELECT event_store.append_event('s', 'A', metadata => '1')$$, '22023 0 metadata +'),
	($$SELECT event_store.append_event('s', 'A', created_at => 'infinity')$$, '22023 0 created_at +'),
	($$SELECT event_store.append_event('s', 'A', data => 'no json')$$, '22P02 -'),
	($$SELECT event_store.append_event('s', 'A', event_id => (SELECT event_id FROM event_store.read_stream('order-1', 2)))$$, '22023 0 event_id +'),
	($$SELECT event_store.append_event('s', 'A', expected => -1)$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => -2)$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => -3::bigint)$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '-1')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '-9223372036854775808')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '9223372036854775808')$$, '22003 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '-9223372036854775809')$$, '22003 +'),
	($$SELECT event_store.append_event('s', 'A', expected => 9223372036854775807)$$, 'VE001 +'),
	($$SELECT event_store.append_event('order-1', 'A', expected => 9223372036854775807)$$, 'VE001 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => 'ANY')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '1.0')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '1 ')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => '0x1')$$, '22023 +'),
	($$SELECT event_store.append_event('s', 'A', expected => 1.5)$$, '42883 -'),
	($$SELECT event_store.delete_stream('s', -1)$$, '22023 +'),
	($$SELECT event_store.delete_stream('s')$$, 'VE003 +'),
	($$SELECT event_store.delete_stream('order-1', 1)$$, 'VE001 +'),
	($$SELECT event_store.delete_stream('order-1', 'no_stream')$$, 'VE002 +'),
	($$SELECT event_store.delete_stream('order-1', hard => true)$$, '55000 +'),
	($$SET LOCAL event_store.enable_hard_delete = on; SELECT event_store.delete_stream('s', hard => true)$$, 'VE003 +'),
	($$SELECT event_store.truncate_stream('s', 1)$$, 'VE003 +'),
	($$SELECT event_store.truncate_stream('order-1', 0)$$, '22023 before_version +'),
	($$SELECT event_store.truncate_stream('order-1', (-9223372036854775808)::bigint)$$, '22023 before_version +'),
	($$SELECT event_store.truncate_stream('order-1', 4)$$, '22023 +'),
	($$SELECT event_store.truncate_stream('order-1', 9223372036854775807)$$, '22023 +'),
	($$SELECT event_store.set_stream_metadata('s')$$, 'VE003 +'),
	($$SELECT event_store.set_stream_metadata(NULL)$$, '22004 stream +'),
	($$SELECT event_store.set_stream_metadata('order-1', '[]')$$, '22023 metadata +'),
	($$SELECT event_store.set_stream_metadata('order-1', max_age => '-1 s')$$, '22023 max_age +'),
	($$SELECT event_store.set_stream_metadata('order-1', max_age => '10001 years')$$, '22023 max_age +'),
	($$SELECT event_store.set_stream_metadata('order-1', max_count => 0)$$, '22023 max_count +'),
	($$CALL event_store.scavenge_store(0)$$, '22023 batch_size +'),
	($$CALL event_store.scavenge_store(delay => '61 minutes')$$, '22023 delay +'),
	($$CALL event_store.scavenge_store(delay => NULL)$$, '22004 delay +'),
	($$SELECT event_store.keep_store_tidy(NULL)$$, '22004 tidy +'),
	($$SELECT event_store.link_event('s', '00000000-0000-4000-8000-00000000000f')$$, '42704 +'),
	($$SELECT event_store.link_event('s', NULL)$$, '22004 event_id +'),
	($$SELECT event_store.link_event('', '00000000-0000-4000-8000-000000000001')$$, '22023 stream name +'),
	($$SELECT event_store.read_stream('order-1', resolve_links => NULL)$$, '22004 resolve_links +'),
	($$SELECT event_store.read_stream(NULL)$$, '22004 stream +'),
	($$SELECT event_store.read_stream('order-1', -1)$$, '22023 from_version +'),
	($$SELECT event_store.read_stream('order-1', (-9223372036854775808)::bigint)$$, '22023 from_version +'),
	($$SELECT event_store.read_stream('order-1', 1, -1)$$, '22023 max_count +'),
	($$SELECT event_store.read_stream('order-1', 1, 1, 'Forward')$$, '22023 +'),
	($$SELECT event_store.read_stream('order-1', 1, 1, '')$$, '22023 +'),
	($$SELECT event_store.read_stream('order-1', 1, 1, NULL)$$, '22004 direction +'),
	($$SELECT event_store.read_all(-1)$$, '22023 after_position +'),
	($$SELECT event_store.read_all(0, -1)$$, '22023 max_count +'),
	($$SELECT event_store.read_all(0, (-9223372036854775808)::bigint)$$, '22023 max_count +'),
	($$SELECT event_store.read_all(1000000)$$, '22023 +'),
	($$SELECT event_store.read_all(9223372036854775807)$$, '22023 +'),
	($$SELECT event_store.read_all(types => '{NULL}')$$, '22004 0 types +'),
	($$SELECT event_store.read_all(categories => '{order,NULL}')$$, '22004 1 categories +'),
	($$SELECT event_store.read_all(direction => 'up')$$, '22023 +'),
	($$SELECT event_store.read_all(direction => NULL)$$, '22004 direction +'),
	($$SELECT event_store.read_category(NULL)$$, '22004 category +'),
	($$SELECT event_store.read_category('order', -1)$$, '22023 after_position +'),
	($$SELECT event_store.read_category('order', 0, -1)$$, '22023 max_count +'),
	($$SELECT event_store.poll(NULL)$$, '22004 after_position +'),
	($$SELECT event_store.poll(-1)$$, '22023 after_position +'),
	($$SELECT event_store.poll(0, -1)$$, '22023 max_count +'),
	($$SELECT event_store.poll(0, timeout => '-1 ms')$$, '22023 timeout +'),
	($$SELECT event_store.poll(0, timeout => NULL)$$, '22004 timeout +'),
	($$SELECT event_store.poll(1000000)$$, '22023 +'),
	($$SELECT event_store.poll(0, types => '{NULL}')$$, '22004 0 types +'),
	($$SELECT event_store.create_store(repeat('x', 64))$$, '42622 +'),
	($$SELECT event_store.create_store('pg_mine')$$, '42939 +'),
	($$SELECT event_store.create_store('shop')$$, '42710 +'),
	($$SELECT event_store.attach_store('public')$$, 'VE006 +'),
	($$SELECT event_store.drop_store('shop', 'Shop')$$, '22023 +'),
	($$SELECT event_store.drop_store('shop', '')$$, '22023 +'),
	($$SELECT event_store.drop_store('public', 'public')$$, 'VE006 +'),
	($$SET LOCAL search_path = public; SELECT event_store.append_event('s', 'A')$$, 'VE006 +'),
	($$SET LOCAL search_path = ''; SELECT event_store.read_all()$$, 'VE006 +')) v(command, answer);
SELECT is(pg_temp.refused(command), '00000 -', command) FROM unnest(ARRAY[
	-- null arguments of strict functions give null
	'SELECT event_store.stream_version(NULL)', 'SELECT event_store.stream_info(NULL)', 'SELECT event_store.event(NULL)', 'SELECT event_store.delete_stream(NULL)', 'SELECT event_store.truncate_stream(NULL, 1)',
	'SELECT event_store.stream_metadata(NULL)', 'SELECT event_store.create_store(NULL)',
	$$SELECT event_store.drop_store('shop', NULL)$$,
	-- the ends of what is allowed
	$$SELECT event_store.read_stream('order-1', 9223372036854775807)$$, $$SELECT event_store.read_stream('order-1', 0, 9223372036854775807)$$, $$SELECT event_store.read_stream('order-1', 0, 0)$$,
	$$SELECT event_store.truncate_stream('order-1', 1)$$, $$SELECT event_store.set_stream_metadata('order-1', '{}', '10000 years', 9223372036854775807); SELECT event_store.read_stream('order-1')$$,
	$$SELECT event_store.read_stream('order-1', 9223372036854775807, 9223372036854775807, 'backward')$$, $$SELECT event_store.read_all(0, 9223372036854775807)$$,
	$$SELECT event_store.read_all(9223372036854775807, 9223372036854775807, direction => 'backward')$$, $$SELECT event_store.read_all(types => '{}', categories => '{}')$$,
	$$SELECT event_store.read_category('')$$]) command;
SELECT is((SELECT count(*)::int FROM event_store.stores WHERE schema = 'shop'), 1, 'the store is there');

-- at the ends of bigint
SELECT is((SELECT count(*)::int FROM event_store.read_all(9223372036854775807, direction => 'backward')), 2, 'backward from the last possible position');
SELECT is((SELECT count(*)::int FROM event_store.read_stream('order-1', 9223372036854775807, direction => 'backward')), 2, 'backward from the last possible version');
CREATE FUNCTION pg_temp.mark_reaches(target bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + interval '60 s';
BEGIN
	WHILE event_store.durable_mark() < target AND clock_timestamp() < deadline LOOP
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN event_store.durable_mark() >= target;
END $$;
SELECT ok(pg_temp.mark_reaches(2), 'the durable mark moves');
SET default_transaction_isolation = 'repeatable read';
SELECT is((SELECT count(*)::int FROM event_store.read_all(after)), n, format('at repeatable read after position %s', after))
FROM (VALUES (0, 2), (1, 1), (2, 0), (9223372036854775806, 0), (9223372036854775807, 0)) v(after, n);
RESET default_transaction_isolation;

-- a timeout of any length is waited for, until the statement is cancelled
SET statement_timeout = '300 ms';
SELECT format('SELECT is(pg_temp.state(%L), %L, %L)', format('SELECT event_store.poll(event_store.head(), timeout => %L)', timeout), '57014', 'poll with a timeout of ' || timeout)
FROM unnest('{1000 years,300000 years,178000000 years}'::interval[]) timeout \gexec
RESET statement_timeout;

-- ---- a transaction that may not write

SELECT is(pg_temp.refused('SET LOCAL transaction_read_only = on; ' || command), answer, 'read-only: ' || command) FROM (VALUES
	($$SELECT event_store.append_event('s', 'A')$$, '25006 +'),
	($$SELECT event_store.append('order-1', '[{"type": "A", "data": 1}]', 2)$$, '25006 +'),
	-- bad input is told first, a retry is a write too
	($$SELECT event_store.append_event('s', '')$$, '22023 type of event 0 +'),
	($$SELECT event_store.append_event('order-1', 'A', event_id => '00000000-0000-4000-8000-000000000001', expected => 0)$$, '25006 +'),
	($$SELECT event_store.delete_stream('order-1')$$, '25006 +'),
	($$SELECT event_store.truncate_stream('order-1', 1)$$, '25006 +'),
	($$SELECT event_store.set_stream_metadata('order-1')$$, '25006 +'),
	($$CALL event_store.scavenge_store()$$, '25006 +'),
	($$SELECT event_store.keep_store_tidy()$$, '25006 +'),
	($$SELECT event_store.link_event('links', '00000000-0000-4000-8000-000000000001')$$, '25006 +'),
	($$SELECT event_store.create_subscription('s')$$, '25006 +'), ($$SELECT event_store.fetch('s', 'c')$$, '25006 +'), ($$SELECT event_store.ack('s', 'c', '{1}')$$, '25006 +'),
	($$SELECT * FROM event_store.subscriptions$$, '00000 -'),
	($$SELECT event_store.create_store('new')$$, '25006 +'),
	($$SELECT event_store.attach_store('shop')$$, '25006 +'),
	($$SELECT event_store.drop_store('shop', 'shop')$$, '25006 +'),
	($$SELECT event_store.grant_store('shop', 'pg_monitor', 'reader')$$, '25006 -'),
	($$SELECT event_store.revoke_store('shop', 'pg_monitor')$$, '25006 -'),
	('SELECT event_store.read_all()', '00000 -'), ($$SELECT event_store.read_stream('order-1')$$, '00000 -'), ('SELECT event_store.head()', '00000 -'), ('SELECT event_store.horizon()', '00000 -'),
	('SELECT event_store.poll(0)', '00000 -')) v(command, answer);

-- ---- sizes

SELECT is(pg_temp.refused(command), answer, note) FROM (VALUES
	($$SELECT event_store.append_event('s', 'A', to_jsonb(repeat('x', 1024 * 1024)))$$, '54000 0 +', 'data over 1 MB'),
	($$SELECT event_store.append_event('s', 'A', '{}', jsonb_build_object('x', repeat('x', 1024 * 1024)))$$, '54000 0 +', 'metadata over 1 MB'),
	($$SELECT event_store.append_event('s', 'A', to_jsonb(repeat('x', 600 * 1024)), jsonb_build_object('x', repeat('x', 600 * 1024)))$$, '54000 0 +', 'both over 1 MB together'),
	($$SELECT event_store.append('s', jsonb_build_array('{"type": "A", "data": 1}'::jsonb, jsonb_build_object('type', 'A', 'data', repeat('x', 1024 * 1024))))$$, '54000 1 +', 'the second of a batch over 1 MB'),
	($$SELECT event_store.append('s', ARRAY[ROW('A', '1', NULL, NULL, NULL, NULL, NULL), ROW('A', to_jsonb(repeat('x', 1024 * 1024)), NULL, NULL, NULL, NULL, NULL)]::event_store.new_event[])$$, '54000 1 +', 'the second of an array over 1 MB'),
	($$SELECT event_store.append_event('s', 'A', (SELECT jsonb_agg(n) FROM generate_series(1, 200000) n))$$, '54000 0 +', 'an array over 1 MB'),
	($$SELECT event_store.append_event('s', 'A', (repeat('[', 101) || repeat(']', 101))::jsonb)$$, '54000 0 data +', 'data of 101 levels'),
	($$SELECT event_store.append_event('s', 'A', (repeat('{"a":', 101) || '1' || repeat('}', 101))::jsonb)$$, '54000 0 data +', 'data of 101 levels of objects'),
	($$SELECT event_store.append_event('s', 'A', '{}', (repeat('{"a":', 101) || '1' || repeat('}', 101))::jsonb)$$, '54000 0 metadata +', 'metadata of 101 levels'),
	($$SELECT event_store.append_event('s', 'A', ('[0, {"a": [1, 2], "b": ' || repeat('[0, ', 99) || '1' || repeat(']', 99) || '}]')::jsonb)$$, '54000 0 data +', 'one deep branch among others'),
	($$SELECT event_store.append('s', '[{"type": "A", "data": ' || repeat('[', 100000) || repeat(']', 100000) || '}]')$$, '54001 -', 'JSON of 100,000 levels'),
	($$SELECT event_store.append('s', (SELECT jsonb_agg('{"type": "A", "data": 1}'::jsonb) FROM generate_series(1, 100001)))$$, '54000 +', '100,001 events'),
	($$SELECT event_store.append('s', (SELECT array_agg(ROW('A', '1', NULL, NULL, NULL, NULL, NULL)::event_store.new_event) FROM generate_series(1, 100001)))$$, '54000 +', '100,001 events in an array')) v(command, answer, note);

-- ---- what is odd but good is stored as jsonb stores it, the same in each form of a call

CREATE FUNCTION pg_temp.stored(document text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	text_form text := format('[{"type": "A", "data": %s}]', document);
	different int;
	result text;
BEGIN
	PERFORM event_store.append('odd', text_form);
	PERFORM event_store.append('odd', text_form::jsonb);
	PERFORM event_store.append('odd', ARRAY[ROW('A', document, NULL, NULL, NULL, NULL, NULL)::event_store.new_event]);
	PERFORM event_store.append_event('odd', 'A', document::jsonb);
	SELECT count(DISTINCT data::text), min(data::text) INTO different, result FROM event_store.read_stream('odd', direction => 'backward', max_count => 4);
	RETURN CASE WHEN different = 1 AND result = document::jsonb::text THEN 'same' ELSE different || ' different, one is ' || left(result, 100) END;
END $$;
SELECT is(pg_temp.stored(json), 'same', 'stored: ' || left(json, 60)) FROM unnest(ARRAY[
	'{"a": 1, "a": 2, "b": {"c": 1, "c": null}}', '{"b": 1, "a": 2, "aa": 3}', '{}', '[]', '""', '"null"', 'true', 'false', '0', '-0', '-0.0', '1.00', '1e5', '1E-5', '12345678901234567890.123456789',
	'1' || repeat('0', 131071), '0.' || repeat('0', 16382) || '1', '-' || repeat('9', 131072), '1e131071', '1e-16383',
	'"\u0001\u001f\u007f"', '"\ud83d\ude00"', '"\uffff"', '"\\u0000"', '"\"\\\/\b\f\n\r\t"', '{"": ""}', '{"type": "x", "data": 1}', '[null]', '{"a": null}',
	repeat('[', 100) || repeat(']', 100), repeat('{"a":', 100) || '1' || repeat('}', 100), '[' || repeat('[[]],', 1000) || '1]',
	to_json(repeat(U&'\+01F600', 1000))::text, to_json(repeat('x', 126))::text, to_json(repeat('x', 127))::text, to_json(repeat('x', 2100))::text, to_json(repeat('x', 1048000))::text,
	(SELECT json_object_agg('k' || n, n)::text FROM generate_series(1, 5000) n)]) json;
DO $$ BEGIN PERFORM event_store.append_event('dup', 'A', '{"a": 1, "a": 2}'); END $$;
SELECT is((SELECT data->>'a' FROM event_store.read_stream('dup')), '2', 'of duplicate keys the last one counts');
SELECT is(
	(SELECT a::text FROM event_store.append('forms', '[{"type": "A", "data": 1, "event_id": "{00000000-0000-4000-8000-0000000000a1}"}, {"type": "A", "data": 1, "event_id": "000000000000400080000000000000A2"},
		{"type": "A", "data": 1, "event_id": "0000-0000-0000-4000-8000-0000-0000-00a3", "correlation_id": null, "causation_id": null, "created_at": null, "metadata": null}]') a) IS NOT NULL, true,
	'ids in each form that uuid takes, and null for what may be left out');
SELECT results_eq($$SELECT event_id, metadata, correlation_id, causation_id FROM event_store.read_stream('forms')$$,
	$$SELECT format('00000000-0000-4000-8000-0000000000a%s', n)::uuid, NULL::jsonb, NULL::uuid, NULL::uuid FROM generate_series(1, 3) n$$, 'they are stored as given');

-- 100,000 events in one call
CREATE TEMP TABLE hundred AS
SELECT a.* FROM event_store.append('hundred', (SELECT jsonb_agg(jsonb_build_object('type', 'N', 'data', n)) FROM generate_series(1, 100000) n), 'no_stream') a;
SELECT results_eq('SELECT first_version, last_version, last_position - first_position FROM hundred', 'VALUES (1::bigint, 100000::bigint, 99999::bigint)', '100,000 events in one call');
SELECT results_eq($$SELECT count(*), min(version), max(version), count(*) FILTER (WHERE data = to_jsonb(version)), max(position) - min(position) FROM event_store.read_stream('hundred', max_count => NULL)$$,
	'VALUES (100000::bigint, 1::bigint, 100000::bigint, 100000::bigint, 99999::bigint)', 'all are there, in order');
SELECT is((SELECT a.first_version FROM event_store.append_event('hundred', 'N', expected => 100000) a), 100001::bigint, 'and the stream goes on');

-- a filter that matches nothing keeps how far it has come, and does not hold its caller until then
SELECT event_store.create_subscription('nothing', filter => '$.nothing == 1');
SELECT is((SELECT count(*)::int FROM event_store.fetch('nothing', 'c', timeout => '1 hour')), 0, 'a fetch that found nothing in 100,000 events returns');
SELECT ok(read_position BETWEEN 100000 AND event_store.horizon() - 2, 'it has kept how far it has come') FROM event_store.subscriptions;
SELECT is((SELECT count(*)::int FROM event_store.fetch('nothing', 'c', timeout => '0')), 0, 'the next one goes on');
SELECT is(read_position, event_store.horizon() - 1, 'and comes to the end') FROM event_store.subscriptions;
SELECT is(lag_events, 0::bigint, 'without a lag') FROM event_store.subscriptions;

-- a call that failed leaves nothing held
SELECT is((SELECT count(*)::int FROM event_store.in_flight()), 0, 'nothing is in flight');
SELECT is(event_store.horizon() - 1, (SELECT max(position) FROM event_log), 'every reader gets everything');
SELECT event_store.drop_store('shop', 'shop');
SELECT * FROM finish();
