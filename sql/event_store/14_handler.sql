/* telemetry handlers */

CREATE TABLE event_store.telemetry_attachments (
	number pg_catalog.int8 NOT NULL,
	id pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	events pg_catalog.text[] NOT NULL,
	fn pg_catalog.text NOT NULL,
	config pg_catalog.jsonb NOT NULL,
	attached_by pg_catalog.regrole NOT NULL,
	attached_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT telemetry_attachments_pkey PRIMARY KEY (number),
	CONSTRAINT telemetry_attachments_id_key UNIQUE (id)
);
COMMENT ON TABLE event_store.telemetry_attachments
IS 'the functions attached to telemetry events in this database; see the view telemetry_handlers';
SELECT pg_catalog.pg_extension_config_dump('event_store.telemetry_attachments', '');
REVOKE ALL ON TABLE event_store.telemetry_attachments FROM PUBLIC;

CREATE FUNCTION event_store.telemetry_attach(id text, events text[], fn regprocedure, config jsonb DEFAULT 'null')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_attach'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_attach(text, text[], regprocedure, jsonb)
IS 'lets a function run whenever one of the events is executed, as the role that attaches it';

CREATE FUNCTION event_store.telemetry_detach(id text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_detach'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_detach(text)
IS 'takes a handler off its events';

CREATE FUNCTION event_store.telemetry_detached(OUT number bigint, OUT detached_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_telemetry_detached'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.telemetry_detached()
IS 'for the view telemetry_handlers: the handlers that have failed';

CREATE VIEW event_store.telemetry_handlers AS
SELECT a.id, a.events, a.fn, a.config, a.attached_by, a.attached_at, d.detached_at AS failed_at
FROM event_store.telemetry_attachments a
LEFT JOIN event_store.telemetry_detached() d
	ON d.number OPERATOR(pg_catalog.=) a.number;
COMMENT ON VIEW event_store.telemetry_handlers
IS 'the telemetry handlers of this database; failed_at is set if one is detached because it failed';

REVOKE ALL ON TABLE event_store.telemetry_handlers FROM PUBLIC;
GRANT SELECT ON TABLE event_store.telemetry_handlers TO pg_monitor;
REVOKE ALL ON FUNCTION
	event_store.telemetry_attach(text, text[], regprocedure, jsonb),
	event_store.telemetry_detach(text),
	event_store.telemetry_detached()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.telemetry_detached() TO pg_monitor;
