/* telemetry: metrics, commit rule, what is dropped, handlers, what the log counts */
\set VERBOSITY terse
SELECT event_store.create_store('counted');
SET search_path = counted;

CREATE FUNCTION pg_temp.dropped(reason text) RETURNS bigint LANGUAGE sql
AS $$SELECT value FROM event_store.counters WHERE name = 'event_store_telemetry_dropped' AND tags ->> 'reason' = dropped.reason$$;
CREATE VIEW pg_temp.of_store AS
SELECT name, tags ->> 'outcome' AS outcome, value FROM event_store.counters WHERE name LIKE 'event\_store%' AND tags ->> 'store' = 'counted' AND value > 0;
CREATE VIEW pg_temp.shop AS
SELECT name, type, tags, value, count, sum, min, max FROM event_store.metrics WHERE name LIKE 'shop.%' ORDER BY name, tags;

-- systems 6.3.1, 6.3.4: four metrics, one event; a bound belongs to its bucket; negatives and fractions
SELECT event_store.metric_counter('shop.order.count', tags => '{currency}');
SELECT event_store.metric_sum('shop.order.total', tags => '{currency}', prometheus_type => 'gauge');
SELECT event_store.metric_last_value('shop.order.latest', measurement => 'total', commit_rule => 'immediate');
SELECT event_store.metric_distribution('shop.order.size', measurement => 'total', buckets => '{10,100,1000}');
SELECT event_store.metric_summary('shop.order.summary', measurement => 'total', unit => 'second', measured_in => 'millisecond');
SELECT event_store.telemetry_execute('shop.order', '{"total": 100}', '{"currency": "EUR"}');
SELECT * FROM shop;
SELECT buckets FROM event_store.metrics WHERE name = 'shop.order.size';
SELECT event_store.telemetry_execute('shop.order', jsonb_build_object('total', n), '{"currency": "EUR"}')
FROM unnest('{10, 10.01, -2.5, 1000, 1000.5, 0}'::numeric[]) n;
SELECT buckets FROM event_store.metrics WHERE name = 'shop.order.size';
SELECT * FROM shop;
-- an event that nothing is defined on, and one without what a counter does not need
SELECT event_store.telemetry_execute('nobody.cares');
SELECT event_store.telemetry_execute(NULL);

-- systems 6.3.2: a rollback takes back what is committed only, a savepoint its part of it
BEGIN;
SELECT event_store.telemetry_execute('shop.order', '{"total": 1}', '{"currency": "USD"}');
SAVEPOINT one;
SELECT event_store.telemetry_execute('shop.order', '{"total": 2}', '{"currency": "USD"}');
SAVEPOINT two;
SELECT event_store.telemetry_execute('shop.order', '{"total": 4}', '{"currency": "USD"}');
RELEASE two;
SELECT event_store.telemetry_execute('shop.order', '{"total": 8}', '{"currency": "CHF"}');
ROLLBACK TO one;
SAVEPOINT three;
SELECT event_store.telemetry_execute('shop.order', '{"total": 16}', '{"currency": "USD"}');
RELEASE three;
SELECT * FROM shop WHERE tags ->> 'currency' IN ('USD', 'CHF') OR name = 'shop.order.latest';
COMMIT;
SELECT * FROM shop WHERE tags ->> 'currency' IN ('USD', 'CHF') OR name = 'shop.order.latest';
SELECT buckets FROM event_store.metrics WHERE name = 'shop.order.size';
BEGIN;
SELECT event_store.telemetry_execute('shop.order', '{"total": 32}', '{"currency": "USD"}');
ROLLBACK;
SELECT * FROM shop WHERE tags ->> 'currency' IN ('USD', 'CHF') OR name = 'shop.order.latest';

-- systems 6.3.6: what cannot be recorded is counted, and nobody is disturbed
SELECT pg_temp.dropped('missing_tag') AS tag, pg_temp.dropped('bad_tag') AS bad_tag, pg_temp.dropped('missing_measurement') AS missing,
	pg_temp.dropped('bad_measurement') AS bad \gset
