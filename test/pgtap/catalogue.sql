-- What CREATE EXTENSION puts into the catalogues, exactly, and what may be there before it and after DROP EXTENSION.
\ir lib/problem.sql
BEGIN;
SELECT no_plan();

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid, i.type, i.identity
FROM pg_depend d
JOIN pg_extension e ON e.oid = d.refobjid
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'event_store'
	-- from 17 on types that come with others, of arrays and of the rows of a table, are members too
	AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c')));

SELECT results_eq(
	$$SELECT type, count(*)::int FROM members WHERE type NOT IN ('function', 'procedure') GROUP BY type ORDER BY type$$,
	$$VALUES ('cast', 4), ('table', 28), ('type', 6), ('view', 24)$$,
	'the extension has these objects besides its functions');
SELECT is_empty(
	$$SELECT type, identity FROM members WHERE coalesce(obj_description(objid, classid::regclass::name), '') = ''$$,
	'every object has a comment');
SELECT is_empty(
	$$SELECT identity FROM members WHERE type IN ('function', 'procedure', 'table', 'type', 'view') AND identity NOT LIKE 'event\_store.%'$$,
	'everything is in the schema event_store');

-- volatility, parallel safety, strictness and whether PUBLIC may execute it: what is not written here may not be
CREATE TEMP VIEW functions AS
SELECT p.*
FROM members m
JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;

