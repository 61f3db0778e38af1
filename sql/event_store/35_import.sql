/* import: events by the million from a table, in batches, and how far it has come */

CREATE TABLE event_store.import_progress (
	store_number pg_catalog.int8 NOT NULL,
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	source pg_catalog.text NOT NULL,
	last_line pg_catalog.int8 NOT NULL,
	last_hash pg_catalog.int8 NOT NULL,
	events pg_catalog.int8 NOT NULL,
	remaining pg_catalog.int8 NOT NULL,
	call_events pg_catalog.int8 NOT NULL,
	started_at pg_catalog.timestamptz NOT NULL,
	called_at pg_catalog.timestamptz NOT NULL,
	changed_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT import_progress_pkey PRIMARY KEY (store_number, name)
);
COMMENT ON TABLE event_store.import_progress
IS 'how far each import has come: last_line is the last line of its source that is in the store, last_hash tells what stood there';
SELECT pg_catalog.pg_extension_config_dump('event_store.import_progress', '');
REVOKE ALL ON TABLE event_store.import_progress FROM PUBLIC;

CREATE PROCEDURE event_store.import_events(source regclass, name text DEFAULT NULL, batch_size integer DEFAULT 10000,
	INOUT imported bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'event_store_import_events'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.import_events(regclass, text, integer, bigint)
IS 'appends the events in the lines of a table or view that are not in the current store yet, a transaction a batch; imported is their number';
REVOKE ALL ON PROCEDURE event_store.import_events(regclass, text, integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.import_events(regclass, text, integer, bigint) TO PUBLIC;

CREATE FUNCTION event_store.forget_import(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_forget_import'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.forget_import(text)
IS 'forgets how far an import into the current store has come, so that it would begin anew; false if there is no such import';
REVOKE ALL ON FUNCTION event_store.forget_import(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.forget_import(text) TO PUBLIC;

CREATE VIEW event_store.imports AS
SELECT n.nspname::pg_catalog.text AS schema,
	p.name,
	p.source,
	p.last_line,
	p.events,
	p.remaining,
	pg_catalog.round(p.call_events OPERATOR(pg_catalog./) NULLIF(
		pg_catalog.date_part('epoch', p.changed_at OPERATOR(pg_catalog.-) p.called_at), 0))::pg_catalog.int8
		AS events_per_second,
	p.started_at,
	p.changed_at
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN event_store.import_progress p
	ON p.store_number OPERATOR(pg_catalog.=) event_store.store_number(n.oid)
WHERE c.relname OPERATOR(pg_catalog.=) 'event_log'
	AND pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT');
COMMENT ON VIEW event_store.imports
IS 'the imports into the stores that the caller may read or append to: how far each has come, and how fast its last call is or was';
REVOKE ALL ON TABLE event_store.imports FROM PUBLIC;
GRANT SELECT ON TABLE event_store.imports TO PUBLIC;
