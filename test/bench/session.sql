-- Sessions in memory, as many as :sessions: the time of a call among the first and the last of them, and to free them.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
CREATE OR REPLACE FUNCTION public.time_of(what text, n integer, first integer) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	FOR i IN first .. first + n - 1 LOOP
		IF what = 'start' THEN
			PERFORM event_store.session_start('s' || i, '{"cart": [1, 2, 3]}', ttl => '1 hour');
		ELSIF what = 'get' THEN
			PERFORM event_store.session_get('s' || i);
		ELSE
			PERFORM event_store.session_stop('s' || i);
		END IF;
	END LOOP;
	RETURN round(1e6 * extract(epoch FROM clock_timestamp() - began) / n, 2);
END $$;
SELECT public.time_of('start', 1000, 1) AS first_start, public.time_of('get', 1000, 1) AS first_get \gset
SELECT public.time_of('start', :sessions - 2000, 1001) AS start \gset
SELECT public.time_of('start', 1000, :sessions - 999) AS last_start, public.time_of('get', 1000, :sessions - 999) AS last_get \gset
SELECT count(*) AS there FROM event_store.sessions \gset
SELECT public.time_of('stop', :sessions, 1) AS stop \gset
SELECT format('%s sessions: start %s us a call among the first 1,000, %s us among the last; get %s us and %s us; stop %s us',
	:there, :first_start, :last_start, :first_get, :last_get, :stop);

-- those whose time is over are freed by one call
SELECT count(event_store.session_start('t' || i, '{}', ttl => '1 second')) AS started FROM generate_series(1, :sessions) i \gset
SELECT pg_sleep(1.1) \gset
SELECT clock_timestamp() AS began \gset
SELECT event_store.session_sweep(:sessions) \gset
SELECT format('%s sessions whose time is over, freed in %s ms, %s left', :started,
	round(1000 * extract(epoch FROM clock_timestamp() - :'began'), 1), sessions) FROM event_store.shared_pool();
