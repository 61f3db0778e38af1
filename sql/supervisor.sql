-- supervisors and their children (with processes that are killed: test/t/095_supervisor.pl)
\set VERBOSITY terse
CREATE TABLE public.ticks (n serial, child text, pid int);
CREATE FUNCTION tick(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.ticks (child, pid) VALUES (args ->> 'child', pg_backend_pid());
	IF (SELECT count(*) FROM public.ticks WHERE child = args ->> 'child') >= (args ->> 'times')::int THEN
		IF args ? 'fail' THEN
			RAISE SQLSTATE '22012' USING MESSAGE = 'cannot go on';
		END IF;
		RETURN NULL;
	END IF;
	RETURN '1 ms';
END $$;
CREATE FUNCTION supervisor_wait(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	done boolean := false;
BEGIN
	FOR i IN 1..6000 LOOP
		EXECUTE query INTO done;
		EXIT WHEN done;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN done;
END $$;
SELECT event_store.supervisor_create('clocks', max_children => 2, max_restarts => 3, max_seconds => 3600);
SELECT name, state, children, max_children, max_restarts, max_seconds FROM event_store.supervisors;
SELECT event_store.supervisor_create('nobodys', run_as => '999999'::regrole);
SELECT event_store.supervisor_start_child('clocks', '999999'::regprocedure, '{}');

-- systems 4.3.1: called again and again, until it returns null; a temporary and a transient one are not started again then
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "a", "times": 3}', restart => 'temporary', name => 'a') IS NOT NULL AS started;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "b", "times": 3}', restart => 'transient') IS NOT NULL AS started;
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT child, count(*), count(DISTINCT pid) AS processes, bool_and(pid <> pg_backend_pid()) AS elsewhere FROM ticks GROUP BY 1 ORDER BY 1;
-- a permanent one is, and that counts as a restart
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "c", "times": 1}', restart => 'permanent') IS NOT NULL AS started;
-- systems 4.3.2: the fourth restart is one too many: the supervisor has failed
SELECT supervisor_wait($$SELECT state = 'failed' FROM event_store.supervisors$$);
SELECT problem ->> 'type' AS type, problem ->> 'status' AS status, problem ->> 'detail' AS detail FROM event_store.supervisors;
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT count(*) FROM ticks WHERE child = 'c';
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "d", "times": 1}');
SELECT event_store.supervisor_restart('clocks');
SELECT state, problem FROM event_store.supervisors;

-- errors: a transient child is started again, its siblings are ended when the supervisor fails
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "sibling", "times": 1000000}', name => 'sibling') IS NOT NULL AS started;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "bad", "times": 3, "fail": true}', restart => 'transient', name => 'bad') IS NOT NULL AS started;
SELECT supervisor_wait($$SELECT state = 'failed' FROM event_store.supervisors$$);
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT event_store.supervisor_restart('clocks');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "once", "times": 2, "fail": true}', restart => 'temporary') IS NOT NULL AS started;
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT state FROM event_store.supervisors;
-- the call that failed is undone
SELECT count(*) FROM ticks WHERE child = 'once';

-- systems 4.3.3: as many children as it may have
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "e", "times": 1000000}', name => 'e') AS e \gset
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "f", "times": 1000000}', name => 'f') AS f \gset
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "g", "times": 1000000}', name => 'g');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "e", "times": 1000000}', name => 'e');
SELECT name, restart, pid IS NOT NULL AS has_process, restarts, last_sqlstate FROM event_store.supervisor_children ORDER BY name;
SELECT regexp_replace(line, 'running|waiting', 'running or waiting') FROM event_store.supervision_tree;

-- systems 4.3.5: ended; an id that is none
SELECT event_store.supervisor_terminate_child(:'e'), event_store.supervisor_terminate_child(:'e');
SELECT name FROM event_store.supervisor_children;
SELECT event_store.supervisor_terminate_child('00000000-0000-0000-0000-000000000000');

-- systems 4.3.4: the first call fails: its error comes back, nothing is left
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "h", "times": 1, "fail": true}', name => 'h');
\set VERBOSITY sqlstate
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "h", "times": 1, "fail": true}', name => 'h');
\set VERBOSITY terse
SELECT name FROM event_store.supervisor_children;