SELECT event_store.telemetry_execute('shop.order', '{"total": 1}', '{}');
SELECT pg_temp.dropped('missing_tag') - :tag AS missing_tag;
SELECT event_store.telemetry_execute('shop.order', '{"total": 1}', '{"currency": null}');
SELECT event_store.telemetry_execute('shop.order', '{"total": 1}', '[1]');
SELECT pg_temp.dropped('missing_tag') - :tag AS missing_tag;
SELECT event_store.telemetry_execute('shop.order', '{"total": 1}', '{"currency": {"a": 1}}');
SELECT pg_temp.dropped('bad_tag') - :bad_tag AS bad_tag;
SELECT event_store.telemetry_execute('shop.order', m, '{"currency": "EUR"}') FROM unnest('{"{}","{\"total\": null}","7"}'::jsonb[]) m;
SELECT pg_temp.dropped('missing_measurement') - :missing AS missing_measurement;
SELECT event_store.telemetry_execute('shop.order', m, '{"currency": "EUR"}') FROM unnest('{"{\"total\": \"12\"}","{\"total\": 1e400}","{\"total\": [1]}"}'::jsonb[]) m;
SELECT pg_temp.dropped('bad_measurement') - :bad AS bad_measurement;

-- systems 6.3.14: a gauge goes down, a sum that only grows does not
SELECT event_store.metric_sum('shop.paid', 'shop.payment', 'amount');
SELECT pg_temp.dropped('negative') AS negative \gset
SELECT event_store.telemetry_execute('shop.payment', '{"amount": 5}'), event_store.telemetry_execute('shop.payment', '{"amount": -2}');
SELECT pg_temp.dropped('negative') - :negative AS negative, value FROM shop WHERE name = 'shop.paid';
SELECT event_store.telemetry_execute('shop.order', '{"total": -1000}', '{"currency": "EUR"}');
SELECT value FROM shop WHERE name = 'shop.order.total' AND tags ->> 'currency' = 'EUR';

-- keep, drop, numbers and booleans as tags
SELECT event_store.metric_counter('shop.big', 'shop.sale', keep => '$.total > 100');
SELECT event_store.metric_counter('shop.small', 'shop.sale', drop => '$.total > 100', tags => '{total,new}');
SELECT event_store.telemetry_execute('shop.sale', '{}', m) FROM unnest('{"{\"total\": 99.50, \"new\": true}","{\"total\": 101, \"new\": false}","{\"total\": \"x\", \"new\": 1}"}'::jsonb[]) m;
SELECT name, tags, value FROM shop WHERE name IN ('shop.big', 'shop.small');

-- systems 6.3.5: bad definitions
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{1,3,2}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{1,1}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{1,NaN}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{1,Infinity}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{1,NULL}');
SELECT event_store.metric_distribution('shop.bad.x', buckets => '{a}');
SELECT event_store.metric_distribution('shop.bad.x');
SELECT event_store.metric_counter('shop.bad.x', keep => '$.a == 1', drop => '$.b == 1');
SELECT event_store.metric_counter('shop.bad.x', keep => '$.a ==');
SELECT event_store.metric_counter('a..b', 'e');
SELECT event_store.metric_counter('', 'e');
SELECT event_store.metric_counter('.a', 'e');
SELECT event_store.metric_counter('a.', 'e');
SELECT event_store.metric_counter('a b', 'e');
SELECT event_store.metric_counter('1a', 'e');
SELECT event_store.metric_counter(repeat('a', 129), 'e');
SELECT event_store.metric_counter('event_store.x', 'e');
SELECT event_store.metric_counter('lonely');
SELECT event_store.metric_counter('shop.order.count');
SELECT event_store.metric_counter('shop_order.count', 'e');
SELECT event_store.metric_sum('shop.order.count_total', 'e');
SELECT event_store.metric_counter('shop.bad.x', tags => '{a,a}');
SELECT event_store.metric_counter('shop.bad.x', tags => '{le}');
SELECT event_store.metric_counter('shop.bad.x', tags => '{"a b"}');
SELECT event_store.metric_counter('shop.bad.x', tags => '{NULL}');
SELECT event_store.metric_counter('shop.bad.x', tags => '{a,b,c,d,e,f,g,h,i}');
SELECT event_store.metric_sum('shop.bad.x', unit => 'byte', measured_in => 'second');
SELECT event_store.metric_sum('shop.bad.x', unit => 'euro', measured_in => 'cent');
SELECT event_store.metric_sum('shop.bad.x', prometheus_type => 'histogram');
SELECT event_store.metric_sum('shop.bad.x', commit_rule => 'later');
SELECT event_store.metric_counter('shop.bad.x', description => repeat('x', 257));
SELECT event_store.metric_drop('shop.bad.x');
SELECT count(*) FROM event_store.metric_definitions WHERE name LIKE '%bad%';