SELECT results_eq(
	$$SELECT oid::regprocedure::text, provolatile::text, proparallel::text, proisstrict, has_function_privilege('public', oid, 'execute')
	FROM functions ORDER BY oid::regprocedure::text COLLATE "C"$$,
	$$VALUES
	('event_store."fetch"(text,text,bigint,interval)', 'v', 'u', false, true),
	('event_store.ack(text,text,bigint[])', 'v', 'u', false, true),
	('event_store.ack_to(text,text,bigint)', 'v', 'u', false, true),
	('event_store.add_index(text,boolean)', 'v', 'u', false, true),
	('event_store.add_tenant_domain(text,text,boolean)', 'v', 'u', false, true),
	('event_store.aggregate_state(text,text,bigint)', 's', 'r', false, true),
	('event_store.aggregates(text,text[])', 's', 'r', false, true),
	('event_store.alter_subscription(text,integer,interval,interval,integer,integer,integer,boolean)', 'v', 'u', false, true),
	('event_store.append(text,event_store.new_event[],event_store.expected_version,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append(text,event_store.new_event_bytes[],event_store.expected_version,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append(text,jsonb,event_store.expected_version,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append(text,text,event_store.expected_version,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append_bytes(text,text,bytea,jsonb,event_store.expected_version,uuid,uuid,uuid,timestamp with time zone,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append_event(text,text,jsonb,jsonb,event_store.expected_version,uuid,uuid,uuid,timestamp with time zone,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append_event(text,text,text,text,event_store.expected_version,uuid,uuid,uuid,timestamp with time zone,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append_many(jsonb,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.append_many(text,jsonb,bigint)', 'v', 'u', false, true),
	('event_store.assert_command(text,jsonb,text,jsonb,jsonb,text,text)', 'v', 'u', false, true),
	('event_store.assert_correlated(text,text,jsonb,jsonb,bigint,text)', 'v', 'u', false, true),
	('event_store.assert_event(text,jsonb,text,bigint,text)', 'v', 'u', false, true),
	('event_store.assign(jsonb,text,jsonb)', 'i', 's', false, true),
	('event_store.assign_metadata(jsonb,text,jsonb)', 'i', 's', false, true),
	('event_store.attach_found_stores()', 'v', 'u', true, false),
	('event_store.attach_store(text)', 'v', 'u', true, true),
	('event_store.attach_tenant(text,text,jsonb)', 'v', 'u', false, true),
	('event_store.baseline_tenant(text,bigint)', 'v', 'u', false, true),
	('event_store.built_in_problem_types()', 's', 's', true, true),
	('event_store.causation_tree(uuid,bigint)', 'v', 'u', false, true),
	('event_store.check_schema()', 'v', 'u', true, false),
	('event_store.child_status()', 'v', 'r', true, true),
	('event_store.clear_tenant_limit(text,text)', 'v', 'u', false, true),
	('event_store.clone_tenant(text,text,boolean,boolean,jsonb)', 'v', 'u', false, true),
	('event_store.create_store(text,boolean,text)', 'v', 'u', true, true),
	('event_store.create_subscription(text,text,text,text[],jsonpath,text,text,integer,interval,interval,integer,integer,integer,boolean,boolean)', 'v', 'u', false, true),
	('event_store.create_tenant(text,jsonb,text,boolean,text)', 'v', 'u', false, true),
	('event_store.current_store()', 's', 's', true, true),
	('event_store.current_tenant()', 's', 'r', true, true),
	('event_store.delete_stream(text,event_store.expected_version,boolean)', 'v', 'u', true, true),
	('event_store.delete_subscription(text)', 'v', 'u', false, true),
	('event_store.disable_tags()', 'v', 'u', false, true),
	('event_store.discard_parked(text,bigint[])', 'v', 'u', false, true),
	('event_store.dispatch(text,jsonb,uuid,uuid,uuid,jsonb,event_store.expected_version,interval,integer,boolean,text)', 'v', 'u', false, true),
	('event_store.dispatch_and_wait(text,jsonb,uuid,uuid,uuid,jsonb,event_store.expected_version,text[],interval,event_store.execution_result)', 'v', 'u', false, true),
	('event_store.drop_index(text,boolean)', 'v', 'u', false, true),
	('event_store.drop_store(text,text)', 'v', 'u', true, true),
	('event_store.drop_tenant(text,text,interval)', 'v', 'u', false, true),
	('event_store.durable_mark()', 's', 'r', true, true),
	('event_store.each_tenant(text,integer)', 'v', 'u', false, true),
	('event_store.enable_tags()', 'v', 'u', false, true),
	('event_store.event(uuid)', 's', 'r', true, true),
	('event_store.expected_version(bigint)', 'i', 's', true, true),
	('event_store.expected_version(integer)', 'i', 's', true, true),
	('event_store.expected_version(smallint)', 'i', 's', true, true),
	('event_store.expected_version(text)', 'i', 's', true, true),
	('event_store.expected_version_in(cstring)', 'i', 's', true, true),
	('event_store.expected_version_out(event_store.expected_version)', 'i', 's', true, true),
	('event_store.expected_version_recv(internal)', 'i', 's', true, true),
	('event_store.expected_version_send(event_store.expected_version)', 'i', 's', true, true),
	('event_store.export_tenant(text,bigint)', 'v', 'u', false, true),
	('event_store.extend(text,text,interval,bigint[])', 'v', 'u', false, true),
	('event_store.fill_tenant_pool(integer,text,boolean)', 'v', 'u', false, true),
	('event_store.forget_commands(interval)', 'v', 'u', false, true),
	('event_store.forget_import(text)', 'v', 'u', true, true),
	('event_store.grant_store(text,text,text)', 'v', 'u', true, true),
	('event_store.grant_tenant(text,text,text)', 'v', 'u', false, true),
	('event_store.guard_counts()', 'v', 'r', true, false),
	('event_store.guard_store_table()', 'v', 'u', false, true),
	('event_store.halt(jsonb)', 'i', 's', false, true),
	('event_store.handler_delete(text)', 'v', 'u', true, true),
	('event_store.handler_parked_events(oid,text)', 'v', 'u', true, true),
	('event_store.handler_pause(text)', 'v', 'u', true, true),
	('event_store.handler_replay(text,bigint)', 'v', 'u', false, true),
	('event_store.handler_reset(text,text)', 'v', 'u', false, true),
	('event_store.handler_resume(text)', 'v', 'u', true, true),
	('event_store.handler_retry(text)', 'v', 'u', true, true),
	('event_store.handler_run(text,bigint)', 'v', 'u', false, true),
	('event_store.handler_skip(text,bigint)', 'v', 'u', false, true),
	('event_store.handler_states(oid,text)', 'v', 'u', true, true),
	('event_store.head()', 'v', 'u', true, true),
	('event_store.histogram_quantiles(text,jsonb,double precision[])', 'v', 'r', false, false),
	('event_store.horizon()', 'v', 'r', true, true),
	('event_store.import_events(regclass,text,integer,bigint)', 'v', 'u', false, true),
	('event_store.import_tenant(text,regclass)', 'v', 'u', false, true),
	('event_store.in_flight()', 'v', 'r', true, false),
	('event_store.is_rebuilding()', 's', 'r', false, true),
	('event_store.is_valid(jsonb,jsonb)', 'i', 's', true, true),
	('event_store.keep_store_tidy(boolean)', 'v', 'u', false, true),
	('event_store.keep_tenant_pool(integer,text,boolean)', 'v', 'u', false, true),
	('event_store.keys_of(text,integer)', 'v', 'r', false, true),
	('event_store.last_problem()', 'v', 'r', true, true),
	('event_store.link_event(text,uuid,event_store.expected_version)', 'v', 'u', false, true),
	('event_store.list_aggregates(text,text,bigint,text)', 's', 'r', false, true),
	('event_store.lookup(text,text)', 'v', 'r', false, true),
	('event_store.metric_counter(text,text,text[],text,text,text,text)', 'v', 'u', false, false),
	('event_store.metric_distribution(text,text,text,text[],text,text,text,text,text,text,double precision[])', 'v', 'u', false, false),
	('event_store.metric_drop(text)', 'v', 'u', true, false),
	('event_store.metric_last_value(text,text,text,text[],text,text,text,text,text,text)', 'v', 'u', false, false),
	('event_store.metric_samples()', 'v', 'r', true, false),
	('event_store.metric_sum(text,text,text,text[],text,text,text,text,text,text,text)', 'v', 'u', false, false),
	('event_store.metric_summary(text,text,text,text[],text,text,text,text,text,text)', 'v', 'u', false, false),
	('event_store.migrate_tenant(text,bigint)', 'v', 'u', false, true),
	('event_store.migrate_tenants(bigint)', 'v', 'u', false, true),
	('event_store.nack(text,text,bigint[],text,text,interval)', 'v', 'u', false, true),
	('event_store.next_run(text,timestamp with time zone,text)', 's', 's', false, true),
	('event_store.openmetrics()', 'v', 'r', true, false),
	('event_store.parked_events(text,bigint)', 'v', 'u', false, true),
	('event_store.partition_create(text,integer)', 'v', 'u', false, true),
	('event_store.partition_drop(text)', 'v', 'u', false, true),
	('event_store.partition_for(text,bigint)', 's', 'r', false, true),
	('event_store.partition_for(text,text)', 's', 'r', false, true),
	('event_store.partition_resize(text,integer)', 'v', 'u', false, true),
	('event_store.pause_rollout(bigint)', 'v', 'u', false, true),
	('event_store.poll(bigint,bigint,interval,text[],text[])', 'v', 'u', false, true),
	('event_store.poll_as(anyelement,bigint,bigint,interval,text[],text[])', 'v', 'u', false, true),
	('event_store.pooler_check(text)', 'v', 'r', false, true),
	('event_store.position_at(timestamp with time zone)', 'v', 'u', true, true),
	('event_store.problem(text,double precision,text,text,text,jsonb)', 's', 's', false, true),
	('event_store.problem_from_error(text,text,text,text,text,text,text,text,text)', 's', 'u', false, true),
	('event_store.problem_headers(jsonb,text)', 's', 's', true, true),
	('event_store.problem_log()', 'v', 'r', true, false),
	('event_store.problem_pgrst(jsonb,text)', 'v', 'r', true, true),
	('event_store.projection_build(text,bigint)', 'v', 'u', false, true),
	('event_store.projection_cancel(text)', 'v', 'u', true, true),
	('event_store.projection_read(text,text)', 'v', 'u', true, true),
	('event_store.projection_rebuild(text,boolean)', 'v', 'u', false, true),
	('event_store.projection_states(oid,text)', 'v', 'u', true, true),
	('event_store.prometheus()', 'v', 'r', true, false),
	('event_store.purge_tenants(text,integer,bigint,bigint)', 'v', 'u', false, true),
	('event_store.raise_problem(jsonb,text)', 'v', 'r', false, true),
	('event_store.read_all(bigint,bigint,text[],text[],text)', 'v', 'u', false, true),
	('event_store.read_all_as(anyelement,bigint,bigint,text[],text[],text)', 'v', 'u', false, true),
	('event_store.read_by_correlation(uuid,bigint,bigint,text)', 'v', 'u', false, true),
	('event_store.read_by_query(jsonb,bigint,bigint)', 'v', 'u', false, true),
	('event_store.read_by_type(text[],bigint,bigint,text)', 'v', 'u', false, true),
	('event_store.read_category(text,bigint,bigint,text[],text)', 'v', 'u', false, true),
	('event_store.read_each_type(text[],bigint,text)', 'v', 'u', false, true),
	('event_store.read_stream(text,bigint,bigint,text,boolean)', 's', 'r', false, true),
	('event_store.read_stream_as(anyelement,text,bigint,bigint,text,boolean)', 's', 'r', false, true),
	('event_store.receive(interval)', 'v', 'u', false, true),
	('event_store.refute_event(text,jsonb,text,bigint,text)', 'v', 'u', false, true),
	('event_store.register(text,text,jsonb,text)', 'v', 'u', false, true),
	('event_store.register_aggregate(text,text,text,text,jsonb,text,integer,integer,boolean)', 'v', 'u', false, true),
	('event_store.register_command(text,text,text,text,text,text,text[],interval,jsonb,boolean)', 'v', 'u', false, true),
	('event_store.register_handler(text,text,text,text,text,text,text[],jsonpath,text,integer,text,integer,interval,text,integer,interval,text,text,text[],text,boolean,boolean)', 'v', 'u', false, true),
	('event_store.register_middleware(text,text,text,integer,boolean)', 'v', 'u', false, true),
	('event_store.register_migration(bigint,text,text,text,text)', 'v', 'u', false, true),
	('event_store.register_problem_type(text,text,integer,text,interval,text,jsonb)', 'v', 'u', false, false),
	('event_store.register_process_manager(text,text,text,text,jsonb,text,text,interval,interval,text,text,text,text[],jsonpath,text,integer,interval,text,text,boolean,boolean)', 'v', 'u', false, true),
	('event_store.register_projection(text,text[],text,text,text,text,text,text[],jsonpath,text,integer,text,integer,interval,text,integer,interval,text,text,text,boolean,boolean)', 'v', 'u', false, true),
	('event_store.register_upcaster(text,text,integer,boolean)', 'v', 'u', false, true),
	('event_store.registry_count(text,text)', 'v', 'r', false, true),
	('event_store.registry_create(text,text)', 'v', 'u', false, true),
	('event_store.registry_dispatch(text,text,jsonb,regprocedure)', 'v', 'u', false, true),
	('event_store.registry_drop(text)', 'v', 'u', false, true),
	('event_store.registry_listen(text)', 'v', 'u', false, true),
	('event_store.registry_lock(text,text)', 'v', 'u', false, true),
	('event_store.registry_meta(text,text)', 's', 'r', false, true),
	('event_store.registry_put_meta(text,text,jsonb)', 'v', 'u', false, true),
	('event_store.registry_select(text,text,jsonpath)', 'v', 'r', false, true),
	('event_store.registry_send(text,text,jsonb)', 'v', 'u', false, true),
	('event_store.rehydrate(text,text,bigint,bigint,timestamp with time zone)', 's', 'r', false, true),
	('event_store.rehydrate_as(anyelement,text,text,bigint,bigint,timestamp with time zone)', 's', 'r', false, true),
	('event_store.reject(text,text,jsonb)', 'v', 'r', false, true),
	('event_store.release(text,text)', 'v', 'u', false, true),
	('event_store.remove_tenant_domain(text)', 'v', 'u', false, true),
	('event_store.rename_tenant(text,text)', 'v', 'u', false, true),
	('event_store.replay_parked(text,bigint[])', 'v', 'u', false, true),
	('event_store.require_tenant()', 's', 'r', true, true),
	('event_store.reset_subscription(text,text)', 'v', 'u', false, true),
	('event_store.respond(jsonb,jsonb)', 'i', 's', false, true),
	('event_store.restore_tenant(text)', 'v', 'u', false, true),
	('event_store.resume_rollout(bigint,boolean)', 'v', 'u', false, true),
	('event_store.resume_subscription(text)', 'v', 'u', false, true),
	('event_store.resume_task(text,text)', 'v', 'u', true, true),
	('event_store.resume_tenant(text)', 'v', 'u', false, true),
	('event_store.revert_tenant(text,bigint)', 'v', 'u', false, true),
	('event_store.revoke_store(text,text)', 'v', 'u', true, true),
	('event_store.revoke_tenant(text,text)', 'v', 'u', false, true),
	('event_store.run_rollout(bigint,text,bigint,bigint,bigint)', 'v', 'u', false, true),
	('event_store.scavenge_store(integer,interval,bigint,bigint,bigint)', 'v', 'u', false, true),
	('event_store.schedule(text,text,text,text,jsonb,text,text,boolean)', 'v', 'u', false, true),
	('event_store.session_get(text,boolean)', 'v', 'u', false, true),
	('event_store.session_merge(text,jsonb)', 'v', 'u', false, true),
	('event_store.session_put(text,jsonb)', 'v', 'u', false, true),
	('event_store.session_rows_seen()', 'v', 'r', true, true),
	('event_store.session_start(text,jsonb,interval,interval,regprocedure,boolean)', 'v', 'u', false, true),
	('event_store.session_stop(text)', 'v', 'u', false, true),
	('event_store.session_sweep(integer)', 'v', 'u', false, false),
	('event_store.session_touch(text)', 'v', 'u', false, true),
	('event_store.set_problem_title(text,text,text)', 'v', 'u', false, false),
	('event_store.set_stream_metadata(text,jsonb,interval,bigint)', 'v', 'u', false, true),
	('event_store.set_tenant_limit(text,text,bigint,bigint,text,interval)', 'v', 'u', false, true),
	('event_store.shared_pool()', 'v', 'r', true, false),
	('event_store.start_rollout(bigint,jsonb,integer,integer,interval)', 'v', 'u', false, true),
	('event_store.stop_subscription(text,text)', 'v', 'u', false, true),
	('event_store.store_number(oid)', 's', 'r', true, true),
	('event_store.stream_info(text)', 's', 'r', true, true),
	('event_store.stream_metadata(text)', 's', 'r', true, true),
	('event_store.stream_version(text)', 's', 'r', true, true),
	('event_store.streams(text,bigint,text,text,text)', 's', 'r', false, true),
	('event_store.subscription_status()', 'v', 'u', true, true),
	('event_store.supervisor_create(text,integer,integer,integer,regrole)', 'v', 'u', false, true),
	('event_store.supervisor_drop(text,interval)', 'v', 'u', false, true),
	('event_store.supervisor_restart(text)', 'v', 'u', false, true),
	('event_store.supervisor_start_child(text,regprocedure,jsonb,text,interval,text,boolean,interval)', 'v', 'u', false, true),
	('event_store.supervisor_stop(text,interval)', 'v', 'u', false, true),
	('event_store.supervisor_terminate_child(uuid)', 'v', 'u', false, true),
	('event_store.suspend_tenant(text,boolean,text)', 'v', 'u', false, true),
	('event_store.take_snapshot(text,text)', 'v', 'u', true, true),
	('event_store.task_backoff(integer,double precision)', 'i', 's', true, false),
	('event_store.task_status(bigint)', 'v', 'r', true, true),
	('event_store.telemetry_attach(text,text[],regprocedure,jsonb)', 'v', 'u', true, false),
	('event_store.telemetry_detach(text)', 'v', 'u', true, false),
	('event_store.telemetry_detached()', 'v', 'r', true, false),
	('event_store.telemetry_execute(text,jsonb,jsonb)', 'v', 'u', false, true),
	('event_store.telemetry_info()', 'v', 'r', true, false),
	('event_store.telemetry_poll(text,text,interval,boolean)', 'v', 'u', true, false),
	('event_store.telemetry_reset(text)', 'v', 'r', false, false),
	('event_store.telemetry_span(text,text,jsonb)', 'v', 'u', false, true),
	('event_store.telemetry_top(text,integer)', 'v', 'r', false, false),
	('event_store.telemetry_unpoll(text)', 'v', 'u', true, false),
	('event_store.telemetry_verify()', 'v', 'u', true, true),
	('event_store.tenant_checksums(text,bigint)', 'v', 'u', false, true),
	('event_store.tenant_differences(text,text)', 'v', 'u', false, true),
	('event_store.tenant_for_host(text)', 's', 'r', true, true),
	('event_store.tenant_residue(text)', 's', 'u', false, true),
	('event_store.tenant_schema(text)', 's', 'r', true, true),
	('event_store.tenant_usage(text)', 'v', 'u', false, true),
	('event_store.tenant_use(text)', 'v', 'u', false, true),
	('event_store.tenant_use_session(text)', 'v', 'u', false, true),
	('event_store.token(bigint)', 'v', 'u', true, true),
	('event_store.token_position(text)', 'v', 'u', true, true),
	('event_store.truncate_stream(text,bigint)', 'v', 'u', true, true),
	('event_store.try(text)', 'v', 'u', false, true),
	('event_store.try(text,"any")', 'v', 'u', false, true),
	('event_store.unknown_event_types()', 's', 'r', false, true),
	('event_store.unregister(text,text)', 'v', 'u', false, true),
	('event_store.unregister_aggregate(text)', 'v', 'u', true, true),
	('event_store.unregister_command(text)', 'v', 'u', true, true),
	('event_store.unregister_match(text,text,jsonpath)', 'v', 'u', false, true),
	('event_store.unregister_middleware(text,text)', 'v', 'u', false, true),
	('event_store.unregister_migration(bigint)', 'v', 'u', false, true),
	('event_store.unregister_problem_type(text)', 'v', 'u', true, false),
	('event_store.unregister_upcaster(text,integer)', 'v', 'u', true, true),
	('event_store.unschedule(text)', 'v', 'u', true, true),
	('event_store.update_value(text,text,regprocedure)', 'v', 'u', false, true),
	('event_store.validate(jsonb,jsonb)', 'i', 's', true, true),
	('event_store.verify_store(text)', 'v', 'u', false, true),
	('event_store.wait_for(text,bigint,bigint,text[],interval)', 'v', 'u', false, true),
	('event_store.wait_for_event(text,jsonb,text,bigint,interval,text)', 'v', 'u', false, true),
	('event_store.whereis(text,text)', 'v', 'r', false, true),
	('event_store.with_tenant(text,text)', 'v', 'u', false, true),
	('event_store.with_tenant(text,text,"any")', 'v', 'u', false, true),
	('event_store.worker_status()', 'v', 'r', true, true)$$,
	'the functions are these, with these labels');
