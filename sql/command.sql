/* commands: registration, dispatch, rejection, repeats, time limits */
\set SHOW_CONTEXT never
SELECT event_store.create_store('commands');
SET search_path = commands, public;

-- the order of the card: systems 2.3.4
CREATE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN CASE type
	WHEN 'OrderPlaced' THEN data || '{"status": "placed", "items": 0}'
	WHEN 'ItemAdded' THEN state || jsonb_build_object('items', (state -> 'items')::int + (data -> 'count')::int)
	WHEN 'OrderPaid' THEN state || '{"status": "paid"}'
	WHEN 'Broken' THEN jsonb_build_object('impossible', 1 / (data -> 'zero')::int)
	ELSE state END;
SELECT event_store.register_aggregate('order', 'apply_order', '{}');
CREATE FUNCTION place_order(state jsonb, command jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$
BEGIN
	IF state ? 'status' THEN
		PERFORM event_store.reject('order_already_placed', 'order was placed before', jsonb_build_object('status_of_order', state -> 'status'));
	END IF;
	RETURN jsonb_build_object('type', 'OrderPlaced', 'data', jsonb_build_object('customer', command -> 'customer'));
END $$;
SELECT event_store.register_command('PlaceOrder', 'order', handler => 'place_order', identity => 'order_id');
SELECT aggregate, id, version, events, first_position, last_position, state, repeated
FROM event_store.dispatch('PlaceOrder', '{"order_id": "o1", "customer": "Ada"}', returning_state => true);
SELECT event_store.dispatch('PlaceOrder', '{"order_id": "o1", "customer": "Bob"}');
SELECT event_store.stream_version('order-o1');
DO $$ BEGIN
	PERFORM event_store.dispatch('PlaceOrder', '{"order_id": "o1"}');
EXCEPTION WHEN SQLSTATE 'VE012' THEN
	RAISE NOTICE 'rejected: %', event_store.last_problem() ->> 'reason';
END $$;

-- identity, registration: systems 2.3.5
SELECT event_store.dispatch('PlaceOrder', '{"customer": "Ada"}');
SELECT event_store.dispatch('PlaceOrder', '{"order_id": null}');
SELECT event_store.dispatch('PlaceOrder', '{"order_id": ""}');
SELECT event_store.dispatch('PlaceOrder', '{"order_id": ["x"]}');
SELECT event_store.dispatch('CancelOrder', '{"order_id": "o1"}');
SELECT event_store.register_command('PlaceOrder', 'order', 'place_order', 'order_id');
SELECT id, version FROM event_store.dispatch('PlaceOrder', '{"order_id": 42, "customer": "Bob"}');
CREATE FUNCTION order_of(command jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN command #>> '{order, id}';

-- none, one, many events, in every type that a handler may return: systems 2.3.6
CREATE FUNCTION add_items(state jsonb, command jsonb) RETURNS event_store.new_event[] IMMUTABLE LANGUAGE sql
RETURN (SELECT coalesce(array_agg(ROW('ItemAdded', jsonb_build_object('count', n), NULL, NULL, NULL, NULL, NULL)::event_store.new_event ORDER BY i), '{}')
	FROM jsonb_array_elements(command -> 'counts') WITH ORDINALITY e(n, i));
CREATE FUNCTION pay_order(state jsonb, command jsonb) RETURNS event_store.new_event IMMUTABLE LANGUAGE sql
RETURN CASE WHEN state ->> 'status' <> 'paid' THEN ROW('OrderPaid', '{}', '{"own": true, "by": "handler"}', NULL, NULL, NULL, NULL)::event_store.new_event END;
CREATE FUNCTION break_order(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb '[{"type": "ItemAdded", "data": {"count": 1}}, {"type": "Broken", "data": {"zero": 0}}, {"type": "ItemAdded", "data": {"count": 1}}]';
SELECT event_store.register_command('AddItems', 'order', 'add_items', identity_function => 'order_of');
SELECT event_store.register_command('PayOrder', 'order', 'pay_order', 'order_id');
SELECT event_store.register_command('BreakOrder', 'order', 'break_order', 'order_id');
SELECT version, events, first_position IS NULL AS none FROM event_store.dispatch('AddItems', '{"order": {"id": "o1"}, "counts": []}');
SELECT version, events, state FROM event_store.dispatch('AddItems', '{"order": {"id": "o1"}, "counts": [1, 2, 3]}', returning_state => true);
SELECT version, events FROM event_store.dispatch('PayOrder', '{"order_id": "o1"}', metadata => '{"by": "caller", "trace": 7}');
SELECT version, events FROM event_store.dispatch('PayOrder', '{"order_id": "o1"}');
SELECT metadata FROM event_store.read_stream('order-o1') WHERE type = 'OrderPaid';
SELECT event_store.dispatch('BreakOrder', '{"order_id": "o1"}');
SELECT version, state FROM event_store.rehydrate('order', 'o1');
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o1"}, "counts": [1]}', expected => 5);
SELECT event_store.dispatch('AddItems', '{"order": {"id": "o1"}, "counts": [1]}', expected => 5);
SELECT event_store.dispatch('AddItems', '{"order": {"id": "new"}, "counts": [1]}', expected => 'exists');

-- steps see the state after the step before; before changes the command
CREATE FUNCTION step_place(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('type', 'OrderPlaced', 'data', jsonb_build_object('customer', command -> 'customer'));
CREATE FUNCTION step_fill(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('type', 'ItemAdded', 'data', jsonb_build_object('count', (state -> 'items')::int + 10));
CREATE FUNCTION upper_customer(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_set(command, '{customer}', to_jsonb(upper(command ->> 'customer')));
SELECT event_store.register_command('Order', 'order', 'step_place', 'order_id', before => 'upper_customer', steps => '{step_fill, step_fill}');
SELECT version, events, last_position - first_position AS apart, state
FROM event_store.dispatch('Order', '{"order_id": "o2", "customer": "Cid"}', returning_state => true);

-- where events come from: systems 2.3.10
SELECT command_id AS command, correlation_id AS correlation FROM event_store.dispatch('Order', '{"order_id": "o3", "customer": "Cid"}') \gset
SELECT count(*) AS events, bool_and(causation_id = :'command' AND correlation_id = :'correlation') AS marked
FROM event_store.read_stream('order-o3');
SELECT version FROM event_store.dispatch('PayOrder', '{"order_id": "o3"}',
	correlation_id => '00000000-0000-4000-8000-00000000000c', causation_id => '00000000-0000-4000-8000-00000000000a');
SELECT correlation_id, causation_id FROM event_store.read_stream('order-o3', direction => 'backward', max_count => 1);

-- a repeat returns the first result: systems 2.3.9
SELECT version, events, first_position, repeated FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [5]}', command_id => '00000000-0000-4000-8000-000000000001');
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1]}');
SELECT version, events, first_position, repeated, state FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [5]}', command_id => '00000000-0000-4000-8000-000000000001', returning_state => true);
SELECT event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [6]}', command_id => '00000000-0000-4000-8000-000000000001');
SELECT event_store.dispatch('PlaceOrder', '{"order_id": "o9"}', command_id => '00000000-0000-4000-8000-000000000001');
SELECT event_store.stream_version('order-o3'), event_store.stream_version('order-o9');
SELECT version, repeated FROM event_store.dispatch('Order', '{"order_id": "o4", "customer": "Dee"}', command_id => '00000000-0000-4000-8000-000000000004');
SELECT version, repeated FROM event_store.dispatch('Order', '{"order_id": "o4", "customer": "Dee"}', command_id => '00000000-0000-4000-8000-000000000004');
-- rolled back, it was never seen: systems 2.3.8
BEGIN;
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [7]}', command_id => '00000000-0000-4000-8000-000000000002');
ROLLBACK;
SELECT event_store.stream_version('order-o3');
SELECT version, repeated FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [8]}', command_id => '00000000-0000-4000-8000-000000000002');
SELECT event_store.forget_commands();
SELECT event_store.forget_commands('-1 day');
SELECT version, repeated FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [8]}', command_id => '00000000-0000-4000-8000-000000000002');