-- a definition counts from its commit on; dropped and defined again it begins anew
BEGIN;
SELECT event_store.metric_counter('shop.late.count');
SELECT event_store.telemetry_execute('shop.late');
COMMIT;
SELECT event_store.telemetry_execute('shop.late');
SELECT value FROM shop WHERE name = 'shop.late.count';
BEGIN;
SELECT event_store.metric_drop('shop.late.count');
ROLLBACK;
SELECT event_store.telemetry_execute('shop.late');
SELECT value FROM shop WHERE name = 'shop.late.count';
BEGIN;
SELECT event_store.telemetry_execute('shop.late');
SELECT event_store.metric_drop('shop.late.count');
SELECT event_store.metric_counter('shop.late.count');
COMMIT;
SELECT event_store.telemetry_execute('shop.late');
SELECT value FROM shop WHERE name = 'shop.late.count';

-- long label values are cut between characters: 120 bytes
SELECT event_store.metric_counter('shop.long', 'shop.long', tags => '{v}');
SELECT event_store.telemetry_execute('shop.long', '{}', jsonb_build_object('v', E'back\\slash "quote" new\nline ' || repeat('é', 5000)));
SELECT octet_length(tags ->> 'v'), length(tags ->> 'v'), left(tags ->> 'v', 30) FROM shop WHERE name = 'shop.long';

-- spans; systems 6.3.11: a duration covers what was done, in the unit of the metric
SELECT event_store.metric_summary('shop.work.ms', 'shop.work.stop', 'duration', unit => 'millisecond', measured_in => 'second');
SELECT event_store.metric_counter('shop.work.started', 'shop.work.start');
SELECT event_store.metric_counter('shop.work.failed', 'shop.work.exception', tags => '{sqlstate}', commit_rule => 'immediate');
SELECT event_store.telemetry_span('shop.work', 'SELECT pg_sleep(0.05) FROM generate_series(1, 2)');
SELECT event_store.telemetry_span('shop.work', 'SELECT 1/0', '{"why": "test"}');
SELECT event_store.telemetry_span('shop.work', NULL);
SELECT name, count, min >= 100 AS long_enough, min < 60000 AS in_milliseconds FROM shop WHERE name = 'shop.work.ms';
SELECT name, tags, value FROM shop WHERE name IN ('shop.work.started', 'shop.work.failed');

-- quantiles, reset
SELECT event_store.metric_summary('shop.spread', 'shop.spread', 'n');
SELECT count(event_store.telemetry_execute('shop.spread', jsonb_build_object('n', n))) FROM generate_series(1, 1000) n;
SELECT quantile, abs(value / (quantile * 1000) - 1) < 0.1 AS close FROM event_store.histogram_quantiles('shop.spread', quantiles => '{0.01,0.5,0.9,0.99,1}');
SELECT quantile, value BETWEEN 0 AND 100 FROM event_store.histogram_quantiles('shop.order.size', quantiles => '{0.5}');
SELECT count(*), bool_and(value >= coalesce(after, 0)) AS in_order, sum(share) <= 1 AS shares
FROM (SELECT *, lead(value) OVER () AS after FROM event_store.telemetry_top('event_store_append_calls', 2)) t;
SELECT * FROM event_store.telemetry_top('shop.order.size', 1);
SELECT * FROM event_store.telemetry_top('shop.nothing');
SELECT * FROM event_store.telemetry_top(max_count => -1);
SELECT count(*) FROM event_store.telemetry_top(max_count => 0);
SELECT * FROM event_store.histogram_quantiles('shop.order.count');
SELECT * FROM event_store.histogram_quantiles('shop.nothing');
SELECT * FROM event_store.histogram_quantiles('shop.spread', quantiles => '{1.5}');
SELECT event_store.telemetry_reset('shop.spread'), event_store.telemetry_reset('shop.order.size');
SELECT name, count, sum FROM shop WHERE name IN ('shop.spread', 'shop.order.size');
SELECT buckets FROM event_store.metrics WHERE name = 'shop.order.size';
SELECT event_store.telemetry_reset('shop.nothing');
SELECT event_store.telemetry_execute('shop.order', '{"total": 7}', '{"currency": "EUR"}');
SELECT count, sum FROM shop WHERE name = 'shop.order.size';