SELECT is_empty(
	$$SELECT oid::regprocedure FROM functions WHERE prosecdef OR proconfig IS NOT NULL OR proleakproof OR prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')$$,
	'each is in C, runs as its caller, and sets no search_path');
SELECT results_eq(
	$$SELECT oid::regprocedure::text FROM functions WHERE 'internal'::regtype = ANY (proargtypes) OR prorettype = 'internal'::regtype$$,
	$$VALUES ('event_store.expected_version_recv(internal)')$$,
	'none takes type internal but the input function that must');
SELECT results_eq(
	$$SELECT oid::regproc::text, grantee::regrole::text FROM functions, aclexplode(proacl) WHERE grantee NOT IN (0, proowner) ORDER BY 1$$,
	$$VALUES ('event_store.guard_counts', 'pg_monitor'), ('event_store.histogram_quantiles', 'pg_monitor'),
	('event_store.in_flight', 'pg_monitor'), ('event_store.metric_samples', 'pg_monitor'), ('event_store.openmetrics', 'pg_monitor'),
	('event_store.problem_log', 'pg_monitor'), ('event_store.prometheus', 'pg_monitor'), ('event_store.shared_pool', 'pg_monitor'),
	('event_store.telemetry_detached', 'pg_monitor'), ('event_store.telemetry_info', 'pg_monitor'),
	('event_store.telemetry_top', 'pg_monitor')$$,
	'only what watches is granted to a role');
