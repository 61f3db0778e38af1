/* aggregates: registration, folding, time travel, snapshots */
\set SHOW_CONTEXT never
SELECT event_store.create_store('aggregates');
SET search_path = aggregates, public;

-- one function for all events, in SQL, over jsonb
CREATE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN CASE type
	WHEN 'OrderPlaced' THEN state || data || '{"items": 0}'
	WHEN 'ItemAdded' THEN state || jsonb_build_object('items', (state -> 'items')::int + 1)
	ELSE state END;
SELECT event_store.register_aggregate('order', apply => 'apply_order', initial => '{}');
SELECT event_store.append('order-1', '[{"type": "OrderPlaced", "data": {"customer": "Ada"}},
	{"type": "ItemAdded", "data": {}}, {"type": "Noted", "data": {}}, {"type": "ItemAdded", "data": {}}]');
SELECT * FROM event_store.rehydrate('order', '1');
SELECT * FROM event_store.rehydrate('order', 'none yet');
SELECT * FROM event_store.aggregates('order', '{1, none, 1}');
SELECT * FROM event_store.aggregates('order', '{}');
SELECT * FROM event_store.aggregates('order', '{NULL}');
SELECT event_store.append_event('order-' || id, 'ItemAdded') IS NOT NULL AS appended FROM unnest('{3,20,100,Z,a}'::text[]) id;
SELECT event_store.append_event('order-', 'ItemAdded') IS NOT NULL AS appended, event_store.append_event('orders-1', 'ItemAdded') IS NOT NULL AS appended;
SELECT event_store.delete_stream('order-3');
SELECT id, version FROM event_store.list_aggregates('order');
SELECT * FROM event_store.list_aggregates('order', max_count => 2);
SELECT id FROM event_store.list_aggregates('order', after => '100', max_count => 2);
SELECT id FROM event_store.list_aggregates('order', after => '1', up_to => '20');
SELECT id FROM event_store.list_aggregates('order', after => 'z', up_to => 'b');
SELECT id FROM event_store.list_aggregates('order', after => 'a');
SELECT count(*) FROM event_store.list_aggregates('order', max_count => 0);
SELECT count(*) FROM event_store.list_aggregates('order', max_count => -1);
SELECT count(*) FROM event_store.list_aggregates('order', after => '');
SELECT count(*) FROM event_store.list_aggregates(NULL);
SELECT event_store.aggregate_state('order', '1'), event_store.aggregate_state('order', '1', 1), event_store.aggregate_state('order', 'none', as_of_version => 5);
SELECT event_store.aggregate_state('order', '1', -1);

SELECT name, prefix, apply, initial, unknown_events, snapshot_every, snapshot_version, owner = current_user::regrole AS mine
FROM event_store.aggregate_registry;

-- a function for each type, in PL/pgSQL, over a composite type; one takes the whole event
CREATE TYPE account AS (balance numeric, movements int, last_position bigint);
CREATE FUNCTION deposited(state account, event event_store.recorded_event) RETURNS account STABLE LANGUAGE plpgsql AS $$
BEGIN
	state.balance := state.balance + (event.data ->> 'amount')::numeric;
	state.movements := state.movements + 1;
	state.last_position := event.position;
	RETURN state;
END $$;
CREATE FUNCTION withdrawn(state account, data jsonb) RETURNS account STABLE LANGUAGE plpgsql AS $$
BEGIN
	state.balance := state.balance - (data ->> 'amount')::numeric;
	state.movements := state.movements + 1;
	RETURN state;
END $$;
SELECT event_store.register_aggregate('account', initial => '(0,0,)',
	apply_by_type => '{"Deposited": "deposited", "Withdrawn": "aggregates.withdrawn(account, jsonb)"}');
SELECT event_store.append('account-a', jsonb_agg(jsonb_build_object(
	'type', CASE WHEN i % 3 = 0 THEN 'Withdrawn' ELSE 'Deposited' END, 'data', jsonb_build_object('amount', i))))
FROM generate_series(1, 100) i;
SELECT * FROM event_store.rehydrate('account', 'a');
SELECT * FROM event_store.rehydrate_as(NULL::account, 'account', 'a');
SELECT (event_store.rehydrate_as(NULL::account, 'account', 'none')).*;
SELECT event_store.rehydrate_as(NULL::text, 'account', 'a');
SELECT aggregate, event_type, apply FROM event_store.aggregate_apply ORDER BY 1, 2;