-- systems 6.3.10: appends count when they commit, conflicts at once
BEGIN;
SELECT last_version FROM event_store.append('order-1', '[{"type": "A", "data": 1}, {"type": "B", "data": 2}]', 'no_stream');
SELECT * FROM of_store;
COMMIT;
SELECT * FROM of_store ORDER BY name, outcome;
BEGIN;
SELECT last_version FROM event_store.append_event('order-1', 'C', expected => 2);
SAVEPOINT s;
SELECT last_version FROM event_store.append_event('order-1', 'C', expected => 2);
ROLLBACK TO s;
SELECT last_version FROM event_store.append_event('order-1', 'D', expected => 3);
ROLLBACK;
SELECT last_version FROM event_store.append_event('order-1', repeat('x', 10000));
DO $$ BEGIN PERFORM event_store.append_event('order-1', 'E', event_id => '6a0f6f4e-52b1-4c38-8a55-0c3c8f6a9a01', expected => 2); END $$;
SELECT last_version FROM event_store.append_event('order-1', 'E', event_id => '6a0f6f4e-52b1-4c38-8a55-0c3c8f6a9a01', expected => 2);
SELECT last_version FROM event_store.append_event('order-1', 'E', event_id => '6a0f6f4e-52b1-4c38-8a55-0c3c8f6a9a01', expected => 3);
SELECT * FROM of_store ORDER BY name, outcome;
SELECT metric, counted, counted = stored AS exact FROM event_store.telemetry_verify();

-- reads
SELECT event_store.telemetry_reset('event_store_read_calls'), event_store.telemetry_reset('event_store_events_read'),
	event_store.telemetry_reset('event_store_read_duration_seconds'), event_store.telemetry_reset('event_store_poll_waits');
SELECT count(*) FROM event_store.read_stream('order-1');
SELECT count(*) FROM event_store.read_all();
SELECT count(*) FROM event_store.read_category('order', max_count => 2);
SELECT count(*) FROM event_store.poll(0);
SELECT count(*) FROM event_store.poll(event_store.head(), timeout => '20 ms');
SELECT name, tags, value FROM event_store.counters WHERE name ~ 'read|poll_waits' AND value > 0 ORDER BY name, tags;
SELECT tags, count, sum > 0 AND sum < 60 AS plausible FROM event_store.metrics WHERE name = 'event_store_read_duration_seconds' AND count > 0 ORDER BY tags;

-- who keeps readers back
BEGIN;
SELECT last_version FROM event_store.append_event('order-2', 'A');
SELECT name, tags ? 'pid' AND (tags ->> 'pid')::int = pg_backend_pid() AS me, value > 0 FROM event_store.metrics
WHERE tags ->> 'store' = 'counted' AND name ~ 'horizon' ORDER BY name;
ROLLBACK;
SELECT name, value FROM event_store.metrics WHERE tags ->> 'store' = 'counted' AND name ~ 'horizon' ORDER BY name;
SELECT first_position FROM event_store.append_event('order-2', 'A') \gset
SELECT value = :first_position AS head FROM event_store.metrics WHERE tags ->> 'store' = 'counted' AND name = 'event_store_head_position';

-- trace context
SET event_store.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT last_version FROM event_store.append('traced-1', '[{"type": "A", "data": 1}, {"type": "A", "data": 1, "metadata": {"by": "me"}},
	{"type": "A", "data": 1, "metadata": {"traceparent": "mine"}}]');
RESET event_store.traceparent;
SELECT last_version FROM event_store.append_event('traced-1', 'A');
SELECT metadata FROM event_store.read_stream('traced-1');
SET event_store.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7';
SET event_store.traceparent = '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01';
SET event_store.traceparent = '00-00000000000000000000000000000000-00f067aa0ba902b7-01';
SET event_store.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01';
SET event_store.traceparent = 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

-- systems 6.3.15: off means nothing is counted
SET event_store.telemetry = off;
SELECT last_version FROM event_store.append_event('order-3', 'A');
SELECT event_store.telemetry_execute('shop.sale', '{}', '{"total": 1, "new": true}');
SELECT enabled FROM event_store.telemetry_info();
RESET event_store.telemetry;
SELECT metric, stored - counted AS not_counted FROM event_store.telemetry_verify() WHERE metric ~ 'events_app|streams';
SELECT count(*) FROM shop WHERE name = 'shop.small' AND tags ->> 'total' = '1';

