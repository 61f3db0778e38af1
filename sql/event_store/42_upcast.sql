/* upcast: registered functions through which events of old forms are read */

CREATE TABLE event_store.upcaster_registry (
	event_type pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	from_version pg_catalog.int4 NOT NULL,
	function pg_catalog.text NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT upcaster_registry_pkey PRIMARY KEY (event_type, from_version)
);
COMMENT ON TABLE event_store.upcaster_registry
IS 'the registered upcasters; functions are written as schema.name(argument types)';
SELECT pg_catalog.pg_extension_config_dump('event_store.upcaster_registry', '');
REVOKE ALL ON TABLE event_store.upcaster_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.upcaster_registry TO PUBLIC;

CREATE FUNCTION event_store.register_upcaster(event_type text, function text, from_version integer DEFAULT 1,
	replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_upcaster'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_upcaster(text, text, integer, boolean)
IS 'registers a function through which events of a type and schema version are read, in the form of the next version or as another type';

CREATE FUNCTION event_store.unregister_upcaster(event_type text, from_version integer DEFAULT 1)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_upcaster'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_upcaster(text, integer)
IS 'forgets an upcaster; its function stays';

CREATE FUNCTION event_store.unknown_event_types(OUT aggregate text, OUT event_type text, OUT events bigint,
	OUT first_position bigint, OUT ignored boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_unknown_event_types'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION event_store.unknown_event_types()
IS 'types of events in the streams of aggregates that these have no apply function for, as upcast; reads the whole log';

REVOKE ALL ON FUNCTION
	event_store.register_upcaster(text, text, integer, boolean),
	event_store.unregister_upcaster(text, integer),
	event_store.unknown_event_types()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_upcaster(text, text, integer, boolean),
	event_store.unregister_upcaster(text, integer),
	event_store.unknown_event_types()
TO PUBLIC;