-- started before the commit, ended with a rollback, of a savepoint too
BEGIN;
SAVEPOINT s;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "i", "times": 1000000}', name => 'i') IS NOT NULL AS started;
SELECT count(*) FROM event_store.supervisor_children WHERE name = 'i';
ROLLBACK TO s;
COMMIT;
SELECT supervisor_wait($$SELECT count(*) = 0 FROM event_store.supervisor_children WHERE name = 'i'$$);
BEGIN;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "j", "times": 1000000}', name => 'j') IS NOT NULL AS started;
ROLLBACK;
SELECT supervisor_wait($$SELECT count(*) = 0 FROM event_store.supervisor_children WHERE name = 'j'$$);

-- a child cannot wait for its parent's transaction
BEGIN;
LOCK TABLE ticks;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "k", "times": 1000000}', name => 'k', start_timeout => '100 ms');
ROLLBACK;
SELECT supervisor_wait($$SELECT count(*) = 0 FROM event_store.supervisor_children WHERE name = 'k'$$);

-- stopped with all children
SELECT event_store.supervisor_stop('clocks');
SELECT count(*) FROM event_store.supervisor_children;
SELECT state FROM event_store.supervisors;
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', '{"child": "l", "times": 1}');
SELECT event_store.supervisor_restart('clocks');

