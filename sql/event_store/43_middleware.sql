/* middleware: registered functions that every command passes on its way */

CREATE TABLE event_store.middleware_registry (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	stage pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	ordinal pg_catalog.int4 NOT NULL,
	function pg_catalog.text NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT middleware_registry_pkey PRIMARY KEY (name, stage)
);
COMMENT ON TABLE event_store.middleware_registry
IS 'the registered middleware; functions are written as schema.name(argument types)';
SELECT pg_catalog.pg_extension_config_dump('event_store.middleware_registry', '');
REVOKE ALL ON TABLE event_store.middleware_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.middleware_registry TO PUBLIC;

CREATE FUNCTION event_store.register_middleware(name text, stage text, function text, ordinal integer DEFAULT 0,
	replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_middleware'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_middleware(text, text, text, integer, boolean)
IS 'registers a function that every dispatched command passes before_dispatch, after_dispatch or after_failure';

CREATE FUNCTION event_store.unregister_middleware(name text, stage text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_middleware'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_middleware(text, text)
IS 'forgets a middleware, in one stage or in all; its functions stay';

CREATE FUNCTION event_store.assign(pipeline jsonb, key text, value jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_assign'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.assign(jsonb, text, jsonb)
IS 'for middleware: notes something for later functions of the same command';

CREATE FUNCTION event_store.assign_metadata(pipeline jsonb, key text, value jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_assign_metadata'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.assign_metadata(jsonb, text, jsonb)
IS 'for middleware: a member for the metadata of all events of the command';

CREATE FUNCTION event_store.respond(pipeline jsonb, response jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_respond'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.respond(jsonb, jsonb)
IS 'for middleware: a response to the caller, unless an earlier function has given one';

CREATE FUNCTION event_store.halt(pipeline jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_halt'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.halt(jsonb)
IS 'for middleware: the command ends here, with VE014';

REVOKE ALL ON FUNCTION
	event_store.register_middleware(text, text, text, integer, boolean),
	event_store.unregister_middleware(text, text),
	event_store.assign(jsonb, text, jsonb),
	event_store.assign_metadata(jsonb, text, jsonb),
	event_store.respond(jsonb, jsonb),
	event_store.halt(jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_middleware(text, text, text, integer, boolean),
	event_store.unregister_middleware(text, text),
	event_store.assign(jsonb, text, jsonb),
	event_store.assign_metadata(jsonb, text, jsonb),
	event_store.respond(jsonb, jsonb),
	event_store.halt(jsonb)
TO PUBLIC;
