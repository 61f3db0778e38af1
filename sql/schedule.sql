/* schedules: when something is due, registration, runs, polls */
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- fields, names, ranges, steps, lists
SELECT timing, event_store.next_run(timing, '2026-11-25 17:42:30+00', 'UTC')
FROM (VALUES ('* * * * *'), ('*/5 * * * *'), ('7-59/10 * * * *'), ('0,15,50 * * * *'), ('43 17 * * *'), ('42 17 * * *'),
	('0 0 1 * *'), ('0 0 * jan,MAR *'), ('0 0 * * sun'), ('0 0 * * 7'), ('0 0 * * Mon-Fri'), ('30 3 * * mon-fri/2'), ('50/4 * * * *'),
	('0 0 13 * fri'), ('0 0 13 12 *'), ('0 0 */2 * mon'), ('0 0 29 2 *'), ('  0  12	* * * '), ('@hourly'), ('@Daily'), ('@weekly'), ('@monthly'),
	('@yearly'), ('90 s'), ('1 day'), ('0.25 s'), ('2 days 3 hours 5 min')) t (timing);
SELECT event_store.next_run('0 0 29 2 *', '2096-03-01', 'UTC') AS eight_years;
SELECT event_store.next_run('0 0 * * *', '1999-12-31 23:59:59.999999', 'UTC'), event_store.next_run('* * * * *', '1969-12-31 23:59:30', 'UTC');

-- against a search minute by minute
WITH cases AS (
	SELECT n, ARRAY[n % 7 * 8, n % 59] AS minutes, ARRAY[n % 24, n * 5 % 24] AS hours, n % 12 + 1 AS month, n % 7 AS weekday,
		timestamptz '2026-01-01' + n * interval '13 days 7 hours 11 minutes 17 seconds' AS after
	FROM generate_series(1, 40) n)
SELECT count(*) AS compared, count(*) FILTER (WHERE event_store.next_run(format('%s %s * %s %s', array_to_string(minutes, ','),
		array_to_string(hours, ','), month, weekday), after, 'UTC') IS DISTINCT FROM
	(SELECT min(m) FROM generate_series(date_trunc('month', after), after + interval '366 days', '1 day') d
		CROSS JOIN LATERAL generate_series(date_trunc('day', d), date_trunc('day', d) + interval '1439 minutes', '1 minute') m
		WHERE extract(month FROM d) = month AND extract(dow FROM d) = weekday AND m > after
			AND extract(minute FROM m) = ANY (minutes) AND extract(hour FROM m) = ANY (hours))) AS wrong
FROM cases;

-- clocks are set forward: what was due in the hour that is left out is due once, right after it; what is due every hour follows the time
SELECT timing, event_store.next_run(timing, after, zone), event_store.next_run(timing, event_store.next_run(timing, after, zone), zone) AS then
FROM (VALUES ('30 2 * * *', timestamptz '2026-03-28 12:00+01', 'Europe/Berlin'), ('0 2 * * *', '2026-03-28 12:00+01', 'Europe/Berlin'),
	('0,15,30 2,3 * * *', '2026-03-28 12:00+01', 'Europe/Berlin'), ('*/15 * * * *', '2026-03-29 01:45+01', 'Europe/Berlin'),
	('30 2 29 3 *', '2026-03-28 12:00+01', 'Europe/Berlin'), ('30 2 30 * *', '2026-03-28 12:00+01', 'Europe/Berlin'),
	('15 2 * * *', '2026-10-03 12:00+10:30', 'Australia/Lord_Howe'), ('30 0 * * *', '2026-04-23 12:00+02', 'Africa/Cairo'),
	('0 0 * * fri', '2026-04-22 12:00+02', 'Africa/Cairo')) t (timing, after, zone);
-- set back: what is due in the hour that comes twice is due in the first one
SELECT timing, event_store.next_run(timing, after, zone), event_store.next_run(timing, event_store.next_run(timing, after, zone), zone) AS then
FROM (VALUES ('30 2 * * *', timestamptz '2026-10-25 00:00+02', 'Europe/Berlin'), ('*/30 * * * *', '2026-10-25 02:00+02', 'Europe/Berlin'),
	('30 2 * * *', '2026-10-25 02:45+02', 'Europe/Berlin'), ('50 1 * * *', '2026-04-05 00:00+11', 'Australia/Lord_Howe'),
	('0 0 * * *', '2026-10-29 12:00+03', 'Africa/Cairo')) t (timing, after, zone);

-- what is no timing
DO $$
DECLARE bad text; state text; detail jsonb; message text;
BEGIN
	FOREACH bad IN ARRAY ARRAY['60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 0 *', '* * * 13 *', '* * * * 8', '*/0 * * * *', '*/60 * * * *',
		'5-3 * * * *', '1,,2 * * * *', '1, * * * *', '-1 * * * *', '* * * * mon-', '* * * foo *', '1.5 * * * *', '* * * *', '* * * * * *', '*', '@never', '',
		'0 0 31 2 *', '99999999999999999999 * * * *', '-1 s', '0', '10 ms', '1 month', '11 years', 'soon', '99999999999 years', '1 day -25 hours'] LOOP
		BEGIN
			PERFORM event_store.next_run(bad);
			RAISE NOTICE '%: no error', bad;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
			RAISE NOTICE '% %', state, message;
		END;
	END LOOP;
END $$;
SELECT event_store.next_run('* * * * *', now(), 'Mars/Olympus');
SELECT event_store.next_run(NULL);
SELECT event_store.next_run(repeat('1,', 100000) || '1 * * * *', '2026-01-01', 'UTC');

