/* aggregates: registered functions that turn the events of a stream into a state */

CREATE TABLE event_store.aggregate_registry (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	prefix pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	apply pg_catalog.text,
	initial pg_catalog.text,
	unknown_events pg_catalog.text NOT NULL,
	snapshot_every pg_catalog.int4 NOT NULL,
	snapshot_version pg_catalog.int4 NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT aggregate_registry_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE event_store.aggregate_registry
IS 'the registered aggregates; apply is a function for all event types, as schema.name(argument types)';
SELECT pg_catalog.pg_extension_config_dump('event_store.aggregate_registry', '');
REVOKE ALL ON TABLE event_store.aggregate_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.aggregate_registry TO PUBLIC;

CREATE TABLE event_store.aggregate_apply (
	aggregate pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	event_type pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	apply pg_catalog.text NOT NULL,
	CONSTRAINT aggregate_apply_pkey PRIMARY KEY (aggregate, event_type)
);
COMMENT ON TABLE event_store.aggregate_apply
IS 'apply functions of aggregates for single event types';
SELECT pg_catalog.pg_extension_config_dump('event_store.aggregate_apply', '');
REVOKE ALL ON TABLE event_store.aggregate_apply FROM PUBLIC;
GRANT SELECT ON TABLE event_store.aggregate_apply TO PUBLIC;

CREATE FUNCTION event_store.register_aggregate(name text, apply text DEFAULT NULL, initial text DEFAULT NULL,
	prefix text DEFAULT NULL, apply_by_type jsonb DEFAULT NULL, unknown_events text DEFAULT 'error',
	snapshot_every integer DEFAULT 0, snapshot_version integer DEFAULT 1, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_aggregate'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_aggregate(text, text, text, text, jsonb, text, integer, integer, boolean)
IS 'registers the functions that turn the events of a stream into a state, for rehydrate';

CREATE FUNCTION event_store.unregister_aggregate(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_aggregate'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_aggregate(text)
IS 'forgets an aggregate; its events and functions stay';

CREATE FUNCTION event_store.rehydrate(aggregate text, id text, as_of_version bigint DEFAULT NULL,
	as_of_position bigint DEFAULT NULL, as_of_time timestamptz DEFAULT NULL,
	OUT version bigint, OUT state jsonb)
RETURNS record
AS 'MODULE_PATHNAME', 'event_store_rehydrate'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION event_store.rehydrate(text, text, bigint, bigint, timestamptz)
IS 'the state of an aggregate now, or as of a version, a position or a time, with its version';

CREATE FUNCTION event_store.rehydrate_as(state anyelement, aggregate text, id text, as_of_version bigint DEFAULT NULL,
	as_of_position bigint DEFAULT NULL, as_of_time timestamptz DEFAULT NULL)
RETURNS anyelement
AS 'MODULE_PATHNAME', 'event_store_rehydrate_as'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION event_store.rehydrate_as(anyelement, text, text, bigint, bigint, timestamptz)
IS 'rehydrate in the type of the state, which the first argument names: null::type';

CREATE FUNCTION event_store.aggregates(aggregate text, ids text[],
	OUT id text, OUT version bigint, OUT state jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_aggregates'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 100;
COMMENT ON FUNCTION event_store.aggregates(text, text[])
IS 'the states of many aggregates of one kind';

CREATE FUNCTION event_store.list_aggregates(aggregate text, after text DEFAULT NULL, max_count bigint DEFAULT 1000,
	up_to text DEFAULT NULL, OUT id text, OUT version bigint, OUT state jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_list_aggregates'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 1000;
COMMENT ON FUNCTION event_store.list_aggregates(text, text, bigint, text)
IS 'the states of all aggregates of one kind, page by page in the order of their ids';

CREATE FUNCTION event_store.aggregate_state(aggregate text, id text, as_of_version bigint DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_aggregate_state'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION event_store.aggregate_state(text, text, bigint)
IS 'the state of an aggregate, now or as of a version, without its version';

CREATE FUNCTION event_store.take_snapshot(aggregate text, id text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_take_snapshot'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION event_store.take_snapshot(text, text)
IS 'keeps the state of an aggregate so that rehydrate reads only later events; returns its version';

REVOKE ALL ON FUNCTION
	event_store.register_aggregate(text, text, text, text, jsonb, text, integer, integer, boolean),
	event_store.unregister_aggregate(text),
	event_store.rehydrate(text, text, bigint, bigint, timestamptz),
	event_store.rehydrate_as(anyelement, text, text, bigint, bigint, timestamptz),
	event_store.aggregates(text, text[]),
	event_store.list_aggregates(text, text, bigint, text),
	event_store.aggregate_state(text, text, bigint),
	event_store.take_snapshot(text, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_aggregate(text, text, text, text, jsonb, text, integer, integer, boolean),
	event_store.unregister_aggregate(text),
	event_store.rehydrate(text, text, bigint, bigint, timestamptz),
	event_store.rehydrate_as(anyelement, text, text, bigint, bigint, timestamptz),
	event_store.aggregates(text, text[]),
	event_store.list_aggregates(text, text, bigint, text),
	event_store.aggregate_state(text, text, bigint),
	event_store.take_snapshot(text, text)
TO PUBLIC;