-- twice in one statement
SELECT (event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1]}')).version - (event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1]}')).version AS apart;

-- time limits
CREATE FUNCTION slow(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
SELECT event_store.register_command('Slow', 'order', 'slow', 'order_id', timeout => '50 ms');
SELECT event_store.dispatch('Slow', '{"order_id": "o1"}');
SELECT event_store.dispatch('Slow', '{"order_id": "o1"}', timeout => '20 ms');
SET statement_timeout = '50ms';
SELECT event_store.dispatch('Slow', '{"order_id": "o1"}', timeout => '1 hour');
RESET statement_timeout;
DO $$ BEGIN
	PERFORM event_store.dispatch('Slow', '{"order_id": "o1"}');
EXCEPTION WHEN SQLSTATE 'VE015' THEN
	RAISE NOTICE 'too slow, but the transaction goes on: %', (event_store.dispatch('PayOrder', '{"order_id": "o1"}', timeout => '1 min')).events;
END $$;
-- a state of a composite type, folded from whole events inside of the limit, is used after it
CREATE TYPE visited AS (visits int, last_type text);
CREATE FUNCTION visit(state visited, event event_store.recorded_event) RETURNS visited IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN state.visits := state.visits + 1; state.last_type := event.type; RETURN state; END $$;
CREATE FUNCTION do_visit(state visited, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN '{"type": "Visited", "data": {}}'::jsonb;
SELECT event_store.register_aggregate('visitor', 'visit', '(0,)');
SELECT event_store.register_command('Visit', 'visitor', 'do_visit', 'id');
SELECT version, state FROM event_store.dispatch('Visit', '{"id": 1}', timeout => '1 min', returning_state => true);
SELECT version, state FROM event_store.dispatch('Visit', '{"id": 1}', timeout => '1 min', returning_state => true);
SELECT event_store.unregister_command('Visit');
SELECT event_store.unregister_aggregate('visitor');

-- snapshots by themselves: systems 2.3.11
SELECT event_store.register_aggregate('order', 'apply_order', '{}', snapshot_every => 3, replace => true);
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1, 1, 1]}');
SELECT version FROM event_snapshots;
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1]}');
SELECT version FROM event_snapshots;
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1, 1]}');
SELECT version FROM event_snapshots;
ALTER TABLE event_snapshots ADD CONSTRAINT full_up CHECK (version < 19) NOT VALID;
SELECT version FROM event_store.dispatch('AddItems', '{"order": {"id": "o3"}, "counts": [1, 1, 1]}');
SELECT version FROM event_snapshots;
ALTER TABLE event_snapshots DROP CONSTRAINT full_up;

