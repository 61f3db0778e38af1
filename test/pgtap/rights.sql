-- reliability 52: who may do what. The rights are those on a store's tables; the guards hold for everybody.
\ir lib/problem.sql
BEGIN;
SELECT no_plan();

CREATE ROLE regress_es_owner;
CREATE ROLE regress_es_admin;
CREATE ROLE regress_es_writer;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_guest;		-- may use the schema, nothing else
CREATE ROLE regress_es_nobody;
CREATE ROLE regress_es_super SUPERUSER;
CREATE SCHEMA sales AUTHORIZATION regress_es_owner;
CREATE SCHEMA spare AUTHORIZATION regress_es_owner;

SET ROLE regress_es_owner;
SELECT event_store.create_store('sales');
SELECT event_store.grant_store('sales', 'regress_es_admin', 'admin');
SELECT event_store.grant_store('sales', 'regress_es_writer', 'writer');
SELECT event_store.grant_store('sales', 'regress_es_reader', 'reader');
GRANT USAGE ON SCHEMA sales TO regress_es_guest;
RESET ROLE;
SET LOCAL search_path = sales, public;
CREATE FUNCTION pg_temp.count_events(state bigint, type text, data jsonb) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN state + 1;
CREATE FUNCTION pg_temp.upcast(data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN data;
CREATE FUNCTION pg_temp.count_once(state bigint, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN jsonb '{"type": "Counted", "data": {}}';
DO $$ BEGIN
	PERFORM event_store.append_event('order-1', 'Placed', event_id => '00000000-0000-4000-8000-000000000001');
	PERFORM event_store.register_aggregate('order', 'pg_temp.count_events', '0');
	PERFORM event_store.register_command('Count', 'order', 'pg_temp.count_once');
	PERFORM event_store.register_upcaster('Old', 'pg_temp.upcast');
	PERFORM event_store.register_middleware('old', 'after_failure', 'pg_temp.upcast');
	PERFORM event_store.create_subscription('work');
	INSERT INTO sales.event_snapshots VALUES (1, 1, 1, now(), 'order', '{}');
END $$;

CREATE FUNCTION sales.see(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE FUNCTION sales.interested(event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN NULL::jsonb;
CREATE FUNCTION sales.handle(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN NULL::jsonb;

SELECT event_store.registry_create('room'), event_store.partition_create('work', 2), event_store.supervisor_create('boss');
SET ROLE regress_es_owner;
CREATE TABLE sales.seen (n int);
SELECT event_store.register_handler('kept', 'sales.see', background => false);
SELECT event_store.schedule('nightly', '0 3 * * *', 'SELECT 1');
RESET ROLE;

CREATE TABLE public.lines (line int, stream text, type text, data jsonb);
CREATE TABLE public.secret_lines (LIKE public.lines);
GRANT SELECT ON public.lines TO PUBLIC;
CALL event_store.import_events('public.lines', 'done');

-- each command as each role; every one is undone
SET event_store.enable_hard_delete = on;
CREATE TEMP TABLE matrix (n serial, command text, super text, owner text, admin text, writer text, reader text, guest text, nobody text);
INSERT INTO matrix (command, super, owner, admin, writer, reader, guest, nobody) VALUES
	-- append
	($$SELECT event_store.append('order-1', '{"type": "A", "data": 1}')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.append('order-2', '{"type": "A", "data": 1}'::jsonb)$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.append('order-1', ARRAY[ROW('A', '1', NULL, NULL, NULL, NULL, NULL)::event_store.new_event])$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_event('order-1', 'A')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_many('[{"stream": "order-1", "events": {"type": "A", "data": 1}}, {"stream": "order-2", "expected": 0}]')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_many('[{"stream": "order-1", "expected": 7}]'::jsonb)$$, 'VE001', 'VE001', 'VE001', 'VE001', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_event('order-1', 'A', '1')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	-- the answer to one who may not append tells nothing of the stream
	($$SELECT event_store.append_bytes('order-1', 'A', '\x01')$$, '42804', '42804', '42804', '42804', '42501', '42501', 'VE006'),
	($$SELECT event_store.append('order-1', '{}'::event_store.new_event_bytes[])$$, '22023', '22023', '22023', '22023', '22023', '22023', '22023'),
	($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$, 'VE001', 'VE001', 'VE001', 'VE001', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_event('order-2', 'A', event_id => '00000000-0000-4000-8000-000000000001')$$, 'VE005', 'VE005', 'VE005', 'VE005', '42501', '42501', 'VE006'),
	-- read
	($$SELECT event_store.read_stream('order-1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_stream('nothing')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_all()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_category('order')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_by_type('{A}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.enable_tags(), event_store.append_event('order-9', 'A', '1', '{"tags": ["a"]}', condition => '{"tags": ["a"]}'), event_store.disable_tags()$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.append_event('order-9', 'A', '1', condition => '{"tags": ["a"]}')$$, '55000', '55000', '55000', '55000', '42501', '42501', 'VE006'),
	($$SELECT event_store.disable_tags()$$, '42704', '42704', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.read_by_query('{"tags": ["a"]}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_by_correlation('00000000-0000-4000-8000-000000000001')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.causation_tree('00000000-0000-4000-8000-000000000001')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_each_type()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.position_at(now())$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.streams()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.event('00000000-0000-4000-8000-000000000001')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.event('00000000-0000-4000-8000-00000000000f')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.stream_version('order-1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.stream_info('order-1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	-- refused inside the transaction that has appended, but only to those who may read
	($$SELECT event_store.read_all_as(NULL::json)$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.read_stream_as(NULL::json, 'order-1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.poll_as(NULL::json, 0, timeout => '0')$$, '25001', '25001', '25001', '25001', '25001', '42501', 'VE006'),
	($$SELECT event_store.poll(0, timeout => '0')$$, '25001', '25001', '25001', '25001', '25001', '42501', 'VE006'),
	($$SELECT event_store.horizon()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.head()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.durable_mark()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.token(0)$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.token_position('0:1:1:1:1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.in_flight()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.verify_store('sales')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	-- aggregates
	($$SELECT event_store.rehydrate('order', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.rehydrate_as(NULL::bigint, 'order', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.aggregates('order', '{1}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.list_aggregates('order')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.aggregate_state('order', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.take_snapshot('order', '1')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.register_aggregate('mine', 'pg_temp.count_events', '0')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register_aggregate('order', 'pg_temp.count_events', '0', replace => true)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register_upcaster('New', 'pg_temp.upcast')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register_upcaster('Old', 'pg_temp.upcast', replace => true)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unregister_upcaster('Old')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unknown_event_types()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	-- commands
	($$SELECT event_store.register_middleware('new', 'before_dispatch', 'pg_temp.upcast')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register_middleware('old', 'after_failure', 'pg_temp.upcast', replace => true)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unregister_middleware('old')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.assign('{}', 'a', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.assign_metadata('{}', 'a', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.respond('{}', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.halt('{}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.dispatch('Count', '{"id": "1"}')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.dispatch('Count', '{"id": "1"}', command_id => '00000000-0000-4000-8000-000000000009')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.register_command('More', 'order', 'pg_temp.count_once')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unregister_command('Count')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.reject('no')$$, 'VE012', 'VE012', 'VE012', 'VE012', 'VE012', 'VE012', 'VE012'),
	($$SELECT event_store.forget_commands()$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT * FROM sales.event_commands$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	($$SELECT event_store.unregister_aggregate('order')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	-- assertions, without pgTAP on the path, which would number them
	($$SELECT set_config('search_path', 'sales', true), event_store.assert_event('A')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT set_config('search_path', 'sales', true), event_store.refute_event('A')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT set_config('search_path', 'sales', true), event_store.wait_for_event('A', timeout => '0')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT set_config('search_path', 'sales', true), event_store.assert_correlated('A', 'B')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT set_config('search_path', 'sales', true), event_store.assert_command('order-1', '[]', 'Count', '{"id": "1"}', '{"type": "Counted"}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	-- subscriptions: an admin manages them, an admin and a consumer (below) handle their events, a reader sees how far they are
	($$SELECT event_store.create_subscription('mine')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.alter_subscription('work', 1)$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.reset_subscription('work')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.stop_subscription('work')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.resume_subscription('work')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.delete_subscription('work')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.fetch('work', 'a', 1, '0')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.extend('work', 'a')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.release('work', 'a')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.replay_parked('work')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.ack('work', 'a', '{99}')$$, 'VE009', 'VE009', 'VE009', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.ack_to('work', 'a', 99)$$, 'VE009', 'VE009', 'VE009', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.nack('work', 'a', '{99}')$$, 'VE009', 'VE009', 'VE009', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.discard_parked('work', '{99}')$$, '42704', '42704', '42704', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.parked_events('work')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.subscription_status()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT * FROM event_store.subscriptions$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT * FROM sales.event_subscriptions, sales.event_deliveries$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$UPDATE sales.event_subscriptions SET read_position = 1$$, '0A000', '0A000', '42501', '42501', '42501', '42501', '42501'),
	($$INSERT INTO sales.event_deliveries VALUES (1, 1, now(), 1, 1, 0, 'g')$$, '0A000', '0A000', '42501', '42501', '42501', '42501', '42501'),
	-- streams and whole stores
	($$SELECT event_store.delete_stream('order-1')$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.delete_stream('order-1', hard => true)$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SET event_store.enable_hard_delete = on$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.truncate_stream('order-1', 1)$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.set_stream_metadata('order-1', '{}', '1 day', 1)$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	-- the answer to one who may not change it tells nothing of the stream
	($$SELECT event_store.truncate_stream('nothing', 1)$$, 'VE003', 'VE003', 'VE003', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.keep_store_tidy()$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$CALL event_store.scavenge_store()$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.stream_metadata('order-1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	($$SELECT event_store.link_event('links', '00000000-0000-4000-8000-000000000001')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$SELECT event_store.link_event('links', '00000000-0000-4000-8000-00000000000f')$$, '42704', '42704', '42704', '42704', '42704', '42501', 'VE006'),
	($$SELECT event_store.create_store('mine')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.create_store('spare')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.create_store('sales', if_not_exists => true)$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.attach_store('sales')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.attach_found_stores()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.drop_store('sales', 'sales')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.grant_store('sales', 'regress_es_nobody', 'reader')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.grant_store('sales', current_user, 'admin')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.revoke_store('sales', 'regress_es_writer')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$CALL event_store.add_index('type', false)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$CALL event_store.import_events('public.lines', 'mine')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', 'VE006'),
	($$CALL event_store.import_events('public.secret_lines', 'mine')$$, 'ok', '42501', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.forget_import('done')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT 1 / count(*) FROM event_store.imports$$, 'ok', 'ok', 'ok', 'ok', 'ok', '22012', '22012'),
	($$SELECT * FROM event_store.import_progress$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$CALL event_store.drop_index('type', false)$$, '42704', '42704', '42501', '42501', '42501', '42501', 'VE006'),
	-- tenants; what can be done with one is in sql/tenant.sql
	($$SELECT event_store.create_tenant('mine')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.attach_tenant('sales')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.drop_tenant('mine', 'mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.rename_tenant('mine', 'yours')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.suspend_tenant('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.resume_tenant('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.grant_tenant('mine', 'regress_es_reader')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.revoke_tenant('mine', 'regress_es_reader')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.tenant_use('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.tenant_use_session('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT * FROM event_store.with_tenant('mine', 'SELECT 1') AS (n integer)$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT * FROM event_store.with_tenant('mine', 'SELECT $1', 1) AS (n integer)$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.create_tenant('mine', template => 'sales')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.clone_tenant('sales', 'mine')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$CALL event_store.fill_tenant_pool(1)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.tenant_differences('sales', 'sales')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.restore_tenant('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$CALL event_store.purge_tenants('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.add_tenant_domain('mine', 'mine.example')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.remove_tenant_domain('mine.example')$$, '42704', '42704', '42704', '42704', '42704', '42704', '42704'),
	($$SELECT event_store.tenant_for_host('mine.example')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.register_migration(1, 'one', 'SELECT 1')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unregister_migration(1)$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.migrate_tenant('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.revert_tenant('mine', 1)$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.baseline_tenant('mine', 1)$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.migrate_tenants()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.start_rollout()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$CALL event_store.run_rollout(1)$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.pause_rollout(1)$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.resume_rollout(1)$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_domain$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.keep_tenant_pool(0)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_pool$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_pool_target$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_migration$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_migrated$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.rollout_registry$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.rollout_tenant$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.rollouts$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_drift$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_versions$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT count(*) FROM event_store.schema_definition WHERE schema_oid = (SELECT oid FROM pg_namespace WHERE nspname = 'sales')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.each_tenant('SELECT 1')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.each_tenant('SELECT 1', 2)$$, '25001', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.set_tenant_limit('mine', 'streams', 1)$$, 'VE020', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.clear_tenant_limit('mine')$$, 'VE020', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.tenant_usage('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.export_tenant('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT event_store.import_tenant('mine', 'public.lines')$$, '22023', '22023', '22023', '22023', '22023', '22023', '22023'),
	($$SELECT event_store.tenant_checksums('mine')$$, 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020', 'VE020'),
	($$SELECT * FROM event_store.tenant_limits$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_limit$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.require_tenant()$$, 'VE023', 'VE023', 'VE023', 'VE023', 'VE023', 'VE023', 'VE023'),
	($$SELECT event_store.current_tenant()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.pooler_check()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.tenant_schema('mine')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.tenant_residue('mine')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SET event_store.tenant = 'mine'$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SET event_store.store_cache_size = 10$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.guard_counts()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenants$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.tenant_registry$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.guard = off$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.pooler = tracked$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.require_tenant = on$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.tenant_name_pattern = '.'$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.tenant_shared_schemas = ''$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	-- what says nothing of a store's content
	($$SELECT event_store.current_store()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.store_number('sales'::regnamespace)$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	-- problems: made and raised by everybody, the catalogue is for its owner to change
	($$SELECT event_store.problem(status => 404)$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.raise_problem('{"status": 404}')$$, 'P0001', 'P0001', 'P0001', 'P0001', 'P0001', 'P0001', 'P0001'),
	($$SELECT event_store.last_problem()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.problem_from_error('23505')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.problem_headers('{"status": 404}')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.problem_pgrst('{"status": 404}')$$, 'PGRST', 'PGRST', 'PGRST', 'PGRST', 'PGRST', 'PGRST', 'PGRST'),
	($$SELECT event_store.try('SELECT 1/0')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.problem_log()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.built_in_problem_types()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.problem_type$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.registered_problem_type, event_store.problem_title$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.register_problem_type('urn:x:y', 'Y', 400)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.set_problem_title('urn:event-store:problem:stream-exists', 'de', 'Y')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unregister_problem_type('urn:x:y')$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$INSERT INTO event_store.registered_problem_type VALUES ('urn:x:y', NULL, 'Y', 400)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$INSERT INTO event_store.problem_title VALUES ('urn:x:y', 'de', 'Y')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.problem_debug = on$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.problem_log_rate = 1$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SET event_store.problem_language = 'de'$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.validate('true', '1'), event_store.is_valid('true', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT 1::event_store.expected_version, 'any'::text::event_store.expected_version, 2::bigint::event_store.expected_version$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.stores$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.store_registry$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	-- telemetry: everybody may say what happens, the owner of the extension says what is counted and run
	($$SELECT event_store.telemetry_execute('e'), event_store.telemetry_span('e', 'SELECT 1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.telemetry_verify()$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', 'VE006'),
	-- registries, sessions, partitions: names are for everybody, what is defined is for who may create
	($$SELECT event_store.registry_create('r')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.registry_drop('room')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.registry_put_meta('room', 'k', '1')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register('room', 'k', scope => 'transaction')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.unregister('room', 'k')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.unregister_match('room', 'k', '$ == 1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.lookup('room', 'k')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.whereis('room', 'k')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.keys_of('room')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_select('room')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_count('room')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_meta('room', 'k')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_lock('room', 'k')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_listen('room')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.registry_send('room', 'k', '1')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.receive()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.update_value('room', 'k', 'pg_catalog.lower(text)')$$, '42883', '42883', '42883', '42883', '42883', '42883', '42883'),
	($$SELECT event_store.registry_dispatch('room', 'k', '1', 'pg_catalog.lower(text)')$$, '42883', '42883', '42883', '42883', '42883', '42883', '42883'),
	($$SELECT count(*) FROM event_store.registries$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$DELETE FROM event_store.registry_definitions$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.session_start(ttl => '1 ms')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.session_get('s')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.session_stop('s')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.session_rows_seen()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.session_put('s', '1')$$, 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032'),
	($$SELECT event_store.session_merge('s', '{}')$$, 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032'),
	($$SELECT event_store.session_touch('s')$$, 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032', 'VE032'),
	($$SELECT count(*) FROM event_store.sessions$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.session_rows$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.session_sweep()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.shared_pool()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.partition_create('p', 2)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.partition_resize('work', 2)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.partition_drop('work')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.partition_for('work', 'k'), event_store.partition_for('work', 1)$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.supervisor_create('b')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.supervisor_start_child('boss', 'pg_catalog.lower(text)')$$, '42883', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.supervisor_terminate_child('00000000-0000-0000-0000-000000000000')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.child_status()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT (SELECT count(*) FROM event_store.supervisors), (SELECT count(*) FROM event_store.supervisor_children), (SELECT count(*) FROM event_store.supervision_tree)$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.supervisor_stop('boss')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.supervisor_restart('boss')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.supervisor_drop('boss')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$DELETE FROM event_store.supervisor_definitions$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_counter('a.b'), event_store.metric_drop('a.b')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_sum('a.b')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_last_value('a.b')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_distribution('a.b', buckets => '{1}')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_summary('a.b')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_attach('a', '{b}', 'pg_catalog.now()')$$, '22023', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_detach('a')$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_detached()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_reset('event_store_poll_waits')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.prometheus()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.openmetrics()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_info()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.metric_samples()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_top()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.histogram_quantiles('event_store_append_batch_events')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.metrics$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.counters$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.metric_definitions$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.telemetry_handlers$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$DELETE FROM event_store.metric_definitions$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$DELETE FROM event_store.telemetry_attachments$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_poll('p', 'SELECT 1', '1 min')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.telemetry_unpoll('p')$$, '42704', '42501', '42501', '42501', '42501', '42501', '42501'),
	-- background tasks: who may register things in the database or owns the store
	($$SELECT event_store.schedule('s', '1 day', 'SELECT 1')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.unschedule('nightly')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42704'),
	($$SELECT event_store.resume_task('schedule', 'nightly')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42704'),
	($$SELECT event_store.next_run('1 day')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT 1 / count(*) FROM event_store.schedules$$, 'ok', 'ok', '22012', '22012', '22012', '22012', '22012'),
	($$SELECT 1 / count(*) FROM event_store.tasks$$, 'ok', 'ok', '22012', '22012', '22012', '22012', '22012'),
	($$SELECT * FROM event_store.workers$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.task_status(1), event_store.worker_status()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.task_backoff(1, 0)$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.task$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM event_store.task_failure$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$UPDATE event_store.schedule SET command = 'SELECT 2'$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	-- handlers: the owner of the store registers them, and who has registered one operates it
	($$SELECT event_store.register_handler('h', 'sales.see', background => false)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.register_handler('h', 'sales.see', tenant => '*')$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.register_projection('h', '{sales.seen}', 'sales.see', background => false)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.register_process_manager('h', 'sales.interested', 'sales.handle', background => false)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', 'VE006'),
	($$SELECT event_store.handler_run('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_pause('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_resume('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_retry('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_skip('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_reset('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_replay('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.handler_delete('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.projection_rebuild('kept')$$, '55000', '55000', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.projection_build('kept')$$, '55000', '55000', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.projection_cancel('kept')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.projection_read('kept', 'SELECT 1')$$, '55000', '55000', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.is_rebuilding()$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.wait_for(handlers => '{}', timeout => '0')$$, '25001', '25001', '25001', '25001', '25001', '42501', 'VE006'),
	($$CALL event_store.dispatch_and_wait('Count', '{"id": "1"}')$$, '25001', '25001', '25001', '25001', '25001', '25001', '25001'),
	($$SELECT 1 / count(*) FROM event_store.handlers$$, 'ok', 'ok', 'ok', 'ok', 'ok', '22012', '22012'),
	($$SELECT 1 / count(*) FROM event_store.handler_states((SELECT oid FROM pg_namespace WHERE nspname = 'sales'), 'kept')$$, 'ok', 'ok', 'ok', 'ok', 'ok', '22012', '22012'),
	($$SELECT event_store.handler_parked_events((SELECT oid FROM pg_namespace WHERE nspname = 'sales'), 'kept')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT event_store.projection_states((SELECT oid FROM pg_namespace WHERE nspname = 'sales'), 'kept')$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.handler_parked, event_store.projection_rebuilds$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$SELECT * FROM event_store.handler_registry$$, 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'),
	($$DELETE FROM event_store.handler_registry$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM sales.event_handlers, sales.event_parked, sales.event_processes$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	-- the registry and the schema of the extension
	($$INSERT INTO event_store.store_registry VALUES (1, true, now())$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$UPDATE event_store.store_registry SET owns_schema = true$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$DELETE FROM event_store.store_registry$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$TRUNCATE event_store.store_registry$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$CREATE TABLE event_store.mine ()$$, 'ok', '42501', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT event_store.guard_store_table()$$, '0A000', '0A000', '0A000', '0A000', '0A000', '0A000', '0A000'),
	-- event_log by plain SQL
	($$SELECT * FROM sales.event_log$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	($$INSERT INTO sales.event_log SELECT 9, stream_id, 2, now(), '00000000-0000-4000-8000-000000000002', NULL, NULL, 'A', '{}', NULL FROM sales.event_streams$$, '0A000', '0A000', '0A000', '0A000', '42501', '42501', '42501'),
	($$INSERT INTO sales.event_log SELECT * FROM sales.event_log ON CONFLICT DO NOTHING$$, '0A000', '0A000', '0A000', '0A000', '42501', '42501', '42501'),
	($$MERGE INTO sales.event_log t USING sales.event_log s ON t.position = s.position + 1 WHEN NOT MATCHED THEN INSERT VALUES (9, 1, 2, now(), s.event_id, NULL, NULL, 'A', '{}', NULL)$$, '0A000', '0A000', '0A000', '0A000', '42501', '42501', '42501'),
	($$UPDATE sales.event_log SET data = '{}'$$, '0A000', '0A000', '0A000', '42501', '42501', '42501', '42501'),
	($$DELETE FROM sales.event_log$$, '0A000', '0A000', '0A000', '42501', '42501', '42501', '42501'),
	($$TRUNCATE sales.event_log$$, '0A000', '0A000', '42501', '42501', '42501', '42501', '42501'),
	($$TRUNCATE sales.event_log CASCADE$$, '0A000', '0A000', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM sales.event_log FOR UPDATE$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', '42501'),
	($$ALTER TABLE sales.event_log DISABLE TRIGGER ALL$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SET LOCAL session_replication_role = replica; DELETE FROM sales.event_log$$, '0A000', '42501', '42501', '42501', '42501', '42501', '42501'),
	-- event_streams
	($$SELECT * FROM sales.event_streams$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	($$INSERT INTO sales.event_streams VALUES (9, 'x', 'x', now())$$, '0A000', '0A000', '0A000', '0A000', '42501', '42501', '42501'),
	($$UPDATE sales.event_streams SET stream_name = 'x'$$, '0A000', '0A000', '0A000', '42501', '42501', '42501', '42501'),
	($$DELETE FROM sales.event_streams$$, '0A000', '0A000', '0A000', '42501', '42501', '42501', '42501'),
	($$TRUNCATE sales.event_streams$$, '0A000', '0A000', '42501', '42501', '42501', '42501', '42501'),
	-- event_snapshots are the writers' own
	($$SELECT * FROM sales.event_snapshots$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	($$INSERT INTO sales.event_snapshots VALUES (2, 1, 1, now(), 'x', '{}')$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', '42501'),
	($$UPDATE sales.event_snapshots SET version = 2$$, 'ok', 'ok', 'ok', 'ok', '42501', '42501', '42501'),
	($$DELETE FROM sales.event_snapshots$$, 'ok', 'ok', 'ok', '42501', '42501', '42501', '42501'),
	($$TRUNCATE sales.event_snapshots$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	-- event_mark and event_position
	($$SELECT * FROM sales.event_mark$$, 'ok', 'ok', 'ok', 'ok', 'ok', '42501', '42501'),
	($$UPDATE sales.event_mark SET position = 1000000$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$INSERT INTO sales.event_mark SELECT * FROM sales.event_mark$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$DELETE FROM sales.event_mark$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT nextval('sales.event_position')$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT setval('sales.event_position', 1)$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$SELECT * FROM sales.event_position$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501'),
	($$DROP TABLE sales.event_log$$, 'ok', 'ok', '42501', '42501', '42501', '42501', '42501');

SELECT is(
	(SELECT string_agg(role || ' ' || replace(pg_temp.state_as('regress_es_' || role, command), '00000', 'ok'), ', ' ORDER BY i)
	FROM unnest('{super,owner,admin,writer,reader,guest,nobody}'::text[]) WITH ORDINALITY r(role, i)),
	format('super %s, owner %s, admin %s, writer %s, reader %s, guest %s, nobody %s', super, owner, admin, writer, reader, guest, nobody),
	command)
FROM matrix ORDER BY n;

SELECT is_empty(
	$$SELECT p.oid::regprocedure FROM pg_proc p
	WHERE p.pronamespace = 'event_store'::regnamespace AND p.proname NOT LIKE 'expected\_version%' AND p.proname <> 'check_schema'
	AND NOT EXISTS (SELECT FROM matrix WHERE command LIKE '%event_store.' || p.proname || '(%')$$,
	'no function is left out');
SELECT is((SELECT count(*)::int FROM event_log), 1, 'nothing was left behind by what was undone');

-- who has been given the functions needs no rights on the tables behind them
GRANT EXECUTE ON FUNCTION event_store.register_problem_type, event_store.unregister_problem_type, event_store.set_problem_title TO regress_es_admin;
SELECT is(pg_temp.state_as('regress_es_admin', $$SELECT event_store.register_problem_type('urn:x:y', 'Y', 400), event_store.set_problem_title('urn:x:y', 'de', 'Ü'),
	event_store.unregister_problem_type('urn:x:y')$$), '00000', 'a role that may change the catalogue changes it');
-- try adds no rights
SELECT is(pg_temp.state_as('regress_es_guest', $$DO 'BEGIN ASSERT event_store.try(''SELECT * FROM sales.event_log'') ->> ''sqlstate'' = ''42501''; END'$$), '00000',
	'try runs as its caller');

-- rights through membership, and only where they are inherited
CREATE ROLE regress_es_member IN ROLE regress_es_writer;
CREATE ROLE regress_es_noinherit NOINHERIT IN ROLE regress_es_writer;
SELECT is(pg_temp.state_as('regress_es_member', $$SELECT event_store.append_event('order-1', 'A')$$), '00000', 'a member of a writer writes');
SELECT is(pg_temp.state_as('regress_es_noinherit', $$SELECT event_store.append_event('order-1', 'A')$$), 'VE006',
	'a member that does not inherit does not even see the store');

-- rights on columns are not rights on events
GRANT SELECT (position, stream_id, version, created_at, event_id, correlation_id, causation_id, event_type, data, metadata),
	INSERT (position, stream_id, version, created_at, event_id, correlation_id, causation_id, event_type, data, metadata)
	ON sales.event_log TO regress_es_guest;
SELECT is(pg_temp.state_as('regress_es_guest', 'SELECT position FROM sales.event_log'), '00000', 'a column may be read by plain SQL if that was granted');
SELECT is(pg_temp.state_as('regress_es_guest', command), '42501', 'but rights on columns are not enough for ' || command)
FROM unnest(ARRAY[
	'SELECT event_store.read_all()',
	$$SELECT event_store.read_stream('order-1')$$,
	$$SELECT event_store.event('00000000-0000-4000-8000-000000000001')$$,
	$$SELECT event_store.append_event('order-1', 'A')$$]) command;
REVOKE SELECT (position, stream_id, version, created_at, event_id, correlation_id, causation_id, event_type, data, metadata),
	INSERT (position, stream_id, version, created_at, event_id, correlation_id, causation_id, event_type, data, metadata)
	ON sales.event_log FROM regress_es_guest;

-- grant_store and revoke_store, exactly
CREATE FUNCTION pg_temp.rights(role regrole) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws('; ',
		(SELECT 'schema ' || string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'sales' AND grantee = role),
		(SELECT string_agg(relname || ' ' || privileges, '; ' ORDER BY relname COLLATE "C") FROM
			(SELECT relname, string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ' ' ORDER BY privilege_type) AS privileges
			FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'sales'::regnamespace AND grantee = role GROUP BY relname) x))
$$;
SELECT is(pg_temp.rights('regress_es_reader'),
	'schema USAGE; event_commands SELECT; event_log SELECT; event_mark SELECT; event_snapshots SELECT; event_streams SELECT', 'the rights of a reader');
SELECT is(pg_temp.rights('regress_es_writer'),
	'schema USAGE; event_commands INSERT SELECT; event_log INSERT SELECT; event_mark SELECT; event_snapshots INSERT SELECT UPDATE; event_streams INSERT SELECT', 'the rights of a writer');
SELECT is(pg_temp.rights('regress_es_admin'),
	'schema USAGE; event_commands DELETE INSERT SELECT UPDATE; event_log DELETE INSERT SELECT UPDATE; event_mark SELECT; event_snapshots DELETE INSERT SELECT UPDATE; event_streams DELETE INSERT SELECT UPDATE',
	'the rights of an admin');
SET ROLE regress_es_owner;
SELECT event_store.grant_store('sales', 'regress_es_nobody', 'consumer');
RESET ROLE;
SELECT is(pg_temp.rights('regress_es_nobody'),
	'schema USAGE; event_commands SELECT; event_deliveries SELECT UPDATE; event_log SELECT; event_mark SELECT; event_snapshots SELECT; event_streams SELECT; event_subscriptions SELECT',
	'the rights of a consumer');
SELECT is(pg_temp.state_as('regress_es_nobody', command), state, 'as a consumer: ' || command)
FROM (VALUES
	($$SELECT event_store.fetch('work', 'a', 1, '0')$$, '00000'),
	($$SELECT event_store.ack('work', 'a', '{99}')$$, 'VE009'),
	($$SELECT event_store.nack('work', 'a', '{99}')$$, 'VE009'),
	($$SELECT event_store.extend('work', 'a'), event_store.release('work', 'a'), event_store.replay_parked('work')$$, '00000'),
	($$SELECT event_store.stop_subscription('work')$$, '42501'),
	($$SELECT event_store.append_event('order-1', 'A')$$, '42501'),
	($$UPDATE sales.event_deliveries SET position = 1$$, '00000'),
	($$DELETE FROM sales.event_deliveries$$, '42501')) v(command, state);
SET ROLE regress_es_owner;
SELECT event_store.revoke_store('sales', 'regress_es_nobody');
SELECT event_store.grant_store('sales', 'regress_es_nobody', 'admin');
SELECT event_store.grant_store('sales', 'regress_es_nobody', 'reader');
RESET ROLE;
SELECT is(pg_temp.rights('regress_es_nobody'), pg_temp.rights('regress_es_admin'), 'a lower grant takes nothing away');
SET ROLE regress_es_owner;
SELECT event_store.revoke_store('sales', 'regress_es_nobody');
SELECT event_store.revoke_store('sales', 'regress_es_nobody');
RESET ROLE;
SELECT is(pg_temp.rights('regress_es_nobody'), '', 'revoke_store takes all');
SELECT is(pg_temp.state_as('regress_es_nobody', $$SELECT event_store.read_all()$$), 'VE006', 'then the store is out of sight again');
SELECT is(pg_temp.state_as('regress_es_owner', format('SELECT event_store.grant_store(%L, %L, %L)', schema, role, access)), state,
	format('grant_store(%s, %s, %s)', schema, role, access))
FROM (VALUES
	('sales', 'regress_es_reader', 'king', '22023'),
	('sales', 'regress_es_reader', '', '22023'),
	('sales', 'regress_es_reader', 'Reader', '22023'),
	('sales', 'regress_es_none', 'reader', '42704'),
	('sales', '', 'reader', '42704'),
	('sales', 'regress_es_reader, regress_es_nobody', 'reader', '42704'),
	('sales', 'regress_es_reader WITH GRANT OPTION', 'reader', '42704'),
	('spare', 'regress_es_reader', 'reader', 'VE006'),
	('nowhere', 'regress_es_reader', 'reader', 'VE006'),
	('sales; DROP SCHEMA spare', 'regress_es_reader', 'reader', 'VE006')) v(schema, role, access, state);
CREATE ROLE "regress es ""odd"", role" ;
SELECT is(pg_temp.state_as('regress_es_owner', $$SELECT event_store.grant_store('sales', 'regress es "odd", role', 'writer')$$), '00000', 'a role with an odd name');

-- a schema of one role with the store of another in it: who may not grant the use of the schema is told so
CREATE SCHEMA shared;
GRANT USAGE, CREATE ON SCHEMA shared TO regress_es_owner;
SET ROLE regress_es_owner;
SELECT event_store.create_store('shared');
RESET ROLE;
SELECT is(pg_temp.state_as('regress_es_owner', $$SELECT event_store.grant_store('shared', 'regress_es_reader', 'reader')$$), '42501',
	'grant_store that would leave the reader without the schema');

-- the caller counts, not who has used the store before in this session: switches with everything cached
CREATE FUNCTION pg_temp.switches(times int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	role text;
	state text;
	wrong int := 0;
BEGIN
	FOR i IN 1 .. times LOOP
		FOREACH role IN ARRAY '{writer,reader,guest,nobody,admin}'::text[] LOOP
			state := pg_temp.state_as('regress_es_' || role, $c$SELECT event_store.append_event('order-1', 'A')$c$);
			wrong := wrong + (state <> CASE role WHEN 'writer' THEN '00000' WHEN 'admin' THEN '00000' WHEN 'nobody' THEN 'VE006' ELSE '42501' END)::int;
			state := pg_temp.state_as('regress_es_' || role, 'SELECT event_store.read_all()');
			wrong := wrong + (state <> CASE role WHEN 'nobody' THEN 'VE006' WHEN 'guest' THEN '42501' ELSE '00000' END)::int;
			state := pg_temp.state_as('regress_es_' || role, $c$SELECT event_store.delete_stream('order-1')$c$);
			wrong := wrong + (state <> CASE role WHEN 'admin' THEN '00000' WHEN 'nobody' THEN 'VE006' ELSE '42501' END)::int;
		END LOOP;
	END LOOP;
	RETURN wrong || ' wrong answers';
END $$;
SELECT is(pg_temp.switches(100), '0 wrong answers', '500 switches of role in one session');

-- two stores of two owners on one path: each role gets the one that it may see
CREATE SCHEMA other AUTHORIZATION regress_es_nobody;
SET ROLE regress_es_nobody;
SELECT event_store.create_store('other');
RESET ROLE;
SET LOCAL search_path = sales, other, public;
CREATE FUNCTION pg_temp.store_of(role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	store text;
BEGIN
	PERFORM set_config('role', role, true);
	store := event_store.current_store();
	PERFORM set_config('role', 'none', true);
	RETURN store;
END $$;
SELECT is(
	(SELECT string_agg(DISTINCT role || ' ' || pg_temp.store_of('regress_es_' || role), ', ')
	FROM generate_series(1, 20), unnest('{reader,nobody}'::text[]) role),
	'nobody other, reader sales', 'roles that see different stores of one path, by turns');
SET LOCAL search_path = sales, public;

-- row-level security that asks who is asking, through one saved plan
ALTER TABLE sales.event_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON sales.event_log USING (metadata->>'by' = current_user) WITH CHECK (metadata->>'by' = current_user);
CREATE FUNCTION pg_temp.types_of(role text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	types text;
BEGIN
	PERFORM set_config('role', role, true);
	SELECT string_agg(type, ' ' ORDER BY version) INTO types FROM event_store.read_stream('order-1');
	PERFORM set_config('role', 'none', true);
	RETURN types;
END $$;
DO $$ BEGIN
	PERFORM event_store.append_event('order-1', 'OfWriter', metadata => '{"by": "regress_es_writer"}');
	PERFORM event_store.append_event('order-1', 'OfAdmin', metadata => '{"by": "regress_es_admin"}');
END $$;
SELECT is(
	(SELECT string_agg(DISTINCT role || ': ' || coalesce(pg_temp.types_of('regress_es_' || role), 'none'), ', ')
	FROM generate_series(1, 20), unnest('{writer,admin,reader,owner}'::text[]) role),
	'admin: OfAdmin, owner: Placed OfWriter OfAdmin, reader: none, writer: OfWriter', 'each role sees its own rows, by turns');
SELECT is(pg_temp.state_as('regress_es_' || role, $$SELECT event_store.append_event('order-1', 'A', metadata => '{"by": "regress_es_writer"}')$$), state,
	'the policy on new rows for ' || role)
FROM (VALUES ('writer', '00000'), ('admin', '42501'), ('writer', '00000'), ('admin', '42501'), ('owner', '00000'), ('reader', '42501')) v(role, state);
ALTER TABLE sales.event_log DISABLE ROW LEVEL SECURITY;

-- code with its owner's rights lends them, as ever
SET LOCAL ROLE regress_es_writer;
CREATE FUNCTION pg_temp.append_for_all() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = sales AS
$$ SELECT first_version FROM event_store.append_event('order-1', 'A') $$;
RESET ROLE;
SELECT is(pg_temp.state_as('regress_es_nobody', 'SELECT pg_temp.append_for_all()'), '00000', 'a SECURITY DEFINER function appends as its owner');
REVOKE INSERT ON sales.event_log FROM regress_es_writer;
SELECT is(pg_temp.state_as('regress_es_super', 'SELECT pg_temp.append_for_all()'), '42501', 'and no longer when the owner may not');

SELECT * FROM finish();
ROLLBACK;