-- registration
CREATE FUNCTION tick(args jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION tock() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rows() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE proc() LANGUAGE sql AS 'SELECT 1';
SELECT event_store.schedule('nightly', '0 3 * * *', 'SELECT 1', time_zone => 'Europe/Berlin') > now() AS later;
SELECT event_store.schedule('nightly', '0 4 * * *', 'SELECT 1');
SELECT event_store.schedule('nightly', '0 4 * * *', function => 'tick', args => '{"a": 1}', missed => 'skip', replace => true) > now() AS later;
SELECT event_store.schedule('tock', '1 day', function => 'tock') IS NOT NULL AS ok;
SELECT kind, name, schema, timing, time_zone, command, function, args, missed_policy, last_run, runs, missed, failures FROM event_store.schedules ORDER BY name;
SELECT event_store.schedule('', '1 day', 'SELECT 1');
SELECT event_store.schedule(repeat('x', 128), '1 day', 'SELECT 1');
SELECT event_store.schedule('x', '1 day');
SELECT event_store.schedule('x', '1 day', 'SELECT 1', 'tick');
SELECT event_store.schedule('x', '1 day', 'SELECT 1', args => '{}');
SELECT event_store.schedule('x', '1 day', function => 'tock', args => '{}');
SELECT event_store.schedule('x', '1 day', function => 'rows');
SELECT event_store.schedule('x', '1 day', function => 'proc');
SELECT event_store.schedule('x', '1 day', function => 'pg_sleep(float8)');
SELECT event_store.schedule('x', '1 day', function => 'nothing');
SELECT event_store.schedule('x', '1 day', 'SELEC 1');
SELECT event_store.schedule('x', '1 day', 'SELECT 1', missed => 'often');
SELECT event_store.schedule('x', '1 day', 'SELECT 1', time_zone => 'Mars/Olympus');
SELECT event_store.schedule('x', '0 0 30 2 *', 'SELECT 1');
SELECT event_store.schedule(NULL, '1 day', 'SELECT 1');
BEGIN READ ONLY; SELECT event_store.schedule('x', '1 day', 'SELECT 1'); ROLLBACK;
SELECT event_store.unschedule('nothing');
SELECT event_store.unschedule('nightly'), event_store.unschedule('tock');
SELECT count(*) FROM event_store.tasks WHERE kind <> 'session';

-- a schedule of a store is that store's
SELECT event_store.create_store('scheduled');
SET search_path = scheduled, public;
SELECT event_store.schedule('nightly', '0 3 * * *', 'SELECT 1') IS NOT NULL AS ok;
RESET search_path;
SELECT event_store.schedule('nightly', '0 3 * * *', 'SELECT 1') IS NOT NULL AS ok;
SELECT name, schema FROM event_store.schedules ORDER BY schema;
SET search_path = scheduled, public;
SELECT event_store.unschedule('nightly');
SELECT name, schema FROM event_store.schedules ORDER BY schema;
SELECT event_store.unschedule('nightly');
RESET search_path;

-- other roles
CREATE ROLE regress_es_schedule;
GRANT CREATE ON DATABASE regression TO regress_es_schedule;
SELECT event_store.schedule('mine', '1 day', 'SELECT 1') IS NOT NULL AS ok;
SET ROLE regress_es_schedule;
SELECT count(*) FROM event_store.schedules;
SELECT event_store.unschedule('mine');
SELECT event_store.schedule('mine', '1 day', 'SELECT 1', replace => true);
SELECT event_store.resume_task('schedule', 'mine');
SELECT event_store.telemetry_poll('p', 'SELECT 1', '1 s');
RESET ROLE;
SELECT event_store.unschedule('mine');
REVOKE CREATE ON DATABASE regression FROM regress_es_schedule;
DROP ROLE regress_es_schedule;

-- polls: rows that are telemetry
CREATE PROCEDURE wait_until(query text) LANGUAGE plpgsql AS $$
DECLARE
	deadline timestamptz := clock_timestamp() + interval '60 s';
	done boolean := false;
BEGIN
	WHILE NOT done AND clock_timestamp() < deadline LOOP
		EXECUTE query INTO done;
		PERFORM pg_sleep(0.01) WHERE NOT done;
	END LOOP;
	IF NOT done THEN
		RAISE WARNING 'not in time: %', query;
	END IF;
END $$;
SELECT event_store.metric_sum('polled.size', tags => '{table}');
SELECT event_store.telemetry_poll('sizes', $$VALUES ('polled', '{"size": 3}'::jsonb, '{"table": "a"}'::jsonb), ('polled', '{"size": 4}', '{"table": "b"}'), (NULL, NULL, NULL)$$, '100 ms');
CALL wait_until($$SELECT count(*) FILTER (WHERE value >= 6) = 2 FROM event_store.metrics WHERE name = 'polled.size'$$);
SELECT tags, value / CASE tags ->> 'table' WHEN 'a' THEN 3 ELSE 4 END >= 2 AS twice FROM event_store.metrics WHERE name = 'polled.size' ORDER BY 1;
SELECT kind, name, timing FROM event_store.schedules;
SELECT event_store.telemetry_poll('sizes', 'SELECT 1', '1 s');
SELECT event_store.telemetry_poll('sizes', $$SELECT 'polled', 1$$, '100 ms', replace => true);
CALL wait_until($$SELECT failures > 0 FROM event_store.tasks WHERE name = 'sizes'$$);
SELECT last_problem ->> 'detail' AS detail FROM event_store.tasks WHERE name = 'sizes';
SELECT event_store.telemetry_poll('sizes', 'SELECT 1', '-1 s', replace => true);
SELECT event_store.telemetry_unpoll('sizes');
SELECT event_store.telemetry_unpoll('sizes');
SELECT event_store.metric_drop('polled.size');

SELECT event_store.drop_store('scheduled', 'scheduled');
DROP FUNCTION tick, tock, rows;
DROP PROCEDURE proc, wait_until;