-- what misbehaves
CREATE FUNCTION again(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM event_store.dispatch('Again', command); RETURN NULL; END $$;
CREATE FUNCTION behind(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN PERFORM event_store.append_event('order-o1', 'Noted'); RETURN '{"type": "Noted", "data": {}}'; END $$;
CREATE FUNCTION no_events(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN command -> 'returns';
SELECT event_store.register_command('Again', 'order', 'again', 'order_id');
SELECT event_store.register_command('Behind', 'order', 'behind', 'order_id');
SELECT event_store.register_command('NoEvents', 'order', 'no_events', 'order_id');
\set VERBOSITY sqlstate
SELECT event_store.dispatch('Again', '{"order_id": "o1"}');
\set VERBOSITY default
SELECT event_store.dispatch('Behind', '{"order_id": "o1"}');
SELECT event_store.dispatch('NoEvents', '{"order_id": "o1", "returns": 1}');
SELECT event_store.dispatch('NoEvents', '{"order_id": "o1", "returns": [1]}');
SELECT event_store.dispatch('NoEvents', '{"order_id": "o1", "returns": {"type": ""}}');
SELECT events FROM event_store.dispatch('NoEvents', '{"order_id": "o1", "returns": []}');
SELECT events FROM event_store.dispatch('NoEvents', '{"order_id": "o1"}');
SELECT event_store.stream_version('order-o1');
SELECT event_store.dispatch('PayOrder', '[]');
SELECT event_store.dispatch('PayOrder', NULL);
SELECT event_store.dispatch('PayOrder', '{"order_id": "o1"}', metadata => '1');
SELECT event_store.dispatch('PayOrder', '{"order_id": "o1"}', timeout => '-1 s');
SELECT event_store.dispatch('PayOrder', '{"order_id": "o1"}', retry_attempts => -1);
SELECT event_store.reject(NULL);
SELECT event_store.reject('no', ext => '[]');
SELECT event_store.reject('no', ext => '{"quota": {"left": 0}, "urls": ["a"]}');

-- functions that never end, and an event above the limit
CREATE FUNCTION apply_loop(state bigint, type text, data jsonb) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
CREATE FUNCTION one_event(state bigint, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('type', 'Made', 'data', repeat('x', (command -> 'size')::int));
SELECT event_store.register_aggregate('loop', 'apply_loop', '0');
SELECT event_store.register_command('Make', 'loop', 'one_event');
SELECT event_store.dispatch('Make', '{"id": "1", "size": 1}', timeout => '50 ms');
SET statement_timeout = '50ms';
SELECT event_store.dispatch('Make', '{"id": "1", "size": 1}');
RESET statement_timeout;
SELECT event_store.stream_version('loop-1');
SELECT event_store.dispatch('Make', '{"id": "1", "size": 1048576}');
SELECT event_store.stream_version('loop-1');

-- of a long stream a fold reads no more than come between two snapshots: systems 2.3.11
CREATE FUNCTION apply_counted(state bigint, type text, data jsonb) RETURNS bigint STABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('regress.applied', (current_setting('regress.applied')::int + 1)::text, false);
	RETURN state + 1;
END $$;
SET regress.applied = 0;
SELECT event_store.register_aggregate('long', 'apply_counted', '0', 'loop-', snapshot_every => 100);
SELECT event_store.register_command('Lengthen', 'long', 'one_event');
SELECT (event_store.append('loop-long', (SELECT jsonb_agg(jsonb_build_object('type', 'Made', 'data', n)) FROM generate_series(1, 10000) n))).last_version;
SELECT version FROM event_store.dispatch('Lengthen', '{"id": "long", "size": 1}');
SELECT current_setting('regress.applied') AS applied;
SELECT max(version) FROM (SELECT (event_store.dispatch('Lengthen', '{"id": "long", "size": 1}')).version FROM generate_series(1, 99)) d;
SET regress.applied = 0;
SELECT * FROM event_store.rehydrate('long', 'long');
SELECT current_setting('regress.applied')::int BETWEEN 1 AND 100 AS few_applied;
SELECT event_store.register_aggregate('long', 'apply_counted', '0', 'loop-', snapshot_every => 100, snapshot_version => 2, replace => true);
SET regress.applied = 0;
SELECT * FROM event_store.rehydrate('long', 'long');
SELECT current_setting('regress.applied') AS applied;
SELECT event_store.unregister_command(type), event_store.unregister_aggregate(aggregate) FROM (VALUES ('Make', 'loop'), ('Lengthen', 'long')) v(type, aggregate);

-- schemas
SELECT event_store.register_command('Checked', 'order', 'no_events', 'order_id',
	schema => '{"type": "object", "required": ["order_id", "count"], "properties": {"count": {"type": "integer", "minimum": 1}}}');
SELECT events FROM event_store.dispatch('Checked', '{"order_id": "o1", "count": 2}');
SELECT event_store.dispatch('Checked', '{"order_id": "o1", "count": 0.5}');
SELECT event_store.dispatch('Checked', '{"count": 1}');
SELECT event_store.register_command('Bad', 'order', 'no_events', schema => '{"type": "nothing"}');

-- registration refuses what cannot work
SELECT event_store.register_command('Bad', 'nothing', 'place_order');
SELECT event_store.register_command('Bad', 'order', 'nothing');
SELECT event_store.register_command('Bad', 'order', 'order_of');
SELECT event_store.register_command('Bad', 'order', 'place_order', steps => '{order_of}');
SELECT event_store.register_command('Bad', 'order', 'place_order', steps => '{NULL}');
SELECT event_store.register_command('Bad', 'order', 'place_order', before => 'add_items');
SELECT event_store.register_command('Bad', 'order', 'place_order', identity_function => 'place_order');
SELECT event_store.register_command('Bad', 'order', 'place_order', timeout => '0');
SELECT event_store.register_command('', 'order', 'place_order');
SELECT event_store.register_command('PlaceOrder', 'order', 'place_order', 'id', replace => true);
SELECT id FROM event_store.dispatch('PlaceOrder', '{"id": "by id"}');
SELECT event_store.unregister_command('PlaceOrder');
SELECT event_store.unregister_command('PlaceOrder');
SELECT event_store.dispatch('PlaceOrder', '{"id": "by id"}');
SELECT type, aggregate, handlers, identity, identity_function, before, timeout FROM event_store.command_registry ORDER BY type;
SELECT event_store.unregister_command(type) IS NOT NULL FROM event_store.command_registry;
SELECT event_store.unregister_aggregate('order');