-- handlers
CREATE TABLE public.heard (event text, measurements jsonb, metadata jsonb, config jsonb, by text);
CREATE FUNCTION public.hear(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.heard VALUES (event, measurements, metadata, config, current_user); END$$;
CREATE FUNCTION public.fail(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.heard VALUES ('never seen'); PERFORM 1/0; END$$;
CREATE FUNCTION public.sleep(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_sleep(600); END$$;
CREATE FUNCTION public.leave(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE plpgsql AS
$$BEGIN PERFORM event_store.telemetry_detach('leaver'); PERFORM event_store.telemetry_execute(event); PERFORM public.hear(event, measurements, metadata, config); END$$;
CREATE ROLE regress_es_caller;
SELECT event_store.telemetry_attach('hearer', '{shop.sale,shop.other}', 'public.hear(text,jsonb,jsonb,jsonb)', '{"a": 1}');
SELECT event_store.telemetry_attach('hearer', '{shop.sale}', 'public.hear(text,jsonb,jsonb,jsonb)');
SELECT event_store.telemetry_attach('x', '{}', 'public.hear(text,jsonb,jsonb,jsonb)');
SELECT event_store.telemetry_attach('x', '{e}', 'pg_catalog.now()');
SELECT event_store.telemetry_attach('x', '{e}', '999999'::regprocedure);
SELECT event_store.telemetry_detach('x');
-- runs as who attached it, and is part of the caller's transaction
SET ROLE regress_es_caller;
SELECT event_store.telemetry_attach('y', '{e}', 'public.hear(text,jsonb,jsonb,jsonb)');
SELECT event_store.telemetry_execute('shop.other', '{"n": 1}', '{"m": 2}');
RESET ROLE;
SELECT event, measurements, metadata, config, by = session_user AS as_attached FROM public.heard;
BEGIN;
SELECT event_store.telemetry_execute('shop.other');
ROLLBACK;
SELECT count(*) FROM public.heard;
-- systems 6.3.9: a handler that raises is detached, also if the caller rolls back; the failure is counted once
SELECT event_store.metric_counter('shop.failures', 'event_store.telemetry.handler.failure', tags => '{id,sqlstate}', commit_rule => 'immediate');
SELECT event_store.telemetry_reset('event_store_telemetry_handler_failures');
SELECT event_store.telemetry_attach('failer', '{shop.other}', 'public.fail(text,jsonb,jsonb,jsonb)');
BEGIN;
SELECT event_store.telemetry_execute('shop.other');
SELECT event_store.telemetry_execute('shop.other');
SELECT event, count(*) FROM public.heard GROUP BY 1;
ROLLBACK;
SELECT event_store.telemetry_execute('shop.other');
SELECT tags, value FROM shop WHERE name = 'shop.failures';
SELECT value FROM event_store.counters WHERE name = 'event_store_telemetry_handler_failures';
SELECT id, events, fn, config, attached_by::text = session_user AS mine, failed_at IS NOT NULL AS failed FROM event_store.telemetry_handlers ORDER BY id;
-- one that sleeps has its time; one that drops itself, or executes events, does no harm
SET event_store.handler_timeout = '50 ms';
SELECT event_store.telemetry_attach('sleeper', '{shop.sleep}', 'public.sleep(text,jsonb,jsonb,jsonb)');
SELECT event_store.telemetry_execute('shop.sleep');
SELECT event_store.telemetry_execute('shop.sleep');
RESET event_store.handler_timeout;
SELECT event_store.telemetry_attach('leaver', '{shop.leave}', 'public.leave(text,jsonb,jsonb,jsonb)');
SELECT event_store.telemetry_execute('shop.leave');
SELECT event_store.telemetry_execute('shop.leave');
SELECT event, count(*) FROM public.heard GROUP BY 1 ORDER BY 1;
-- a function that is gone is a failure, mended by attaching anew
DROP FUNCTION public.hear;
SELECT event_store.telemetry_execute('shop.other');
SELECT tags ->> 'id' AS id, tags ->> 'sqlstate' AS sqlstate, value FROM shop WHERE name = 'shop.failures' ORDER BY 1;
SELECT event_store.telemetry_detach(id) FROM event_store.telemetry_handlers;
-- whoever cancels the statement is obeyed
CREATE FUNCTION public.slow(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
SELECT event_store.telemetry_attach('slow', '{shop.slow}', 'public.slow(text,jsonb,jsonb,jsonb)');
SET event_store.handler_timeout = 0;
SET statement_timeout = '50 ms';
SELECT event_store.telemetry_execute('shop.slow');
RESET statement_timeout;
SELECT failed_at FROM event_store.telemetry_handlers;
SELECT event_store.telemetry_detach('slow');

-- the log's own events, for metrics and handlers; those of a conflict for metrics
CREATE FUNCTION public.hear(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE sql AS
$$INSERT INTO public.heard SELECT event, measurements - 'duration', metadata$$;
TRUNCATE public.heard;
SELECT event_store.telemetry_attach('log', '{event_store.append,event_store.append.conflict,event_store.read}', 'public.hear(text,jsonb,jsonb,jsonb)');
SELECT event_store.metric_sum('shop.appended', 'event_store.append', 'events', tags => '{store}');
SELECT event_store.metric_counter('shop.conflicts', 'event_store.append.conflict', tags => '{store}', commit_rule => 'immediate');
SELECT last_version FROM event_store.append('own-1', '[{"type": "A", "data": 1}, {"type": "B", "data": 2}]');
SELECT last_version FROM event_store.append_event('own-1', 'C', expected => 7);
SELECT version, type FROM event_store.read_stream('own-1');
BEGIN;
SELECT last_version FROM event_store.append_event('own-1', 'C');
ROLLBACK;
SELECT event, measurements, metadata FROM public.heard;
SELECT name, tags, value FROM shop WHERE name IN ('shop.appended', 'shop.conflicts');
-- beside parallel workers no handler runs
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*), min(n) > 0 AS some FROM event_store.read_stream('own-1'), (SELECT count(*) FROM pg_class WHERE relname <> '') c (n);
COMMIT;
SELECT count(*) FROM public.heard;
SELECT event_store.telemetry_detach('log');
SELECT last_version FROM event_store.append_event('own-1', 'C');
SELECT count(*) FROM public.heard;

-- whoever executes the event needs no rights on the function; a read-only transaction is not the handler's fault
CREATE SCHEMA hidden;
CREATE FUNCTION hidden.hear(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void LANGUAGE sql AS
$$INSERT INTO public.heard VALUES ('hidden')$$;
REVOKE ALL ON FUNCTION hidden.hear FROM PUBLIC;
SELECT event_store.telemetry_attach('hidden', '{shop.hidden}', 'hidden.hear(text,jsonb,jsonb,jsonb)');
BEGIN READ ONLY;
SELECT event_store.telemetry_execute('shop.hidden');
COMMIT;
SET ROLE regress_es_caller;
SELECT event_store.telemetry_execute('shop.hidden');
RESET ROLE;
SELECT count(*) FROM public.heard WHERE event = 'hidden';
SELECT event_store.telemetry_detach('hidden');
DROP SCHEMA hidden CASCADE;

-- rights
SET ROLE regress_es_caller;
SELECT event_store.telemetry_execute('shop.sale', '{}', '{"total": 500}');
SELECT event_store.metric_counter('mine', 'mine');
SELECT event_store.metric_drop('shop.big');
SELECT event_store.telemetry_reset();
SELECT count(*) FROM event_store.metrics;
RESET ROLE;

-- a dropped store takes its counters along, and one made anew begins at zero
SELECT count(*) > 0 FROM of_store;
SELECT event_store.drop_store('counted', 'counted');
SELECT count(*) FROM of_store;
SELECT event_store.create_store('counted');
SELECT last_version FROM event_store.append_event('order-1', 'A');
SELECT name, value FROM of_store WHERE name = 'event_store_events_appended';
SELECT event_store.telemetry_reset();
SELECT count(*) FROM event_store.counters WHERE value <> 0;

SELECT count(event_store.metric_drop(name)) FROM event_store.metric_definitions;
SELECT count(*) FROM shop;
SELECT event_store.drop_store('counted', 'counted');
DROP TABLE public.heard;
DROP FUNCTION public.hear, public.fail, public.sleep, public.leave, public.slow;
DROP ROLE regress_es_caller;