SELECT is_empty(
	$$SELECT oid::regprocedure FROM functions WHERE proacl IS NULL$$,
	'no function has the rights of the default');
SELECT results_eq(
	$$SELECT m.identity, array_agg(grantee::regrole || ' ' || privilege_type ORDER BY 1)
	FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid, aclexplode(c.relacl)
	WHERE grantee <> relowner GROUP BY 1 ORDER BY 1$$,
	$$VALUES ('event_store.aggregate_apply', '{- SELECT}'::text[]), ('event_store.aggregate_registry', '{- SELECT}'),
	('event_store.command_registry', '{- SELECT}'), ('event_store.counters', '{pg_monitor SELECT}'),
	('event_store.handler_parked', '{- SELECT}'), ('event_store.handler_registry', '{- SELECT}'),
	('event_store.handlers', '{- SELECT}'), ('event_store.imports', '{- SELECT}'),
	('event_store.metric_definitions', '{pg_monitor SELECT}'), ('event_store.metrics', '{pg_monitor SELECT}'),
	('event_store.middleware_registry', '{- SELECT}'), ('event_store.partition_sets', '{- SELECT}'),
	('event_store.problem_title', '{- SELECT}'), ('event_store.problem_type', '{- SELECT}'),
	('event_store.projection_rebuilds', '{- SELECT}'), ('event_store.registered_problem_type', '{- SELECT}'),
	('event_store.registries', '{- SELECT}'), ('event_store.registry_definitions', '{- SELECT}'),
	('event_store.schedules', '{- SELECT}'), ('event_store.schema_definition', '{- SELECT}'), ('event_store.sessions', '{- SELECT}'),
	('event_store.store_registry', '{- SELECT}'), ('event_store.stores', '{- SELECT}'), ('event_store.subscriptions', '{- SELECT}'),
	('event_store.supervision_tree', '{- SELECT}'), ('event_store.supervisor_children', '{- SELECT}'),
	('event_store.supervisors', '{- SELECT}'), ('event_store.tasks', '{- SELECT}'),
	('event_store.telemetry_handlers', '{pg_monitor SELECT}'), ('event_store.upcaster_registry', '{- SELECT}'),
	('event_store.workers', '{- SELECT}')$$,
	'everybody may look at what is registered, pg_monitor at what is counted, nobody may write');
