/* event handlers: registration, steps, failures, batches, inline, operation, waiting */
\set SHOW_CONTEXT never
SELECT event_store.create_store('handled');
SET search_path = handled, public;

CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, handler text, "position" bigint, stream text, type text);
CREATE FUNCTION see(event event_store.recorded_event) RETURNS void LANGUAGE sql
BEGIN ATOMIC INSERT INTO seen (handler, "position", stream, type) VALUES ('see', (event)."position", (event).stream, (event).type); END;
SELECT count(*) FROM generate_series(1, 5) i, event_store.append_event('a-' || i % 2, 'Happened', jsonb_build_object('i', i));

-- registration
SELECT event_store.register_handler('see', 'no_such_function', background => false);
SELECT event_store.register_handler('see', 'abs(integer)', background => false);
SELECT event_store.register_handler('see', 'see', kind => 'odd', background => false);
SELECT event_store.register_handler('see', 'see', start_from => 'yesterday', background => false);
SELECT event_store.register_handler('see', 'see', start_from => '1000', background => false);
SELECT event_store.register_handler('see', 'see', concurrency => 0, background => false);
SELECT event_store.register_handler('see', 'see', partition_by => 'colour', background => false);
SELECT event_store.register_handler('see', 'see', batch_timeout => '1 s', background => false);
SELECT event_store.register_handler('see', 'see', tables => '{nowhere}', background => false);
SELECT event_store.register_handler('see', 'see', types => ARRAY['a', NULL], background => false);
SELECT event_store.register_handler('see', 'see', stream => 'a-1', category => 'a', background => false);
SELECT event_store.register_handler('see', 'see', tables => '{seen}', background => false);
SELECT event_store.register_handler('see', 'see', background => false);
SELECT event_store.register_handler('see', 'see', concurrency => 2, replace => true, background => false);
SELECT event_store.register_handler('see', 'see', tables => '{seen}', replace => true, background => false);
SELECT kind, function, start_from, consistency, concurrency, batch_size, max_attempts, backoff, on_exhausted, owner = current_user::regrole AS mine
FROM event_store.handler_registry;

-- a run in this transaction; the checkpoint goes with it: systems 2.3.20
SELECT name, kind, schema, tenant, partition, "position", lag, lag_seconds > 0 AS late, state, handled, worker_pid FROM event_store.handlers;
BEGIN;
SELECT event_store.handler_run('see');
SELECT worker_pid = pg_backend_pid() AS at_work, lag, lag_seconds FROM event_store.handlers;
ROLLBACK;
SELECT count(*) FROM seen;
SELECT event_store.handler_run('see', 2);
SELECT event_store.handler_run('see', 0);
SELECT "position", lag, handled FROM event_store.handlers;
SELECT event_store.handler_run('see'), event_store.handler_run('see');
SELECT "position", lag, lag_seconds, handled FROM event_store.handlers;
SELECT "position", stream, type FROM seen ORDER BY n;
BEGIN;
SELECT last_position FROM event_store.append_event('a-1', 'Happened');
-- not before it is committed
SELECT event_store.handler_run('see');
COMMIT;
SELECT event_store.handler_run('see');
SELECT event_store.handler_run('nobody');

-- what a handler is not to get
SELECT count(*) FROM event_store.append('b-1', '[{"type": "X", "data": {"k": 1}}, {"type": "Y", "data": {"k": 2}}, {"type": "X", "data": {"k": 3}}]');
TRUNCATE seen;
CREATE FUNCTION see_as(name text, event event_store.recorded_event) RETURNS void LANGUAGE sql
BEGIN ATOMIC INSERT INTO seen (handler, "position", stream, type) VALUES (name, (event)."position", (event).stream, (event).type); END;
CREATE FUNCTION see_stream(event event_store.recorded_event) RETURNS void LANGUAGE sql RETURN see_as('stream', event);
CREATE FUNCTION see_category(event event_store.recorded_event) RETURNS void LANGUAGE sql RETURN see_as('category', event);
CREATE FUNCTION see_types(event event_store.recorded_event) RETURNS void LANGUAGE sql RETURN see_as('types', event);
CREATE FUNCTION see_filter(event event_store.recorded_event) RETURNS void LANGUAGE sql RETURN see_as('filter', event);
SELECT event_store.register_handler('stream', 'see_stream', stream => 'a-1', start_from => '3', background => false);
SELECT event_store.register_handler('category', 'see_category', category => 'b', background => false);
SELECT event_store.register_handler('types', 'see_types', types => '{Y,Z}', background => false);
SELECT event_store.register_handler('filter', 'see_filter', category => 'b', filter => '$.k > 2', background => false);
SELECT event_store.register_handler('current', 'see', start_from => 'current', background => false);
SELECT name, event_store.handler_run(name) FROM event_store.handler_registry WHERE name <> 'see' ORDER BY name;
SELECT handler, "position", stream, type FROM seen ORDER BY n;
-- systems 2.3.15: nothing old, and a later start_from changes nothing
SELECT count(*) FROM event_store.append_event('a-1', 'New');
SELECT event_store.register_handler('current', 'see', start_from => 'origin', replace => true, background => false);
SELECT event_store.handler_run('current');
SELECT name, "position", lag FROM event_store.handlers ORDER BY name;
SELECT event_store.handler_delete(name) FROM event_store.handler_registry WHERE name <> 'see' ORDER BY name;
SELECT handler FROM event_handlers;

