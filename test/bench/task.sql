-- From the commit that makes a task due to its step, as the step's own clock tells. Variables: samples; what, the name of the row.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SET search_path = bench;
DROP TABLE IF EXISTS public.sample;
CREATE TABLE public.sample (n bigint PRIMARY KEY, called timestamptz, began timestamptz);
SELECT event_store.schedule('sample', '1 day', 'UPDATE public.sample SET began = clock_timestamp() WHERE began IS NULL', replace => true) IS NOT NULL AS ok \gset

-- the time is taken before the COMMIT, which is counted too
CREATE OR REPLACE PROCEDURE public.take_samples(samples bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. samples LOOP
		UPDATE event_store.schedule SET next_run = now() WHERE task = (SELECT number FROM event_store.task WHERE name = 'sample');
		PERFORM event_store.resume_task('schedule', 'sample');
		INSERT INTO public.sample VALUES (i, clock_timestamp(), NULL);
		COMMIT;
		LOOP
			EXIT WHEN EXISTS (SELECT FROM public.sample WHERE n = i AND began IS NOT NULL);
			PERFORM pg_sleep(0.0005);
			COMMIT;
		END LOOP;
		-- longer than the mark's interval, so that nothing is under way
		PERFORM pg_sleep(0.025);
		COMMIT;
	END LOOP;
END $$;
SET synchronous_commit = off;
CALL public.take_samples(:samples);
SELECT format('commit to step, %s: median %s ms, p99 %s ms, worst %s ms (%s samples)', :'what',
	round(1000 * extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY began - called)), 2),
	round(1000 * extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY began - called)), 2),
	round(1000 * extract(epoch FROM max(began - called)), 2), count(*))
FROM public.sample;
SELECT event_store.unschedule('sample') \gset