SELECT results_eq(
	$$SELECT grantee::regrole::text, privilege_type FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'event_store' AND grantee <> nspowner$$,
	$$VALUES ('-', 'USAGE')$$,
	'the schema can be used by everybody and added to by nobody');

-- dump and upgrade
SELECT results_eq(
	$$SELECT unnest(extconfig)::regclass::text, unnest(extcondition) COLLATE "default" FROM pg_extension WHERE extname = 'event_store' ORDER BY 1$$,
	$$VALUES ('event_store.aggregate_apply', ''), ('event_store.aggregate_registry', ''), ('event_store.command_registry', ''),
	('event_store.handler_registry', ''), ('event_store.import_progress', ''), ('event_store.metric_definitions', ''),
	('event_store.middleware_registry', ''), ('event_store.partition_sets', ''), ('event_store.problem_title', ''),
	('event_store.registered_problem_type', ''), ('event_store.registry_definitions', ''), ('event_store.rollout_registry', ''),
	('event_store.rollout_tenant', ''), ('event_store.schedule', ''), ('event_store.store_registry', ''),
	('event_store.supervisor_definitions', ''), ('event_store.task', ''), ('event_store.telemetry_attachments', ''),
	('event_store.tenant_domain', ''), ('event_store.tenant_limit', ''), ('event_store.tenant_migrated', ''),
	('event_store.tenant_migration', ''), ('event_store.tenant_pool', ''), ('event_store.tenant_pool_target', ''),
	('event_store.tenant_registry', ''), ('event_store.upcaster_registry', '')$$,
	'every table of the extension is dumped, whole, but that of failures of tasks and that of durable sessions');