-- an event that fails holds back its partition, and no other: systems 2.3.13, 5.3.11
SELECT event_store.handler_delete('see');
TRUNCATE seen;
CREATE TABLE poison ("position" bigint);
CREATE FUNCTION choke(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO seen (handler, "position", stream, type) VALUES ('choke', event."position", event.stream, event.type);
	IF EXISTS (SELECT FROM poison p WHERE p."position" = event."position") THEN
		RAISE EXCEPTION 'cannot swallow %', event."position" USING ERRCODE = 'P0042';
	END IF;
END $$;
SELECT count(*) FROM generate_series(1, 8) i, event_store.append_event('c-' || i % 4, 'Served');
SELECT event_store.head() AS head \gset
INSERT INTO poison VALUES (:head - 5);
SELECT event_store.register_handler('choke', 'choke', category => 'c', concurrency => 2, max_attempts => 3, backoff => '1 hour', background => false);
SELECT event_store.handler_run('choke') > 0 AS some;
SELECT count(*) AS waiting FROM event_store.read_category('c') e WHERE NOT EXISTS (SELECT FROM seen s WHERE s."position" = e."position");
SELECT state, failures, failed_position = :head - 5 AS at, retry_at > now() AS later, handled, parked,
	last_problem ->> 'message' AS message, last_problem ->> 'sqlstate' AS sqlstate, (last_problem ->> 'position')::bigint = :head - 5 AS told, last_problem -> 'attempts' AS attempts
FROM event_store.handlers ORDER BY failures;
SELECT event_store.handler_run('choke');
SELECT event_store.handler_retry('choke');
SELECT event_store.handler_run('choke');
SELECT max(failures) FROM event_store.handlers;
SELECT event_store.handler_retry('choke');
SELECT event_store.handler_run('choke') > 0 AS got_over;
SELECT handler, schema, "position" = :head - 5 AS at, attempts, problem ->> 'message' AS message, problem ->> 'handler' AS of FROM event_store.handler_parked;
SELECT sum(handled) AS handled, sum(parked) AS parked, max(failures) AS failures, max(lag) AS lag FROM event_store.handlers;
SELECT count(*) = count(DISTINCT "position") AS once, count(*) FROM seen;
-- the order of each stream was kept
SELECT count(*) FROM (SELECT n > lead(n) OVER (PARTITION BY stream ORDER BY "position") AS wrong FROM seen) o WHERE wrong;
SELECT event_store.handler_replay('choke');
SELECT attempts FROM event_store.handler_parked;
DELETE FROM poison;
SELECT event_store.handler_replay('choke'), event_store.handler_replay('choke');
SELECT sum(handled) AS handled, sum(parked) AS parked FROM event_store.handlers;
-- skip
INSERT INTO poison VALUES (:head + 2);
SELECT count(*) FROM generate_series(1, 3) i, event_store.append_event('c-0', 'Served', jsonb_build_object('i', i));
SELECT event_store.handler_run('choke');
SELECT event_store.handler_skip('choke', 1);
SELECT event_store.handler_skip('choke', :head + 2), event_store.handler_skip('choke');
SELECT event_store.handler_run('choke');
SELECT sum(skipped) AS skipped, max(lag) AS lag FROM event_store.handlers;
SELECT event_store.handler_delete('choke');
SELECT count(*) FROM event_parked;

-- stop, skip, and what the error function says
TRUNCATE poison, seen;
INSERT INTO poison VALUES (2), (4);
SELECT event_store.register_handler('choke', 'choke', category => 'a', max_attempts => 1, on_exhausted => 'stop', background => false);
SELECT event_store.handler_run('choke');
SELECT state, "position", failures, last_problem ->> 'message' AS message FROM event_store.handlers;
SELECT event_store.handler_run('choke');
SELECT event_store.handler_resume('choke');
SELECT event_store.handler_run('choke');
SELECT event_store.handler_skip('choke');
SELECT event_store.register_handler('choke', 'choke', category => 'a', max_attempts => 1, on_exhausted => 'skip', replace => true, background => false);
SELECT event_store.handler_run('choke') > 0 AS on;
SELECT state, lag, skipped, handled FROM event_store.handlers;
CREATE FUNCTION say(event event_store.recorded_event, problem jsonb) RETURNS text LANGUAGE sql
RETURN CASE (event)."position" WHEN 2 THEN 'park' WHEN 4 THEN 'retry 2 hours' END;
SELECT event_store.register_handler('choke', 'choke', category => 'a', error_function => 'say', replace => true, background => false);
SELECT event_store.handler_reset('choke');
SELECT event_store.handler_run('choke');
SELECT state, "position", parked, retry_at > now() + interval '1 hour' AS late FROM event_store.handlers;
CREATE OR REPLACE FUNCTION say(event event_store.recorded_event, problem jsonb) RETURNS text LANGUAGE sql RETURN 'what?';
SELECT event_store.handler_retry('choke');
SELECT event_store.handler_run('choke');
SELECT state, failures, retry_at < now() + interval '1 hour' AS default_delay FROM event_store.handlers;
SELECT event_store.handler_delete('choke');

-- pause, reset
TRUNCATE seen;
SELECT event_store.register_handler('see', 'see', tables => '{seen}', category => 'b', before_reset => 'now', background => false);
SELECT event_store.handler_pause('see');
SELECT event_store.handler_run('see'), (SELECT state FROM event_store.handlers) AS state;
SELECT event_store.handler_resume('see');
SELECT event_store.handler_run('see'), (SELECT count(*) FROM seen) AS seen;
SELECT event_store.handler_run('see'), (SELECT count(*) FROM seen) AS seen;
SELECT event_store.handler_reset('see', 'nowhere');
SELECT event_store.handler_reset('see');
SELECT count(*) FROM seen;
SELECT event_store.handler_run('see');
SELECT count(*) FROM seen;
SELECT event_store.handler_delete('see');

-- what a DROP EXTENSION leaves: the place is still good, unless the partitions are others
TRUNCATE seen;
SELECT event_store.register_handler('see', 'see', category => 'b', background => false);
SELECT event_store.handler_run('see');
DELETE FROM event_store.handler_registry;
SELECT event_store.register_handler('see', 'see', category => 'b', background => false);
SELECT event_store.handler_run('see');
DELETE FROM event_store.handler_registry;
SELECT event_store.register_handler('see', 'see', category => 'b', concurrency => 2, background => false);
SELECT event_store.handler_run('see');
SELECT event_store.handler_delete('see');

-- batches: systems 2.3.19
TRUNCATE seen, poison;
CREATE FUNCTION gulp(events event_store.recorded_event[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO seen (handler, "position", stream, type)
	SELECT 'gulp ' || cardinality(events), e."position", e.stream, e.type FROM unnest(events) e;
	IF EXISTS (SELECT FROM poison p JOIN unnest(events) e ON e."position" = p."position") THEN
		RAISE EXCEPTION 'sick of it';
	END IF;
END $$;
SELECT event_store.metric_counter('flushes', 'event_store.handler.batch', tags => '{flush_reason}');
SELECT event_store.metric_counter('handled', 'event_store.handler.handle', tags => '{result}');
SELECT count(*) FROM generate_series(1, 120) i, event_store.append_event('d-1', 'Served', jsonb_build_object('i', i), created_at => now() - interval '1 min');
SELECT event_store.register_handler('gulp', 'gulp', kind => 'batch', category => 'd', batch_size => 50, batch_timeout => '1 hour',
	max_attempts => 2, backoff => '0', background => false);
SELECT event_store.handler_run('gulp');
SELECT handler, count(*) FROM seen GROUP BY handler;
SELECT event_store.register_handler('gulp', 'gulp', kind => 'batch', category => 'd', batch_size => 50, batch_timeout => '1 s',
	max_attempts => 2, backoff => '1 hour', replace => true, background => false);
SELECT event_store.handler_run('gulp');
SELECT handler, count(*) FROM seen GROUP BY handler ORDER BY handler;
-- an error acknowledges none; the last attempt finds the one that is to blame
SELECT event_store.head() AS head \gset
INSERT INTO poison VALUES (:head + 3);
SELECT count(*) FROM generate_series(1, 5) i, event_store.append_event('d-1', 'Served', jsonb_build_object('i', i), created_at => now() - interval '1 min');
SELECT event_store.handler_run('gulp'), (SELECT count(*) FROM seen WHERE "position" > :head) AS seen;
SELECT event_store.handler_retry('gulp');
SELECT event_store.handler_run('gulp');
SELECT handler, "position" - :head AS of FROM seen WHERE "position" > :head ORDER BY n;
SELECT "position" - :head AS of, attempts FROM event_store.handler_parked;
SELECT tags, value FROM event_store.metrics WHERE name = 'flushes' ORDER BY tags;
SELECT tags, value FROM event_store.metrics WHERE name = 'handled' ORDER BY tags;
SELECT event_store.handler_delete('gulp');

-- inline: in the transaction of the append, in the order of registration, with it or not at all
TRUNCATE seen, poison;
CREATE FUNCTION inline_1(event event_store.recorded_event) RETURNS void LANGUAGE sql RETURN see_as('first', event);
CREATE FUNCTION inline_2(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	PERFORM see_as('second, after ' || (SELECT count(*) FROM seen s WHERE s."position" = event."position"), event);
	IF event.type = 'Bad' THEN RAISE EXCEPTION 'refused inline'; END IF;
	IF event.type = 'Echo' THEN PERFORM event_store.append_event('echo-1', 'Echoed'); END IF;
END $$;
SELECT event_store.register_handler('z', 'inline_1', kind => 'inline', consistency => 'strong', background => false);
SELECT event_store.register_handler('a', 'inline_2', kind => 'inline', background => false);
SELECT event_store.head() AS head \gset
SELECT count(*) FROM event_store.append('e-1', '[{"type": "X", "data": {}}, {"type": "Echo", "data": {}}, {"type": "Y", "data": {}}]');
SELECT handler, "position" - :head AS of, stream, type FROM seen ORDER BY n;
SELECT event_store.append_event('e-1', 'Bad');
SELECT event_store.stream_version('e-1'), count(*) FROM seen;
SELECT name, state, lag FROM event_store.handlers ORDER BY name;
SELECT event_store.handler_run('z');
SELECT event_store.handler_pause('z');

-- strong consistency: systems 2.3.14
CREATE FUNCTION nothing(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state;
CREATE FUNCTION act(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN '{"type": "Acted", "data": {}}'::jsonb;
SELECT event_store.register_aggregate('thing', 'nothing', '{}');
SELECT event_store.register_command('Act', 'thing', 'act');
SELECT version FROM event_store.dispatch('Act', '{"id": 1}', consistency => 'strong');
SELECT event_store.wait_for();
SELECT event_store.register_handler('model', 'see', consistency => 'strong', start_from => 'current', background => false);
BEGIN;
SELECT event_store.dispatch('Act', '{"id": 1}', consistency => 'strong');
ROLLBACK;
SELECT event_store.dispatch('Act', '{"id": 1}', consistency => 'odd');
BEGIN;
CALL event_store.dispatch_and_wait('Act', '{"id": 1}');
ROLLBACK;
CALL event_store.dispatch_and_wait('Act', '{"id": 1}', handlers => '{nobody}');
SELECT event_store.stream_version('thing-1');
\set VERBOSITY terse
CALL event_store.dispatch_and_wait('Act', '{"id": 1}', timeout => '10 ms');
\set VERBOSITY default
SELECT p ->> 'type' AS type, p -> 'committed' AS committed, p ->> 'handler' AS handler FROM event_store.last_problem() p;
SELECT event_store.stream_version('thing-1');
SELECT event_store.wait_for('thing-1', 1, handlers => '{z}', timeout => '0');
SELECT event_store.wait_for('thing-1', 9);
SELECT event_store.wait_for('thing-1', "position" => 1);
BEGIN;
SELECT count(*) FROM event_store.append_event('thing-1', 'Acted');
SELECT event_store.wait_for('thing-1');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.wait_for('thing-1');
ROLLBACK;
SELECT event_store.handler_run('model');
SELECT event_store.wait_for('thing-1', 2, timeout => '0');
SELECT event_store.wait_for(timeout => '0');

-- others
CREATE ROLE handler_stranger;
GRANT USAGE ON SCHEMA handled TO handler_stranger;
SELECT event_store.grant_store('handled', 'handler_stranger', 'writer');
GRANT SELECT, INSERT ON seen, poison TO handler_stranger;
SET ROLE handler_stranger;
SELECT event_store.register_handler('mine', 'see', background => false);
SELECT event_store.handler_run('model');
SELECT event_store.handler_pause('model');
SELECT name, state FROM event_store.handlers ORDER BY name;
SELECT count(*) FROM event_handlers;
SELECT first_version FROM event_store.append_event('f-1', 'X');
RESET ROLE;
REVOKE ALL ON seen, poison FROM handler_stranger;
SELECT event_store.revoke_store('handled', 'handler_stranger');

-- whoever calls, the function runs as the role that registered it
CREATE ROLE handler_owner;
SELECT format('GRANT CREATE ON DATABASE %I TO handler_owner', current_database()) \gexec
SET ROLE handler_owner;
SELECT event_store.create_store('handled_own');
SET search_path = handled_own, public;
CREATE TABLE who (name name);
CREATE FUNCTION who(event event_store.recorded_event) RETURNS void LANGUAGE sql
BEGIN ATOMIC INSERT INTO who VALUES (current_user); END;
SELECT event_store.register_handler('who', 'who', background => false);
SELECT first_version FROM event_store.append_event('w-1', 'X');
RESET ROLE;
SELECT event_store.handler_run('who'), current_user = session_user AS again_self;
SELECT * FROM who;
SELECT event_store.handler_delete('who');
SELECT event_store.drop_store('handled_own', 'handled_own');
SET client_min_messages = warning;
DROP OWNED BY handler_owner CASCADE;
RESET client_min_messages;
DROP ROLE handler_owner;
SET search_path = handled, public;

-- of all tenants, with a checkpoint each, also of one that comes later: systems 3.3.13
SELECT event_store.create_tenant('tenant_h1');
CREATE FUNCTION note(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.noted VALUES (event_store.current_tenant(), event.type);
END $$;
CREATE TABLE public.noted (tenant text, type text);
SELECT event_store.register_handler('note', 'note', tenant => '*', background => false);
SELECT event_store.create_tenant('tenant_h2');
SELECT count(*) FROM event_store.with_tenant('tenant_h1', $$SELECT 1 FROM event_store.append_event('x-1', 'One')$$) AS t(a int);
SELECT count(*) FROM event_store.with_tenant('tenant_h2', $$SELECT 1 FROM event_store.append('x-1', '[{"type": "Two", "data": {}}, {"type": "Two", "data": {}}]')$$) AS t(a int);
SELECT * FROM event_store.with_tenant('tenant_h1', $$SELECT event_store.handler_run('note')$$) AS t(handled bigint);
SELECT * FROM event_store.with_tenant('tenant_h2', $$SELECT event_store.handler_run('note')$$) AS t(handled bigint);
SELECT * FROM event_store.with_tenant('tenant_h1', $$SELECT event_store.handler_run('note')$$) AS t(handled bigint);
SELECT * FROM public.noted;
SELECT schema, tenant, "position", lag FROM event_store.handlers WHERE name = 'note' ORDER BY tenant;
SELECT event_store.handler_run('note');
SELECT event_store.handler_delete('note');
SELECT count(*) FROM event_store.handlers WHERE name = 'note';
SELECT event_store.drop_tenant('tenant_h1', 'tenant_h1');
SELECT event_store.drop_tenant('tenant_h2', 'tenant_h2');
DROP TABLE public.noted;

-- a store that is dropped takes its handlers along, and what was built beside their tables; their names are free
SELECT event_store.create_store('handled_2');
SET search_path = handled_2, public;
CREATE TABLE noted_2 (n bigint);
CREATE FUNCTION note_2(event event_store.recorded_event) RETURNS void LANGUAGE sql AS $$INSERT INTO noted_2 VALUES (event."position")$$;
SELECT event_store.register_handler('short', 'note_2', tables => '{noted_2}');
SELECT event_store.projection_rebuild('short');
SELECT count(*) FROM pg_namespace WHERE nspname ~ '^event_rebuild_';
DROP TABLE noted_2 CASCADE;
SELECT event_store.drop_store('handled_2', 'handled_2');
SELECT count(*) FROM event_store.handler_registry WHERE name = 'short';
SELECT count(*) FROM pg_namespace WHERE nspname ~ '^event_rebuild_';
SELECT count(*) FROM event_store.tasks WHERE kind = 'handler' AND name ~ '^short';
SET search_path = handled, public;
SELECT event_store.register_handler('short', 'see', background => false);
SELECT event_store.handler_delete('short');
DROP SCHEMA handled_2 CASCADE;

SELECT event_store.unregister_command('Act');
SELECT event_store.unregister_aggregate('thing');
SELECT event_store.metric_drop('flushes');
SELECT event_store.metric_drop('handled');
SELECT event_store.handler_delete(name) FROM event_store.handler_registry ORDER BY name;
\set VERBOSITY terse
SELECT event_store.drop_store('handled', 'handled');
DROP SCHEMA handled CASCADE;
DROP ROLE handler_stranger;
