/* commands: registered handlers that decide, from the state of an aggregate, which events happen */

CREATE TABLE event_store.command_registry (
	type pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	aggregate pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	handlers pg_catalog._text NOT NULL,
	identity pg_catalog.text NOT NULL,
	identity_function pg_catalog.text,
	before pg_catalog.text,
	timeout pg_catalog.interval,
	schema pg_catalog.jsonb,
	owner pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT command_registry_pkey PRIMARY KEY (type)
);
COMMENT ON TABLE event_store.command_registry
IS 'the registered commands; functions are written as schema.name(argument types)';
SELECT pg_catalog.pg_extension_config_dump('event_store.command_registry', '');
REVOKE ALL ON TABLE event_store.command_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.command_registry TO PUBLIC;

CREATE FUNCTION event_store.register_command(type text, aggregate text, handler text, identity text DEFAULT 'id',
	identity_function text DEFAULT NULL, before text DEFAULT NULL, steps text[] DEFAULT NULL,
	timeout interval DEFAULT NULL, schema jsonb DEFAULT NULL, replace boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_command'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_command(text, text, text, text, text, text, text[], interval, jsonb, boolean)
IS 'registers the function that decides which events a command makes happen, for dispatch';

CREATE FUNCTION event_store.unregister_command(type text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_command'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_command(text)
IS 'forgets a command; its functions stay';

CREATE TYPE event_store.execution_result AS (
	aggregate text,
	id text,
	version bigint,
	events bigint,
	first_position bigint,
	last_position bigint,
	state jsonb,
	command_id uuid,
	correlation_id uuid,
	repeated boolean,
	response jsonb
);
COMMENT ON TYPE event_store.execution_result IS 'what a command has done';

CREATE FUNCTION event_store.dispatch(type text, command jsonb, command_id uuid DEFAULT NULL,
	correlation_id uuid DEFAULT NULL, causation_id uuid DEFAULT NULL, metadata jsonb DEFAULT NULL,
	expected event_store.expected_version DEFAULT 'any', timeout interval DEFAULT NULL, retry_attempts integer DEFAULT 10,
	returning_state boolean DEFAULT false, consistency text DEFAULT 'eventual')
RETURNS event_store.execution_result
AS 'MODULE_PATHNAME', 'event_store_dispatch'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION event_store.dispatch(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, interval, integer, boolean, text)
IS 'executes a command: rehydrates its aggregate, asks the handler, appends the events it returns, all in this transaction';

CREATE FUNCTION event_store.reject(reason text, detail text DEFAULT NULL, ext jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_reject'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.reject(text, text, jsonb)
IS 'for command handlers: refuses the command with VE012';

CREATE FUNCTION event_store.forget_commands(older_than interval DEFAULT '7 days')
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_forget_commands'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.forget_commands(interval)
IS 'forgets the ids of commands that were dispatched longer ago; returns their number';

REVOKE ALL ON FUNCTION
	event_store.register_command(text, text, text, text, text, text, text[], interval, jsonb, boolean),
	event_store.unregister_command(text),
	event_store.dispatch(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, interval, integer, boolean, text),
	event_store.reject(text, text, jsonb),
	event_store.forget_commands(interval)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.register_command(text, text, text, text, text, text, text[], interval, jsonb, boolean),
	event_store.unregister_command(text),
	event_store.dispatch(text, jsonb, uuid, uuid, uuid, jsonb, event_store.expected_version, interval, integer, boolean, text),
	event_store.reject(text, text, jsonb),
	event_store.forget_commands(interval)
TO PUBLIC;