-- systems 4.3.16: as another role, which may do less
CREATE ROLE regress_es_worker;
SELECT event_store.supervisor_create('others', run_as => 'regress_es_worker');
SELECT event_store.supervisor_start_child('others', 'tick(jsonb)', '{"child": "m", "times": 1000000}');
GRANT INSERT, SELECT ON ticks TO regress_es_worker;
GRANT USAGE ON SEQUENCE ticks_n_seq TO regress_es_worker;
SELECT event_store.supervisor_start_child('others', 'tick(jsonb)', '{"child": "m", "times": 1000000}') IS NOT NULL AS started;
CREATE FUNCTION grab(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN RESET ROLE; RETURN NULL; END $$;
SELECT event_store.supervisor_start_child('others', 'grab(jsonb)');
SET ROLE regress_es_worker;
SELECT count(*) FROM event_store.supervisors;
SELECT fn FROM event_store.child_status();
SELECT event_store.supervisor_start_child('others', 'tick(jsonb)', '{"child": "n", "times": 1}');
SELECT event_store.supervisor_create('mine');
SELECT event_store.supervisor_stop('others');
RESET ROLE;
SELECT event_store.supervisor_drop('others');
SELECT count(*) FROM event_store.child_status();
REVOKE ALL ON ticks, ticks_n_seq FROM regress_es_worker;
DROP ROLE regress_es_worker;

-- children that misbehave end nothing but themselves
SELECT event_store.supervisor_create('wild', max_restarts => 1, max_seconds => 3600);
CREATE FUNCTION ends_transaction(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN COMMIT; RETURN NULL; END $$;
SELECT event_store.supervisor_start_child('wild', 'ends_transaction(jsonb)');
CREATE FUNCTION ends_itself(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
SELECT event_store.supervisor_start_child('wild', 'ends_itself(jsonb)');
CREATE FUNCTION sleeps(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NULL; END $$;
SELECT event_store.supervisor_start_child('wild', 'sleeps(jsonb)', start_timeout => '50 ms', shutdown => '0');
CREATE FUNCTION loops(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
SELECT event_store.supervisor_start_child('wild', 'loops(jsonb)', start_timeout => '50 ms', shutdown => '0');
-- pauses that are negative or longer than there is time
CREATE FUNCTION waits(args jsonb) RETURNS interval LANGUAGE sql AS $$ SELECT (args ->> 'pause')::interval $$;
SELECT event_store.supervisor_start_child('wild', 'waits(jsonb)', '{"pause": "178000000 years"}', name => 'far') IS NOT NULL AS started;
SELECT event_store.supervisor_start_child('wild', 'waits(jsonb)', '{"pause": "-1 day"}', name => 'busy') IS NOT NULL AS started;
SELECT supervisor_wait($$SELECT calls > 3 FROM event_store.supervisor_children WHERE name = 'busy'$$);
SELECT state, calls, next_call FROM event_store.supervisor_children WHERE name = 'far';
-- one that ends itself again and again takes its supervisor and siblings along
CREATE FUNCTION ends_itself_later(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM public.ticks WHERE child = 'later' AND pid = pg_backend_pid()) THEN
		PERFORM pg_terminate_backend(pg_backend_pid());
	END IF;
	INSERT INTO public.ticks (child, pid) VALUES ('later', pg_backend_pid());
	RETURN '0';
END $$;
SELECT event_store.supervisor_start_child('wild', 'ends_itself_later(jsonb)') IS NOT NULL AS started;
SELECT supervisor_wait($$SELECT state = 'failed' FROM event_store.supervisors WHERE name = 'wild'$$);
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT count(DISTINCT pid) FROM ticks WHERE child = 'later';
SELECT event_store.supervisor_drop('wild');

-- each call finds the settings of the background and the path of the store in use at the start, else of none, whatever the one before has set; restarts are told to telemetry
SELECT event_store.supervisor_create('shops', max_restarts => 10);
CREATE FUNCTION wander(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.ticks (child) VALUES (format('%s; %s', current_setting('statement_timeout'), current_setting('search_path')));
	PERFORM set_config('search_path', 'elsewhere', false), set_config('statement_timeout', '1h', false);
	RETURN CASE WHEN mod((SELECT count(*) FROM public.ticks WHERE child LIKE '%pg_temp'), 2) = 1 THEN interval '0' END;
END $$;
SELECT event_store.supervisor_start_child('shops', 'wander(jsonb)', restart => 'temporary') IS NOT NULL AS started;
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
CREATE FUNCTION hear(event text, measurements jsonb, metadata jsonb, config jsonb) RETURNS void
LANGUAGE sql AS $$ INSERT INTO public.ticks (child) VALUES (format('%s %s %s', event, measurements, metadata)) $$;
SELECT event_store.telemetry_attach('restarts', '{event_store.supervisor.restart}', 'public.hear(text,jsonb,jsonb,jsonb)');
SELECT event_store.create_store('supervised');
SET search_path = supervised, public;
SELECT event_store.supervisor_start_child('shops', 'wander(jsonb)', name => 'wanderer') IS NOT NULL AS started;
SELECT supervisor_wait($$SELECT count(*) >= 1 FROM ticks WHERE child LIKE 'event_store.%'$$);
SELECT event_store.supervisor_stop('shops');
SELECT event_store.telemetry_detach('restarts');
SELECT DISTINCT child FROM ticks WHERE child LIKE '%pg_temp' OR child LIKE 'event_store.%' ORDER BY child;
-- a store that goes takes its children along
SELECT event_store.supervisor_restart('shops');
SELECT event_store.supervisor_start_child('shops', 'tick(jsonb)', '{"child": "o", "times": 1000000}') IS NOT NULL AS started;
SELECT event_store.drop_store('supervised', 'supervised');
SET search_path = public;
SELECT supervisor_wait('SELECT count(*) = 0 FROM event_store.supervisor_children');
SELECT state FROM event_store.supervisors WHERE name = 'shops';
SELECT event_store.supervisor_drop('shops');

-- bad input
SELECT event_store.supervisor_create('clocks');
SELECT event_store.supervisor_create('');
SELECT event_store.supervisor_create('x', max_children => 0);
SELECT event_store.supervisor_create('x', max_restarts => -1);
SELECT event_store.supervisor_create('x', max_restarts => 65);
SELECT event_store.supervisor_create('x', max_seconds => 0);
SELECT event_store.supervisor_start_child('none', 'tick(jsonb)');
SELECT event_store.supervisor_start_child('clocks', 'lower(text)');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', restart => 'often');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', shutdown => '-1 s');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', shutdown => '2 days');
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', name => repeat('x', 129));
SELECT event_store.supervisor_start_child('clocks', 'tick(jsonb)', args => NULL);
SELECT event_store.supervisor_stop('none');
SELECT event_store.supervisor_drop('clocks');
SELECT count(*) FROM event_store.supervisors;
DROP TABLE ticks;
DROP FUNCTION supervisor_wait(text), tick(jsonb), hear(text, jsonb, jsonb, jsonb);