-- the state agrees with a query at every version
SELECT count(*) AS versions, bool_and(r.version = l.version AND (r.state ->> 'balance')::numeric = l.balance) AS agree
FROM (SELECT version, sum(CASE event_type WHEN 'Deposited' THEN 1 ELSE -1 END * (data ->> 'amount')::numeric)
		OVER (ORDER BY version) AS balance
	FROM event_log JOIN event_streams USING (stream_id) WHERE stream_name = 'account-a') l,
	event_store.rehydrate('account', 'a', as_of_version => l.version) r;

-- time travel
SELECT version FROM event_store.rehydrate('account', 'a', as_of_version => 0);
SELECT version FROM event_store.rehydrate('account', 'a', as_of_version => 1000);
SELECT r.version FROM event_log l JOIN event_streams USING (stream_id), event_store.rehydrate('account', 'a', as_of_position => l.position) r
WHERE stream_name = 'account-a' AND l.version = 40;
SELECT version FROM event_store.rehydrate('account', 'a', as_of_position => 2);
SELECT event_store.append('account-t', '[{"type": "Deposited", "data": {"amount": 1}, "created_at": "2020-01-01T00:00:00Z"},
	{"type": "Deposited", "data": {"amount": 2}, "created_at": "2020-01-03T00:00:00Z"},
	{"type": "Deposited", "data": {"amount": 4}, "created_at": "2020-01-02T00:00:00Z"}]');
SELECT r.version, r.state -> 'balance' AS balance
FROM unnest('{2019-12-31, 2020-01-01, 2020-01-02, 2020-01-03}'::timestamptz[]) WITH ORDINALITY t(at, n),
	event_store.rehydrate('account', 't', as_of_time => t.at) r ORDER BY n;
SELECT event_store.rehydrate('account', 'a', 1, 1);
SELECT event_store.rehydrate('account', 'a', -1);
SELECT event_store.rehydrate('account', 'a', as_of_position => -1);
SELECT event_store.rehydrate('account', '');
SELECT event_store.rehydrate(NULL, 'a');
SELECT event_store.rehydrate('account', NULL);
SELECT event_store.rehydrate('nothing', 'a');
-- the beginning of a name that is too long is not the name
SELECT event_store.register_aggregate(repeat('n', 127), apply => 'apply_order', initial => '{}');
SELECT version FROM event_store.rehydrate(repeat('n', 127), 'a');
SELECT event_store.try($$SELECT event_store.rehydrate(repeat('n', 128), 'a')$$) -> 'status' AS status;
SELECT event_store.unregister_aggregate(repeat('n', 127));
-- names that never were leave nothing in the session
DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM event_store.try(format('SELECT event_store.rehydrate(%L, ''a'')', 'never ' || i)); END LOOP; END $$;
SELECT sum(total_bytes) < 100000 AS small FROM pg_backend_memory_contexts WHERE name = 'event_store prepared';