SELECT results_eq(
	$$SELECT extrelocatable, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'event_store'$$,
	$$VALUES (false, 'event_store')$$,
	'the extension stays in its schema');

-- a store
CREATE ROLE regress_es_owner;
CREATE SCHEMA shop AUTHORIZATION regress_es_owner;
SET ROLE regress_es_owner;
SELECT event_store.create_store('shop');
RESET ROLE;
SET LOCAL search_path = shop, public;
DO $$ BEGIN PERFORM event_store.append_event('order-1', 'Placed'); END $$;
SELECT results_eq(
	$$SELECT relname::text COLLATE "default", relkind::text FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind <> 'i' ORDER BY 1$$,
	$$VALUES ('event_commands', 'r'), ('event_log', 'r'), ('event_mark', 'r'), ('event_position', 'S'), ('event_snapshots', 'r'), ('event_streams', 'r')$$,
	'a store has these relations');
SELECT is_empty(
	$$SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relowner <> 'regress_es_owner'::regrole$$,
	'they belong to who made the store');
SELECT is_empty(
	$$SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass
	WHERE c.relnamespace = 'shop'::regnamespace$$,
	'they are no members of the extension');
SELECT is_empty(
	$$SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relacl IS NOT NULL$$,
	'nobody has rights on them before they are granted');
