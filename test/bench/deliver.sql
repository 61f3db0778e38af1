-- From the commit of an event to its effect in a handler that a worker runs. Variables: samples; what, the name of the row.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SET search_path = bench;
DROP TABLE IF EXISTS effect;
DROP TABLE IF EXISTS sample;
CREATE TABLE effect (position bigint PRIMARY KEY, at timestamptz);
CREATE TABLE sample (position bigint PRIMARY KEY, called timestamptz, told timestamptz);
CREATE OR REPLACE FUNCTION note_time(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO effect VALUES (event.position, clock_timestamp());
END $$;
SELECT event_store.register_handler('latency', 'note_time', category => 'sample', start_from => 'current') IS NULL AS ok \gset

-- the time is taken before the COMMIT, which is counted too
CREATE OR REPLACE PROCEDURE take_samples(samples bigint) LANGUAGE plpgsql AS $$
DECLARE
	p bigint;
	called timestamptz;
BEGIN
	FOR i IN 1 .. samples LOOP
		SELECT last_position INTO p FROM event_store.append_event('sample-' || i, 'Sampled');
		called := clock_timestamp();
		COMMIT;
		PERFORM event_store.wait_for("position" => p, handlers => '{latency}', timeout => '1 min');
		INSERT INTO sample VALUES (p, called, clock_timestamp());
		COMMIT;
		PERFORM pg_sleep(0.02);
		COMMIT;
	END LOOP;
END $$;
CALL take_samples(:samples);
SELECT format('commit to effect, %s: median %s ms, p99 %s ms; until wait_for has returned: median %s ms, p99 %s ms (%s samples)', :'what',
	round(1000 * extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY at - called)), 2),
	round(1000 * extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY at - called)), 2),
	round(1000 * extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY told - called)), 2),
	round(1000 * extract(epoch FROM percentile_cont(0.99) WITHIN GROUP (ORDER BY told - called)), 2), count(*))
FROM sample JOIN effect USING (position);
SELECT event_store.handler_delete('latency') IS NULL AS ok \gset
