/* upcasters: events of old forms, read in the form of today */
\set SHOW_CONTEXT never
SELECT event_store.create_store('upcasts');
SET search_path = upcasts, public;

CREATE FUNCTION apply_order(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN CASE type
	WHEN 'OrderPlaced' THEN data
	WHEN 'ItemAdded' THEN state || jsonb_build_object('total', coalesce((state -> 'total')::numeric, 0) + (data -> 'price')::numeric)
	ELSE state || jsonb_build_object('unknown', type) END;
CREATE FUNCTION apply_whole(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN state || jsonb_build_object(event.type, jsonb_build_array(event.data, event.metadata)); END $$;
SELECT event_store.register_aggregate('order', 'apply_order', '{}');
SELECT event_store.register_aggregate('whole', 'apply_whole', '{}', 'order-');
SELECT event_store.append('order-1', '[{"type": "OrderPlaced", "data": {"client": "Ada"}, "correlation_id": "00000000-0000-4000-8000-00000000000c"},
	{"type": "ItemPut", "data": {"cents": 1200}}, {"type": "OrderPlaced", "data": {"name": "Bob"}, "metadata": {"schema_version": 2, "by": "x"}}]');
CREATE TABLE stored AS SELECT * FROM event_log;
SELECT event_store.take_snapshot('order', '1');
UPDATE event_snapshots SET state = state || '{"from": "snapshot"}';
SELECT (event_store.rehydrate('order', '1')).state;

-- a field is renamed, then another; a type is renamed, and its data change: systems 2.3.18
CREATE FUNCTION placed_2(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN (data - 'client') || jsonb_build_object('name', data -> 'client');
CREATE FUNCTION placed_3(data jsonb, metadata jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN (data - 'name') || jsonb_build_object('customer', data -> 'name', 'by', metadata -> 'by'); END $$;
CREATE FUNCTION put_added(old jsonb, OUT type text, OUT data jsonb) IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN type := 'ItemAdded'; data := jsonb_build_object('euros', (old -> 'cents')::numeric / 100); END $$;
CREATE FUNCTION added_2(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('price', data -> 'euros');
SELECT event_store.register_upcaster('OrderPlaced', 'placed_3', 2);
SELECT event_store.register_upcaster('OrderPlaced', 'placed_2');
SELECT event_store.register_upcaster('ItemPut', 'put_added');
SELECT event_store.register_upcaster('ItemAdded', 'upcasts.added_2(jsonb)');
SELECT event_type, from_version, function, owner = current_user::regrole AS mine FROM event_store.upcaster_registry ORDER BY 1, 2;
SELECT version, type, data, metadata FROM event_store.read_stream('order-1');
-- what is stored is byte for byte what it was
SELECT count(*) AS events, bool_and(l::text = s::text AND pg_column_size(l.data) = pg_column_size(s.data) AND
	jsonb_send(l.data) = jsonb_send(s.data) AND jsonb_send(l.metadata) IS NOT DISTINCT FROM jsonb_send(s.metadata)) AS as_it_was
FROM event_log l JOIN stored s USING (position);
SELECT event_type, data FROM event_log ORDER BY position;

-- every way to read gives the same
CREATE VIEW as_read AS SELECT position, type, data, metadata FROM event_store.read_stream('order-1');
SELECT way, count(*) AS events, bool_and(w.type = a.type AND w.data = a.data AND w.metadata IS NOT DISTINCT FROM a.metadata) AS same
FROM (SELECT 'all' AS way, position, type, data, metadata FROM event_store.read_all()
	UNION ALL SELECT 'category', position, type, data, metadata FROM event_store.read_category('order')
	UNION ALL SELECT 'type', position, type, data, metadata FROM event_store.read_by_type('{ItemPut,OrderPlaced}')
	UNION ALL SELECT 'correlation', position, type, data, metadata FROM event_store.read_by_correlation('00000000-0000-4000-8000-00000000000c')
	UNION ALL SELECT 'each type', position, type, data, metadata FROM event_store.read_each_type()
	UNION ALL SELECT 'tree', position, type, data, metadata FROM event_store.causation_tree('00000000-0000-4000-8000-00000000000c')
	UNION ALL SELECT 'poll', position, type, data, metadata FROM event_store.poll(0)
	UNION ALL SELECT 'event', e.position, e.type, e.data, e.metadata FROM stored s, event_store.event(s.event_id) e) w
JOIN as_read a USING (position) GROUP BY way ORDER BY way;
-- but a filter goes by what is stored
SELECT count(*) FROM event_store.read_by_type('{ItemAdded}');
SELECT count(*) FROM event_store.read_all(types => '{ItemPut}');
SELECT event_store.link_event('links', event_id) IS NOT NULL AS linked FROM stored WHERE version = 2;
SELECT type, data FROM event_store.read_stream('links', resolve_links => true);

-- folds, and the snapshot of before is not used
SELECT * FROM event_store.rehydrate('order', '1');
SELECT * FROM event_store.rehydrate('order', '1', as_of_version => 2);
SELECT (event_store.rehydrate('whole', '1')).state;
SELECT event_store.take_snapshot('order', '1');
UPDATE event_snapshots SET state = state || '{"from": "snapshot"}';
SELECT (event_store.rehydrate('order', '1')).state ? 'from' AS from_snapshot;
CREATE OR REPLACE FUNCTION added_2(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
RETURN jsonb_build_object('price', (data -> 'euros')::numeric + 1);
SELECT (event_store.rehydrate('order', '1')).state;
SELECT event_store.unregister_upcaster('ItemAdded');
SELECT data FROM event_store.read_stream('order-1', 2, 1);
SELECT event_store.register_upcaster('ItemAdded', 'added_2');
-- new events in the form of today say so, or the upcaster must let them be
SELECT event_store.append_event('order-1', 'ItemAdded', '{"price": 5}', metadata => '{"schema_version": 2}');
SELECT (event_store.rehydrate('order', '1')).state;
-- rolled back, it was never there
BEGIN;
SELECT event_store.unregister_upcaster('ItemPut');
SELECT type FROM event_store.read_stream('order-1', 2, 1);
ROLLBACK;
SELECT type FROM event_store.read_stream('order-1', 2, 1);

-- any number may stand in the metadata
SELECT event_store.append('odd', '[{"type": "ItemAdded", "data": {}, "metadata": {"schema_version": 1e300}},
	{"type": "ItemAdded", "data": {"euros": 1}, "metadata": {"schema_version": "x"}},
	{"type": "ItemAdded", "data": {"euros": 1}, "metadata": {"schema_version": -7}},
	{"type": "ItemAdded", "data": {"euros": 1}, "metadata": {"schema_version": 1.5}}]');
SELECT data, metadata FROM event_store.read_stream('odd');

-- functions that misbehave fail the events of their type, and say which
CREATE FUNCTION up_null(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN NULL::jsonb;
CREATE FUNCTION up_raise(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'cannot read this' USING ERRCODE = 'P0099'; END $$;
CREATE FUNCTION up_write(data jsonb) RETURNS jsonb STABLE LANGUAGE plpgsql AS $$ BEGIN DELETE FROM stored; RETURN data; END $$;
CREATE FUNCTION up_a(data jsonb, OUT type text, OUT body jsonb) IMMUTABLE LANGUAGE sql RETURN ('A', data);
CREATE FUNCTION up_b(data jsonb, OUT type text, OUT body jsonb) IMMUTABLE LANGUAGE sql RETURN ('B', data);
CREATE FUNCTION up_no_type(data jsonb, OUT type text, OUT body jsonb) IMMUTABLE LANGUAGE sql RETURN (NULL::text, data);
CREATE FUNCTION up_system(data jsonb, OUT type text, OUT body jsonb) IMMUTABLE LANGUAGE sql RETURN ('$>', data);
CREATE FUNCTION up_reads(data jsonb) RETURNS jsonb STABLE LANGUAGE sql
RETURN (SELECT jsonb_build_object('seen', count(*)) FROM event_store.read_stream('order-1'));
SELECT event_store.append('bad', jsonb_agg(jsonb_build_object('type', type, 'data', '{}'::jsonb)))
FROM unnest('{Fine,IsNull,Raise,Write,A,NoType,System,Reads,Dropped}'::text[]) type;
SELECT event_store.register_upcaster(type, function) FROM (VALUES ('IsNull', 'up_null'), ('Raise', 'up_raise'), ('Write', 'up_write'), ('A', 'up_b'), ('B', 'up_a'),
	('NoType', 'up_no_type'), ('System', 'up_system'), ('Reads', 'up_reads'), ('Dropped', 'added_2')) v(type, function);
\set SHOW_CONTEXT errors
SELECT type FROM event_store.read_stream('bad', max_count => 1);
SELECT type FROM event_store.read_stream('bad', 2, 1);
SELECT type FROM event_store.read_stream('bad', 3, 1);
\set SHOW_CONTEXT never
SELECT type FROM event_store.read_stream('bad', 4, 1);
SELECT type FROM event_store.read_stream('bad', 5, 1);
SELECT type FROM event_store.read_stream('bad', 6, 1);
SELECT type FROM event_store.read_stream('bad', 7, 1);
SELECT data FROM event_store.read_stream('bad', 8, 1);
DROP FUNCTION added_2;
SELECT data FROM event_store.read_stream('bad', 9, 1);
SELECT event_store.rehydrate('order', '1');
CREATE FUNCTION added_2(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN jsonb '{"made": "anew"}';
SELECT data FROM event_store.read_stream('bad', 9, 1);

-- registration refuses what cannot work
CREATE FUNCTION up_volatile(data jsonb) RETURNS jsonb LANGUAGE sql RETURN data;
CREATE FUNCTION up_strict(data jsonb, metadata jsonb) RETURNS jsonb STRICT IMMUTABLE LANGUAGE sql RETURN data;
CREATE FUNCTION up_text(data jsonb) RETURNS text IMMUTABLE LANGUAGE sql RETURN 'x';
CREATE FUNCTION up_row(data jsonb, OUT data2 jsonb, OUT type text) IMMUTABLE LANGUAGE sql RETURN (data, 'x'::text);
SELECT event_store.register_upcaster('OrderPlaced', 'placed_2');
SELECT event_store.register_upcaster('OrderPlaced', 'placed_2', replace => true);
SELECT event_store.register_upcaster('X', 'no_such_function');
SELECT event_store.register_upcaster('X', 'up_volatile');
SELECT event_store.register_upcaster('X', 'up_strict');
SELECT event_store.register_upcaster('X', 'up_text');
SELECT event_store.register_upcaster('X', 'up_row');
SELECT event_store.register_upcaster('X', 'apply_order');
SELECT event_store.register_upcaster('', 'placed_2');
SELECT event_store.register_upcaster('$>', 'placed_2');
SELECT event_store.register_upcaster('X', 'placed_2', 0);
SELECT event_store.register_upcaster('X', 'placed_2', 1000001);
SELECT event_store.register_upcaster(NULL, 'placed_2');
SELECT event_store.unregister_upcaster('X');

-- types that nobody knows
CREATE FUNCTION added_by_type(state jsonb, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state;
SELECT event_store.register_aggregate('typed', initial => '{}', prefix => 'order-', apply_by_type => '{"OrderPlaced": "added_by_type"}');
SELECT * FROM event_store.unknown_event_types() ORDER BY 1, 2;
SELECT event_store.append_event('order-1', 'Mistyped');
SELECT * FROM event_store.unknown_event_types() ORDER BY 1, 2;
SELECT event_store.register_aggregate('typed', initial => '{}', prefix => 'order-', replace => true, unknown_events => 'ignore',
	apply_by_type => '{"OrderPlaced": "added_by_type", "ItemAdded": "added_by_type"}');
SELECT * FROM event_store.unknown_event_types() ORDER BY 1, 2;

-- the upcasters of somebody who does not own the store are passed over, for himself too
CREATE ROLE regress_es_stranger;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO regress_es_stranger', current_database()); END $$;
SELECT event_store.grant_store('upcasts', 'regress_es_stranger', 'reader');
GRANT USAGE, CREATE ON SCHEMA public TO regress_es_stranger;
SET ROLE regress_es_stranger;
CREATE FUNCTION public.trap(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE NOTICE 'runs as %', current_user; RETURN '{"trapped": true}'; END $$;
SELECT event_store.register_upcaster('Fine', 'public.trap');
SELECT event_store.register_upcaster('OrderPlaced', 'public.trap', replace => true);
SELECT event_store.unregister_upcaster('OrderPlaced');
SELECT data FROM event_store.read_stream('bad', max_count => 1);
RESET ROLE;
SELECT data FROM event_store.read_stream('bad', max_count => 1);
-- who may not execute one cannot read its events
REVOKE EXECUTE ON FUNCTION placed_3 FROM PUBLIC;
SET ROLE regress_es_stranger;
SELECT data FROM event_store.read_stream('order-1', max_count => 1);
SELECT data FROM event_store.read_stream('bad', max_count => 1);
RESET ROLE;
SELECT event_store.unregister_upcaster(event_type, from_version) IS NOT NULL AS unregistered FROM event_store.upcaster_registry;
SELECT type, data FROM event_store.read_stream('order-1') LIMIT 2;
SELECT event_store.unregister_aggregate(name) IS NOT NULL AS unregistered FROM event_store.aggregate_registry;
DROP FUNCTION public.trap;
DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM regress_es_stranger', current_database()); END $$;
REVOKE ALL ON SCHEMA public FROM regress_es_stranger;
SELECT event_store.revoke_store('upcasts', 'regress_es_stranger');
DROP ROLE regress_es_stranger;