SELECT is_empty(
	$$SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod)
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace IN ('shop'::regnamespace, 'event_store'::regnamespace) AND c.relkind IN ('r', 'p') AND attnum > 0
	AND atttypid IN ('regproc'::regtype, 'regprocedure'::regtype, 'regnamespace'::regtype, 'regoper'::regtype, 'regoperator'::regtype,
		'regconfig'::regtype, 'regdictionary'::regtype, 'regcollation'::regtype)$$,
	'no column of a type that pg_upgrade refuses');
SELECT is_empty(
	$$SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
	WHERE c.relnamespace = 'shop'::regnamespace AND t.typnamespace <> 'pg_catalog'::regnamespace$$,
	'the tables of a store hold built-in types only');
SELECT results_eq(
	$$SELECT t.tgrelid::regclass::text, t.tgname::text COLLATE "default", t.tgenabled::text, t.tgfoid::regproc::text, d.deptype::text, e.extname::text COLLATE "default"
	FROM pg_trigger t
	LEFT JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass
	LEFT JOIN pg_extension e ON e.oid = d.refobjid
	WHERE t.tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'shop'::regnamespace)
	ORDER BY 1, 2$$,
	$$VALUES
	('event_log', 'event_store_no_change', 'A', 'event_store.guard_store_table', 'x', 'event_store'),
	('event_log', 'event_store_no_insert', 'O', 'event_store.guard_store_table', 'x', 'event_store'),
	('event_log', 'event_store_no_truncate', 'A', 'event_store.guard_store_table', 'x', 'event_store'),
	('event_streams', 'event_store_no_change', 'A', 'event_store.guard_store_table', 'x', 'event_store'),
	('event_streams', 'event_store_no_insert', 'O', 'event_store.guard_store_table', 'x', 'event_store'),
	('event_streams', 'event_store_no_truncate', 'A', 'event_store.guard_store_table', 'x', 'event_store')$$,
	'the guards are there, and go with the extension');