-- states of all kinds: a domain, an array that changes in place, by value, null at first
CREATE DOMAIN level AS integer CHECK (VALUE < 4);
CREATE FUNCTION apply_level(state level, type text, data jsonb) RETURNS level IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN state + 1; END';
CREATE FUNCTION apply_list(state text[], type text, data jsonb) RETURNS text[] IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN state[cardinality(state)] := type; RETURN state; END $$;
CREATE FUNCTION apply_twice(state text[], type text, data jsonb) RETURNS text[] IMMUTABLE LANGUAGE sql
RETURN array_append(state, type) || state[1:1];
CREATE FUNCTION apply_first(state text, type text, data jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN coalesce(state, type);
SELECT event_store.register_aggregate('level', 'apply_level', '0', 'order-');
SELECT event_store.register_aggregate('list', 'apply_list', '{}', 'order-');
SELECT event_store.register_aggregate('twice', 'apply_twice', '{x}', 'order-');
SELECT event_store.register_aggregate('first', 'apply_first', prefix => 'order-');
SELECT * FROM event_store.rehydrate('level', '1');
SELECT * FROM event_store.rehydrate('level', '1', 3);
SELECT * FROM event_store.rehydrate('list', '1');
SELECT * FROM event_store.rehydrate('twice', '1');
SELECT * FROM event_store.rehydrate('first', '1');
SELECT *, state IS NULL AS is_null FROM event_store.rehydrate('first', 'none');

-- registration refuses what cannot work
SELECT event_store.register_aggregate('order', 'apply_order', '{}');
SELECT event_store.register_aggregate('bad');
SELECT event_store.register_aggregate('', 'apply_order', '{}');
SELECT event_store.register_aggregate(repeat('x', 200), 'apply_order', '{}');
SELECT event_store.register_aggregate(NULL, 'apply_order');
SELECT event_store.register_aggregate('bad', 'no_such_function', '{}');
SELECT event_store.register_aggregate('bad', 'no_such_function(jsonb, text, jsonb)', '{}');
SELECT event_store.register_aggregate('bad', 'lower', '{}');
SELECT event_store.register_aggregate('bad', 'lower(text)', '{}');
SELECT event_store.register_aggregate('bad', 'withdrawn', '(0,0,)');
SELECT event_store.register_aggregate('bad', 'apply_order', 'no json');
SELECT event_store.register_aggregate('bad', 'apply_order', '{}', unknown_events => 'skip');
SELECT event_store.register_aggregate('bad', 'apply_order', '{}', snapshot_every => -1);
SELECT event_store.register_aggregate('bad', apply_by_type => '[]');
SELECT event_store.register_aggregate('bad', apply_by_type => '{"A": 1}');
SELECT event_store.register_aggregate('bad', 'apply_order', '{}', apply_by_type => '{"A": "withdrawn"}');
CREATE FUNCTION apply_volatile(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql RETURN state;
CREATE FUNCTION apply_strict(state jsonb, type text, data jsonb) RETURNS jsonb STRICT IMMUTABLE LANGUAGE sql RETURN state;
CREATE FUNCTION apply_other(state jsonb, type text, data jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN 'x';
CREATE FUNCTION apply_set(state jsonb, type text, data jsonb) RETURNS SETOF jsonb IMMUTABLE LANGUAGE sql AS 'SELECT state';
CREATE FUNCTION apply_any(state anyelement, type text, data jsonb) RETURNS anyelement IMMUTABLE LANGUAGE sql AS 'SELECT state';
SELECT event_store.register_aggregate('bad', 'apply_volatile', '{}');
SELECT event_store.register_aggregate('bad', 'apply_strict');
SELECT event_store.register_aggregate('bad', 'apply_other', '{}');
SELECT event_store.register_aggregate('bad', 'apply_set', '{}');
SELECT event_store.register_aggregate('bad', 'apply_any', '{}');
CREATE FUNCTION apply_order(state account, type text, data jsonb) RETURNS account STABLE LANGUAGE sql RETURN state;
SELECT event_store.register_aggregate('bad', 'apply_order', '{}');
DROP FUNCTION apply_order(account, text, jsonb);
SELECT count(*) FROM event_store.aggregate_registry WHERE name = 'bad';

-- functions that misbehave
CREATE FUNCTION apply_null(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN CASE type WHEN 'OrderPlaced' THEN state END;
CREATE FUNCTION apply_raise(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'cannot apply %', type USING ERRCODE = 'P0099'; END $$;
CREATE FUNCTION apply_write(state jsonb, type text, data jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO event_snapshots VALUES (1, 1, 1, now(), 'x', '{}'); RETURN state; END $$;
CREATE FUNCTION apply_deep(state jsonb, type text, data jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN (event_store.rehydrate('deep', '1')).state; END $$;
CREATE FUNCTION apply_nested(state jsonb, type text, data jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN jsonb_build_object('inner', (event_store.rehydrate('nested', '2')).version); END $$;
SELECT event_store.register_aggregate(name, 'apply_' || name, '{}', 'order-')
FROM unnest(ARRAY['null', 'raise', 'write', 'deep', 'nested']) name;
SELECT event_store.rehydrate('null', '1');
SELECT event_store.rehydrate('raise', '1');
SELECT event_store.rehydrate('write', '1');
\set VERBOSITY sqlstate
SELECT event_store.rehydrate('deep', '1');
\set VERBOSITY default
SELECT * FROM event_store.rehydrate('nested', '1');
SELECT * FROM event_store.rehydrate('order', '1');

-- events of a type that nobody takes
SELECT event_store.append_event('account-a', 'Renamed');
SELECT event_store.rehydrate('account', 'a');
SELECT event_store.register_aggregate('account', initial => '(0,0,)', unknown_events => 'ignore', replace => true,
	apply_by_type => '{"Deposited": "deposited", "Withdrawn": "withdrawn"}');
SELECT * FROM event_store.rehydrate('account', 'a');

-- a function replaced, dropped, made anew counts at once
SELECT (event_store.rehydrate('order', '1')).state;
CREATE OR REPLACE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('replaced', type);
SELECT (event_store.rehydrate('order', '1')).state;
DROP FUNCTION apply_order;
SELECT (event_store.rehydrate('order', '1')).state;
CREATE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN jsonb_set(state, ARRAY[type], to_jsonb(coalesce((state -> type)::int, 0) + 1)); END $$;
SELECT (event_store.rehydrate('order', '1')).state;

-- snapshots: used, and never when they could be wrong
SELECT event_store.take_snapshot('order', '1');
SELECT event_store.take_snapshot('order', 'none');
UPDATE event_snapshots SET state = state || '{"from": "snapshot"}' WHERE aggregate = 'order';
SELECT * FROM event_store.rehydrate('order', '1');
SELECT event_store.append_event('order-1', 'ItemAdded');
SELECT * FROM event_store.rehydrate('order', '1');
SELECT * FROM event_store.rehydrate('order', '1', as_of_version => 3);
SELECT * FROM event_store.rehydrate('order', '1', as_of_position => 4);
-- another function
CREATE OR REPLACE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN jsonb_set(state, ARRAY[type], to_jsonb(coalesce((state -> type)::int, 0) + 10)); END $$;
SELECT * FROM event_store.rehydrate('order', '1');
SELECT event_store.take_snapshot('order', '1');
SELECT version, state FROM event_snapshots WHERE aggregate = 'order';
UPDATE event_snapshots SET state = state || '{"from": "snapshot"}' WHERE aggregate = 'order';
SELECT (event_store.rehydrate('order', '1')).state ? 'from' AS from_snapshot;
-- another version, another initial state
SELECT event_store.register_aggregate('order', 'apply_order', '{}', snapshot_version => 2, replace => true);
SELECT (event_store.rehydrate('order', '1')).state ? 'from' AS from_snapshot;
SELECT event_store.register_aggregate('order', 'apply_order', '{}', replace => true);
SELECT (event_store.rehydrate('order', '1')).state ? 'from' AS from_snapshot;
SELECT event_store.register_aggregate('order', 'apply_order', '{"a": 1}', replace => true);
SELECT (event_store.rehydrate('order', '1')).state ? 'from' AS from_snapshot;
-- rolled back with the transaction that took it
BEGIN;
SELECT event_store.append_event('order-9', 'ItemAdded');
SELECT event_store.take_snapshot('order', '9');
ROLLBACK;
SELECT count(*) FROM event_snapshots WHERE version = 1;
-- of a composite state, whatever the session's formats
CREATE TYPE reading AS (at timestamptz, took interval, value float8);
CREATE FUNCTION apply_reading(state reading, type text, data jsonb) RETURNS reading IMMUTABLE LANGUAGE sql
RETURN ROW(timestamptz '2020-02-01 12:00:00Z', interval '1 day -2 hours', 0.1::float8 + 0.2)::reading;
SELECT event_store.register_aggregate('reading', 'apply_reading', NULL, 'order-');
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SET extra_float_digits = 0;
SELECT event_store.take_snapshot('reading', '1');
SELECT state FROM event_snapshots WHERE aggregate = 'reading';
RESET datestyle;
RESET intervalstyle;
RESET extra_float_digits;
SELECT (event_store.rehydrate_as(NULL::reading, 'reading', '1')).* ;
ALTER TYPE reading ADD ATTRIBUTE unit text;
CREATE OR REPLACE FUNCTION apply_reading(state reading, type text, data jsonb) RETURNS reading IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN state.unit := 'm'; RETURN state; END $$;
SELECT (event_store.rehydrate_as(NULL::reading, 'reading', '1')).* ;
-- without the table there are none
ALTER TABLE event_snapshots RENAME TO elsewhere;
SELECT version FROM event_store.rehydrate('order', '1');
ALTER TABLE elsewhere RENAME TO event_snapshots;

-- a deleted stream
SELECT event_store.delete_stream('account-t');
SELECT event_store.rehydrate('account', 't');

-- a function whose body is parsed late follows the search_path of the call
CREATE SCHEMA north;
CREATE SCHEMA south;
CREATE FUNCTION north.region() RETURNS text IMMUTABLE LANGUAGE sql RETURN 'north';
CREATE FUNCTION south.region() RETURNS text IMMUTABLE LANGUAGE sql RETURN 'south';
SET search_path = aggregates, north;
CREATE FUNCTION apply_region(state text, type text, data jsonb) RETURNS text STABLE LANGUAGE sql AS 'SELECT region()';
SELECT event_store.register_aggregate('region', 'apply_region', '', 'order-');
SELECT (event_store.rehydrate('region', '1')).state;
SET search_path = aggregates, south;
SELECT (event_store.rehydrate('region', '1')).state;
SET search_path = aggregates, north;
SELECT (event_store.rehydrate('region', '1')).state;
SET search_path = aggregates, public;

-- rights: functions run as the caller, so only the store's owner may have registered them
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_stranger;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_es_stranger', current_database()); END $$;
GRANT USAGE, CREATE ON SCHEMA public TO regress_es_stranger;
SELECT event_store.grant_store('aggregates', 'regress_es_reader', 'reader');
SELECT event_store.grant_store('aggregates', 'regress_es_stranger', 'reader');
SET ROLE regress_es_stranger;
CREATE FUNCTION public.trap(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN state; END $$;
SELECT event_store.register_aggregate('trap', 'public.trap', '{}', 'order-');
SELECT version FROM event_store.rehydrate('trap', '1', 1);
SELECT event_store.register_aggregate('order', 'public.trap', '{}', replace => true);
SELECT event_store.unregister_aggregate('order');
SELECT event_store.take_snapshot('order', '1');
RESET ROLE;
SET ROLE regress_es_reader;
SELECT event_store.rehydrate('trap', '1');
SELECT version FROM event_store.rehydrate('order', '1');
SELECT event_store.register_aggregate('mine', 'public.trap', '{}');
RESET ROLE;
SELECT event_store.rehydrate('trap', '1');
REVOKE EXECUTE ON FUNCTION apply_order FROM PUBLIC;
SET ROLE regress_es_reader;
SELECT event_store.rehydrate('order', '1');
RESET ROLE;
-- a right that came with a role goes with it
GRANT EXECUTE ON FUNCTION apply_order TO regress_es_stranger;
GRANT regress_es_stranger TO regress_es_reader;
SET ROLE regress_es_reader;
SELECT version FROM event_store.rehydrate('order', '1');
RESET ROLE;
REVOKE regress_es_stranger FROM regress_es_reader;
SET ROLE regress_es_reader;
SELECT version FROM event_store.rehydrate('order', '1');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION apply_order FROM regress_es_stranger;
SELECT version FROM event_store.rehydrate('order', '1');
BEGIN READ ONLY;
SELECT version FROM event_store.rehydrate('order', '1');
SAVEPOINT s;
SELECT event_store.take_snapshot('order', '1');
ROLLBACK TO s;
SELECT event_store.register_aggregate('more', 'apply_order');
ROLLBACK;

-- a state made of all events is not for those who see some of them
GRANT EXECUTE ON FUNCTION apply_order TO PUBLIC;
SELECT event_store.take_snapshot('order', '1');
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY noted ON event_log USING (event_type = 'Noted' OR version > 3);
GRANT INSERT, UPDATE ON event_snapshots TO regress_es_reader;
SET ROLE regress_es_reader;
SELECT * FROM event_store.rehydrate('order', '1');
SELECT event_store.take_snapshot('order', '1');
RESET ROLE;
SELECT * FROM event_store.rehydrate('order', '1');
ALTER TABLE event_log DISABLE ROW LEVEL SECURITY;

SELECT event_store.unregister_aggregate('order');
SELECT event_store.rehydrate('order', '1');
SELECT event_store.unregister_aggregate('order');
SELECT event_store.unregister_aggregate(name) IS NOT NULL AS unregistered FROM event_store.aggregate_registry;
SELECT count(*) FROM event_store.aggregate_apply;
DROP FUNCTION public.trap;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM regress_es_stranger', current_database()); END $$;
REVOKE ALL ON SCHEMA public FROM regress_es_stranger;
SELECT event_store.revoke_store('aggregates', 'regress_es_reader'), event_store.revoke_store('aggregates', 'regress_es_stranger');
DROP ROLE regress_es_reader, regress_es_stranger;
