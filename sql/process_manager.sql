/* process managers: instances, commands, errors, ids */
\set SHOW_CONTEXT never
SELECT event_store.create_store('processes');
SET search_path = processes, public;

-- an order is shipped once it is paid, and closed once it has arrived
CREATE FUNCTION keep(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state || jsonb_build_object(type, true);
CREATE FUNCTION ship(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
	IF command ? 'impossible' THEN PERFORM event_store.reject('no_such_place', 'there is no such place'); END IF;
	RETURN jsonb_build_object('type', 'Shipped', 'data', command - 'id');
END $$;
CREATE FUNCTION bill(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN '{"type": "Billed", "data": {}}'::jsonb;
SELECT event_store.register_aggregate('parcel', 'keep', '{}');
SELECT event_store.register_command('Ship', 'parcel', 'ship');
SELECT event_store.register_command('Bill', 'parcel', 'bill');

CREATE FUNCTION interested(event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN CASE (event).type
	WHEN 'Paid' THEN jsonb_build_object('start', (event).data -> 'order')
	WHEN 'PaidOnce' THEN jsonb_build_object('start!', (event).data -> 'order')
	WHEN 'Packed' THEN jsonb_build_object('continue', (event).data -> 'order')
	WHEN 'PackedAfter' THEN jsonb_build_object('continue!', (event).data -> 'order')
	WHEN 'Arrived' THEN jsonb_build_object('stop', (event).data -> 'order')
	WHEN 'Odd' THEN '{"begin": 1}'::jsonb
	WHEN 'Foreign' THEN 'false'::jsonb END;
CREATE FUNCTION handle(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN coalesce((event).data -> 'commands', CASE WHEN (event).type LIKE 'Paid%' THEN jsonb_build_array(
	jsonb_build_object('type', 'Bill', 'command', jsonb_build_object('id', (event).data ->> 'order')),
	jsonb_build_object('type', 'Ship', 'command', jsonb_build_object('id', (event).data ->> 'order', 'seen', state -> 'seen'))) END);
CREATE FUNCTION apply(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN state || jsonb_build_object('seen', coalesce((state -> 'seen')::int, 0) + 1, 'last', (event).type);

-- registration
SELECT event_store.register_process_manager('fulfilment', 'nothing', 'handle');
SELECT event_store.register_process_manager('fulfilment', 'interested', 'interested');
SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', apply => 'keep');
SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', idle_timeout => '0');
SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', 'apply', category => 'order', max_attempts => 2, background => false);
SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', background => false);

-- commands, state and place in one transaction; where commands and their events come from: systems 2.3.10
SELECT first_version FROM event_store.append_event('order-1', 'Paid', '{"order": "1"}', '{"by": "Ada"}',
	correlation_id => '00000000-0000-4000-8000-0000000000c1');
SELECT event_id AS paid FROM event_store.read_stream('order-1') \gset
BEGIN;
SELECT event_store.handler_run('fulfilment');
ROLLBACK;
SELECT (SELECT count(*) FROM event_processes) AS instances, event_store.stream_version('parcel-1') AS version;
SELECT event_store.handler_run('fulfilment');
SELECT manager, instance, "position", state FROM event_processes;
SELECT version, type, data, metadata, causation_id = :'paid' AS caused, correlation_id FROM event_store.read_stream('parcel-1');
SELECT count(*), bool_and(command_id::text LIKE '________-____-5___-____-____________') AS version_5 FROM event_commands;
-- a reset repeats the commands, with the same ids: nothing happens twice
SELECT event_store.handler_reset('fulfilment');
SELECT count(*) FROM event_processes;
SELECT event_store.handler_run('fulfilment'), (SELECT kind FROM event_store.handlers) AS kind;
SELECT event_store.stream_version('parcel-1');

-- interest in one, several, none; several instances; stop: systems 2.3.16
SELECT count(*) FROM event_store.append('order-2', '[{"type": "Packed", "data": {"order": ["1", 2]}}, {"type": "Foreign", "data": {}}, {"type": "Unknown", "data": {}}]');
SELECT event_store.handler_run('fulfilment');
SELECT instance, state FROM event_processes ORDER BY instance;
SELECT count(*) FROM event_store.append('order-2', '[{"type": "Arrived", "data": {"order": 2}}, {"type": "Arrived", "data": {"order": 7}}]');
SELECT event_store.handler_run('fulfilment');
SELECT instance, state FROM event_processes ORDER BY instance;

-- start! on a running instance and continue! on none reach the error function with those reasons: systems 2.3.16
CREATE TABLE told (n int GENERATED ALWAYS AS IDENTITY, reason text, command jsonb);
CREATE FUNCTION on_error(event event_store.recorded_event, problem jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO told (reason, command) VALUES (coalesce(problem ->> 'reason', problem ->> 'message'), command);
	RETURN event.data -> 'on_error';
END $$;
SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', 'apply', error_function => 'on_error',
	category => 'order', max_attempts => 2, backoff => '0', on_exhausted => 'park', background => false, replace => true);
SELECT count(*) FROM event_store.append('order-3', '[{"type": "PaidOnce", "data": {"order": "1", "on_error": {"action": "skip"}}},
	{"type": "PackedAfter", "data": {"order": "9", "on_error": {"action": "skip"}}},
	{"type": "PaidOnce", "data": {"order": "1", "on_error": {"action": "stop"}}},
	{"type": "PaidOnce", "data": {"order": "10"}}]');
SELECT event_store.handler_run('fulfilment');
SELECT reason, command FROM told ORDER BY n;
SELECT instance, state FROM event_processes ORDER BY instance;

-- a command that fails: skipped, with those after it or not, replaced, or the event fails as a whole
CREATE FUNCTION order_with(what text, on_error jsonb) RETURNS SETOF bigint LANGUAGE sql AS $$
	SELECT first_version FROM event_store.append_event('order-4', 'Packed', jsonb_build_object('order', what, 'on_error', on_error, 'commands', jsonb_build_array(
		jsonb_build_object('type', 'Bill', 'command', jsonb_build_object('id', what)),
		jsonb_build_object('type', 'Ship', 'command', jsonb_build_object('id', what, 'impossible', true)),
		jsonb_build_object('type', 'Bill', 'command', jsonb_build_object('id', what))))) $$;
TRUNCATE told;
SELECT count(*) FROM (VALUES ('skip', '{"action": "skip"}'::jsonb), ('discard', '{"action": "discard"}'),
	('replace', '{"action": "continue", "commands": {"type": "Ship", "command": {"id": "replace", "instead": true}}}'),
	('stop', '{"action": "stop"}'), ('retry', '{"action": "retry"}'), ('odd', '{"action": "odd"}'),
	('endless', '{"action": "continue", "commands": {"type": "Ship", "command": {"id": "endless", "impossible": true}}}')) v(what, on_error),
	order_with(what, on_error);
SELECT event_store.handler_run('fulfilment');
SELECT w.what, (SELECT string_agg(type, ', ' ORDER BY version) FROM event_store.read_stream('parcel-' || w.what)) AS events,
	EXISTS (SELECT FROM event_processes p WHERE p.instance = w.what) AS instance
FROM unnest('{skip,discard,replace,stop,retry,odd,endless}'::text[]) w(what);
SELECT problem ->> 'message' AS message, attempts FROM event_store.handler_parked ORDER BY "position";
SELECT count(*), min(command ->> 'type') AS type, min(reason) AS reason FROM told WHERE command -> 'command' ->> 'id' = 'skip';

-- what the functions may not return
SELECT count(*) FROM event_store.append('order-5', '[{"type": "Odd", "data": {}}, {"type": "Packed", "data": {"order": {"not": "this"}}},
	{"type": "Packed", "data": {"order": "11", "commands": {"no": "type"}}}, {"type": "Packed", "data": {"order": "11", "commands": {"type": "Nothing", "command": {}}}}]');
SELECT event_store.handler_run('fulfilment');
SELECT problem ->> 'message' AS message FROM event_store.handler_parked ORDER BY "position" DESC LIMIT 4;
SELECT lag FROM event_store.handlers;

-- after_command ends an instance; too long an event; an instance that has been idle has ended
CREATE FUNCTION after(state jsonb, command jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN CASE command ->> 'type' WHEN 'Ship' THEN 'stop' END;
SELECT event_store.handler_delete('fulfilment');
SELECT count(*) FROM event_processes;
SELECT event_store.register_process_manager('short', 'interested', 'handle', 'apply', initial => '{"seen": 10}', after_command => 'after',
	idle_timeout => '1 day', start_from => 'current', background => false);
SELECT count(*) FROM event_store.append_event('order-6', 'Paid', '{"order": "20"}');
SELECT count(*) FROM event_store.append_event('order-6', 'Packed', '{"order": "21"}', created_at => now() - interval '10 days');
SELECT count(*) FROM event_store.append_event('order-6', 'Packed', '{"order": "22"}', created_at => now() - interval '10 days');
SELECT count(*) FROM event_store.append_event('order-6', 'Packed', '{"order": "22"}');
SELECT event_store.handler_run('short');
SELECT instance, state FROM event_processes;
SELECT data FROM event_store.read_stream('parcel-20') WHERE type = 'Shipped';
SELECT event_store.handler_delete('short');
CREATE FUNCTION handle_slowly(state jsonb, event event_store.recorded_event) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
SELECT event_store.register_process_manager('slow', 'interested', 'handle_slowly', event_timeout => '20 ms', max_attempts => 1,
	start_from => 'current', background => false);
SELECT count(*) FROM event_store.append_event('order-7', 'Packed', '{"order": "30"}');
SELECT event_store.handler_run('slow');
SELECT problem ->> 'message' AS message, problem ->> 'sqlstate' AS sqlstate FROM event_store.handler_parked;
SELECT event_store.handler_delete('slow');

SELECT event_store.unregister_command('Ship');
SELECT event_store.unregister_command('Bill');
SELECT event_store.unregister_aggregate('parcel');
\set VERBOSITY terse
SELECT event_store.drop_store('processes', 'processes');
DROP SCHEMA processes CASCADE;