-- DROP EXTENSION asks for no CASCADE, and leaves the store as tables
SELECT lives_ok('DROP EXTENSION event_store', 'the extension can be dropped without CASCADE while it has stores');
SELECT results_eq('SELECT version, event_type COLLATE "default" FROM shop.event_log', $$VALUES (1::bigint, 'Placed')$$, 'its events are left');
SELECT is_empty(
	$$SELECT tgname FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'shop'::regnamespace)$$,
	'the guards have gone');
SELECT is_empty(
	$$SELECT oid FROM pg_class WHERE relnamespace = 'event_store'::regnamespace
	UNION ALL SELECT oid FROM pg_proc WHERE pronamespace = 'event_store'::regnamespace
	UNION ALL SELECT oid FROM pg_type WHERE typnamespace = 'event_store'::regnamespace$$,
	'nothing of the extension is left');
SELECT lives_ok('CREATE EXTENSION event_store', 'the extension can be created again');
SELECT is(event_store.stream_version('order-1'), 1::bigint, 'and has found the store');
SELECT is(
	(SELECT count(*)::int FROM pg_trigger t JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'x'
	WHERE t.tgrelid IN ('shop.event_log'::regclass, 'shop.event_streams'::regclass)), 6,
	'with its guards');

-- reliability 55: what somebody else has made before must not become part of the extension, whatever it is
CREATE TEMP TABLE hostile (identity text, command text);
INSERT INTO hostile
SELECT oid::regprocedure::text, format('CREATE FUNCTION %s(%s) RETURNS %s LANGUAGE sql AS $f$SELECT NULL::%3$s$f$',
	oid::regproc, (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(proargtypes::oid[]) WITH ORDINALITY u(t, n)), 'text')
FROM functions
WHERE NOT EXISTS (SELECT FROM unnest(proargtypes::oid[]) t WHERE format_type(t, NULL) ~ 'event_store|internal|cstring|^"any"$');
INSERT INTO hostile
SELECT type || ' ' || identity, 'CREATE ' || CASE type WHEN 'type' THEN format('TYPE %s AS (x int)', identity) ELSE format('TABLE %s (x int)', identity) END
FROM members WHERE type IN ('type', 'table', 'view');
SELECT cmp_ok((SELECT count(*)::int FROM hostile), '>', 25, 'hostile objects are made up');
DROP EXTENSION event_store;
SELECT matches(pg_temp.state_as('none', concat_ws('; ', 'CREATE SCHEMA IF NOT EXISTS event_store', command, 'CREATE EXTENSION event_store')), '^42(723|P07|710|P06)$', 'refused: an object in the place of ' || identity)
FROM hostile;

CREATE ROLE regress_es_hostile;
SELECT isnt(pg_temp.state_as('none',
	'DROP SCHEMA IF EXISTS event_store; CREATE SCHEMA event_store AUTHORIZATION regress_es_hostile; CREATE EXTENSION event_store'),
	'00000', 'refused: a schema event_store of another role, who could put functions beside ours');
SELECT isnt(pg_temp.state_as('none', 'CREATE EXTENSION event_store SCHEMA public'), '00000', 'refused: another schema');
SELECT lives_ok('CREATE EXTENSION event_store', 'without them it can be created');

SELECT * FROM finish();
ROLLBACK;
