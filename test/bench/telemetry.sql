-- What counting costs, in one session: no client, no network, so that what is left is the work itself. Rounds with telemetry on
-- and off alternate, and a ratio is the median over pairs of neighbouring rounds: what else the machine does falls on both.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT event_store.create_store('metered') \g /dev/null
SET search_path = metered, public;
SELECT event_store.metric_counter('bench.count'), event_store.metric_counter('bench.tagged', 'tagged', tags => '{tag}'),
	event_store.metric_summary('bench.summary', 'summed', 'n'), event_store.metric_counter('bench.many', 'many', tags => '{tag}') \g /dev/null

CREATE TABLE public.rounds (n serial, work text, telemetry bool, calls int, seconds float8);

-- appends, each a transaction
CREATE PROCEDURE public.appends(calls int, telemetry bool) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
BEGIN
	PERFORM set_config('event_store.telemetry', telemetry::text, false);
	began := clock_timestamp();
	FOR i IN 1 .. calls LOOP
		PERFORM event_store.append_event('order-1', 'OrderPlaced',
			'{"orderId":"8f14e45f-ceea-467f-a0e6-b3c0a9b2d1c7","customerId":"c-102938","status":"placed","total":12345.67}', expected => 'any');
		COMMIT;
	END LOOP;
	INSERT INTO public.rounds (work, telemetry, calls, seconds) VALUES ('append', telemetry, calls, extract(epoch FROM clock_timestamp() - began));
	COMMIT;
END $$;
SELECT format('CALL public.appends(%s, %L);', :calls, (i + j) % 2 = 1) FROM generate_series(1, :rounds) i, generate_series(0, 1) j \gexec
RESET event_store.telemetry;

-- a million calls, less a million rows that call nothing
CREATE PROCEDURE public.measure(work text, call text, calls int) LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	EXECUTE format('SELECT count(%s) FROM generate_series(1, $1) n', call) USING calls;
	INSERT INTO public.rounds (work, calls, seconds) VALUES (work, calls, extract(epoch FROM clock_timestamp() - began));
END $$;
SELECT format('CALL public.measure(%L, %L, %s)', work, call, 1000000)
FROM generate_series(1, 3), (VALUES
	('nothing', 'n'),
	('an event nobody listens to', 'event_store.telemetry_execute(''unheard'', ''{}'', ''{}'')'),
	('one increment', 'event_store.telemetry_execute(''bench'', ''{}'', ''{}'')'),
	('one increment with a tag', 'event_store.telemetry_execute(''tagged'', ''{}'', ''{"tag": "x"}'')'),
	('one value of a summary', 'event_store.telemetry_execute(''summed'', ''{"n": 12.5}'', ''{}'')')) w (work, call) \gexec

SELECT 'append, telemetry on against off: ' || round(percentile_cont(0.5) WITHIN GROUP (ORDER BY 100 * (a.seconds / b.seconds - 1))::numeric, 2)
	|| ' % more time, of ' || round(1e6 * min(b.seconds / b.calls)::numeric, 1) || ' us'
FROM rounds a JOIN rounds b ON a.telemetry AND NOT b.telemetry AND (a.n + 1) / 2 = (b.n + 1) / 2;
SELECT 'telemetry_execute, ' || work || ': '
	|| round((1e9 * min(seconds / calls) - (SELECT 1e9 * min(seconds / calls) FROM rounds WHERE work = 'nothing'))::numeric) || ' ns'
FROM rounds WHERE telemetry IS NULL AND work <> 'nothing' GROUP BY work ORDER BY min(n);

-- memory, after ten million samples
SELECT sum(total_bytes) AS before FROM pg_backend_memory_contexts WHERE name ~ 'event_store' \gset
SELECT count(event_store.telemetry_execute('summed', jsonb_build_object('n', n), '{}')) FROM generate_series(1, :samples) n \g /dev/null
SELECT 'memory of the session, ' || :samples || ' samples later: ' || sum(total_bytes) - :before || ' bytes more'
FROM pg_backend_memory_contexts WHERE name ~ 'event_store';

-- all series in use
SELECT count(event_store.telemetry_execute('many', '{}', jsonb_build_object('tag', n))) FROM generate_series(1, 10000) n \g /dev/null
CREATE PROCEDURE public.collect() LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz;
BEGIN
	FOR i IN 1 .. 20 LOOP
		began := clock_timestamp();
		PERFORM * FROM event_store.histogram_quantiles('event_store_append_batch_events');
		INSERT INTO public.rounds (work, calls, seconds) VALUES ('collect', 1, extract(epoch FROM clock_timestamp() - began));
	END LOOP;
END $$;
CALL public.collect();
SELECT 'collecting ' || (SELECT series FROM event_store.telemetry_info()) || ' series: ' || round(1e3 * min(seconds)::numeric, 2) || ' ms'
FROM rounds WHERE work = 'collect';
