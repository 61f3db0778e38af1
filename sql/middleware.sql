/* middleware: what every command passes on its way */
\set SHOW_CONTEXT never
SELECT event_store.create_store('middlewares');
SET search_path = middlewares, public;

CREATE FUNCTION apply_count(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state || data;
CREATE FUNCTION do_thing(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF command ? 'refuse' THEN
		PERFORM event_store.reject('refused');
	END IF;
	RETURN jsonb_build_object('type', 'Done', 'data', command);
END $$;
SELECT event_store.register_aggregate('thing', 'apply_count', '{}');
SELECT event_store.register_command('DoThing', 'thing', 'do_thing');
SELECT version, response FROM event_store.dispatch('DoThing', '{"id": "1"}');

-- what functions change pipelines with
SELECT event_store.assign(event_store.assign('{"a": 1}', 'user', '"ada"'), 'n', '[1, {"b": null}]');
SELECT event_store.assign_metadata('{"metadata": {"by": "caller", "x": 1}}', 'by', '{"name": "ada"}');
SELECT event_store.respond(event_store.respond('{}', '{"first": true}'), '{"second": true}');
SELECT event_store.respond('{"response": null}', '7'), event_store.halt('{"halted": false}');
SELECT event_store.assign('[]', 'a', '1');
SELECT event_store.assign('{}', NULL, '1');
SELECT event_store.assign('{}', 'a', NULL);
SELECT event_store.respond('{}', NULL);
SELECT event_store.halt(NULL);

-- the stages, in the order of their numbers and names; what they see
CREATE TABLE seen (n int GENERATED ALWAYS AS IDENTITY, who text, pipeline jsonb);
CREATE FUNCTION note(who text, pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seen (who, pipeline) VALUES (who, pipeline - 'command_id' - 'correlation_id' - 'causation_id'
		|| jsonb_build_object('ids', num_nonnulls(pipeline ->> 'command_id', pipeline ->> 'correlation_id', pipeline ->> 'causation_id')));
	RETURN pipeline;
END $$;
CREATE FUNCTION first(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	pipeline := note('first', pipeline);
	pipeline := event_store.assign(pipeline, 'user', '"ada"');
	RETURN jsonb_set(event_store.assign_metadata(pipeline, 'by', '"ada"'), '{command, enriched}', 'true');
END $$;
CREATE FUNCTION second(pipeline jsonb) RETURNS jsonb LANGUAGE sql RETURN event_store.respond(note('second', pipeline), '"from second"');
CREATE FUNCTION later(pipeline jsonb) RETURNS jsonb LANGUAGE sql RETURN event_store.respond(note('later', pipeline), '"from later"');
SELECT event_store.register_middleware('z', 'before_dispatch', 'first', ordinal => -1);
SELECT event_store.register_middleware('a', 'before_dispatch', 'second');
SELECT event_store.register_middleware('a', 'after_dispatch', 'later');
SELECT name, stage, ordinal, function, owner = current_user::regrole AS mine FROM event_store.middleware_registry ORDER BY 1, 2;
SELECT version, state, response FROM event_store.dispatch('DoThing', '{"id": "1"}', returning_state => true, metadata => '{"x": 1}',
	causation_id => '00000000-0000-4000-8000-00000000000a');
SELECT data, metadata FROM event_store.read_stream('thing-1', 2);
SELECT who, jsonb_pretty(pipeline) AS pipeline FROM seen ORDER BY n;
-- a repeat is known by the command as it came
SELECT version, repeated FROM event_store.dispatch('DoThing', '{"id": "1"}', command_id => '00000000-0000-4000-8000-000000000001');
SELECT version, repeated FROM event_store.dispatch('DoThing', '{"id": "1"}', command_id => '00000000-0000-4000-8000-000000000001');
TRUNCATE seen;

-- halted before it, nothing is done
CREATE FUNCTION gate(pipeline jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
BEGIN
	IF pipeline -> 'command' ? 'forbidden' THEN
		RETURN event_store.halt(event_store.respond(pipeline, '{"error": "not yours"}'));
	ELSIF pipeline -> 'command' ? 'silent' THEN
		RETURN event_store.halt(pipeline);
	END IF;
	RETURN pipeline;
END $$;
SELECT event_store.register_middleware('gate', 'before_dispatch', 'gate', -10);
SELECT event_store.dispatch('DoThing', '{"id": "1", "forbidden": 1}');
SELECT event_store.dispatch('DoThing', '{"id": "1", "silent": 1}');
SELECT event_store.stream_version('thing-1'), (SELECT count(*) FROM seen) AS seen;
-- and after it, undone
CREATE FUNCTION veto(pipeline jsonb) RETURNS jsonb STABLE LANGUAGE sql
RETURN CASE WHEN (pipeline #> '{result, version}')::int > 3 THEN event_store.halt(pipeline) ELSE pipeline END;
SELECT event_store.register_middleware('veto', 'after_dispatch', 'veto', 5);
DO $$ BEGIN
	PERFORM event_store.dispatch('DoThing', '{"id": "1"}');
EXCEPTION WHEN SQLSTATE 'VE014' THEN
	RAISE NOTICE '%', event_store.last_problem();
END $$;
SELECT event_store.stream_version('thing-1');
SELECT event_store.unregister_middleware('veto');

-- failures are told, and go on to the caller as they are
CREATE FUNCTION told(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'told of %, reason %, assigned %', pipeline #>> '{error, sqlstate}', pipeline #> '{error, reason}', pipeline -> 'assigns';
	RETURN pipeline;
END $$;
SELECT event_store.register_middleware('told', 'after_failure', 'told');
SELECT event_store.dispatch('DoThing', '{"id": "1", "refuse": 1}');
SELECT event_store.dispatch('DoThing', '{"id": "1", "forbidden": 1}');
SELECT event_store.dispatch('DoThing', '{"id": ""}');
SELECT version, response FROM event_store.dispatch('DoThing', '{"id": "1"}', timeout => '1 min');
DO $$ BEGIN
	PERFORM event_store.dispatch('DoThing', '{"id": "1", "refuse": 1}');
EXCEPTION WHEN SQLSTATE 'VE012' THEN
	RAISE NOTICE 'version % after the failure', (event_store.dispatch('DoThing', '{"id": "1"}')).version;
END $$;
-- one that fails in that hides nothing
CREATE OR REPLACE FUNCTION told(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$;
SELECT event_store.dispatch('DoThing', '{"id": "1", "refuse": 1}');
SELECT event_store.unregister_middleware('told', 'after_failure');

-- functions that misbehave
CREATE FUNCTION bad(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN pipeline #> '{command, returns}'; END $$;
CREATE FUNCTION breaks(pipeline jsonb) RETURNS jsonb LANGUAGE sql RETURN pipeline || coalesce(pipeline #> '{command, breaks}', '{}');
CREATE FUNCTION again(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM event_store.dispatch('DoThing', pipeline -> 'command'); RETURN pipeline; END $$;
SELECT event_store.register_middleware('bad', 'before_dispatch', 'bad', 100);
SELECT event_store.dispatch('DoThing', '{"id": "1"}');
SELECT event_store.dispatch('DoThing', '{"id": "1", "returns": []}');
SELECT event_store.register_middleware('bad', 'before_dispatch', 'breaks', 100, replace => true);
SELECT version FROM event_store.dispatch('DoThing', '{"id": "1", "breaks": {"command": {"id": 1}, "metadata": null, "halted": "no"}}');
SELECT event_store.dispatch('DoThing', '{"id": "1", "breaks": {"command": 1}}');
SELECT event_store.dispatch('DoThing', '{"id": "1", "breaks": {"metadata": []}}');
SELECT event_store.register_middleware('bad', 'before_dispatch', 'again', 100, replace => true);
\set VERBOSITY sqlstate
SELECT event_store.dispatch('DoThing', '{"id": "1"}');
\set VERBOSITY default
DROP FUNCTION again;
SELECT event_store.dispatch('DoThing', '{"id": "1"}');
SELECT event_store.unregister_middleware('bad');

-- registration refuses what cannot work
SELECT event_store.register_middleware('a', 'before_dispatch', 'second');
SELECT event_store.register_middleware('b', 'before', 'second');
SELECT event_store.register_middleware('b', 'before_dispatch', 'nothing');
SELECT event_store.register_middleware('b', 'before_dispatch', 'note');
SELECT event_store.register_middleware('', 'before_dispatch', 'second');
SELECT event_store.register_middleware(NULL, 'before_dispatch', 'second');
SELECT event_store.unregister_middleware('b');
SELECT event_store.unregister_middleware('z', 'after_dispatch');
SELECT event_store.unregister_middleware('a', 'never');

-- that of somebody who does not own the store is passed over, for himself too
CREATE ROLE regress_es_stranger;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_es_stranger', current_database()); END $$;
GRANT USAGE, CREATE ON SCHEMA public TO regress_es_stranger;
SELECT event_store.grant_store('middlewares', 'regress_es_stranger', 'writer');
GRANT INSERT ON seen TO regress_es_stranger;
SET ROLE regress_es_stranger;
CREATE FUNCTION public.trap(pipeline jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN pipeline; END $$;
SELECT event_store.register_middleware('trap', 'before_dispatch', 'public.trap');
SELECT event_store.register_middleware('a', 'before_dispatch', 'public.trap', replace => true);
SELECT event_store.unregister_middleware('a');
SELECT version FROM event_store.dispatch('DoThing', '{"id": "2"}');
RESET ROLE;
SELECT version FROM event_store.dispatch('DoThing', '{"id": "2"}');
-- nobody gets around one that he may not execute
REVOKE EXECUTE ON FUNCTION gate FROM PUBLIC;
SET ROLE regress_es_stranger;
SELECT version FROM event_store.dispatch('DoThing', '{"id": "2"}');
RESET ROLE;

SELECT event_store.unregister_middleware(name, stage) IS NOT NULL AS unregistered FROM event_store.middleware_registry;
SELECT version, response FROM event_store.dispatch('DoThing', '{"id": "2"}');
SELECT event_store.unregister_command('DoThing'), event_store.unregister_aggregate('thing');
REVOKE ALL ON seen FROM regress_es_stranger;
DROP FUNCTION public.trap;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM regress_es_stranger', current_database()); END $$;
REVOKE ALL ON SCHEMA public FROM regress_es_stranger;
SELECT event_store.revoke_store('middlewares', 'regress_es_stranger');
DROP ROLE regress_es_stranger;
