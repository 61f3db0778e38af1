/* tenant_move: a tenant as lines of text, to keep or to move to another server, and back */

CREATE FUNCTION event_store.export_tenant(name text, after_position bigint DEFAULT 0)
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'event_store_export_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.export_tenant(text, bigint)
IS 'the store of a tenant as lines of JSON for import_tenant: the events after a position, and everything else';
REVOKE ALL ON FUNCTION event_store.export_tenant(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.export_tenant(text, bigint) TO PUBLIC;

CREATE FUNCTION event_store.import_tenant(name text, source regclass, OUT events bigint, OUT "position" bigint, OUT complete boolean)
AS 'MODULE_PATHNAME', 'event_store_import_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.import_tenant(text, regclass)
IS 'makes a tenant from the lines of an export, or adds those of a later export, and compares counts and checksums';
REVOKE ALL ON FUNCTION event_store.import_tenant(text, regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.import_tenant(text, regclass) TO PUBLIC;

CREATE FUNCTION event_store.tenant_checksums(name text, "position" bigint DEFAULT NULL)
RETURNS TABLE (table_name text, rows bigint, checksum bigint)
AS 'MODULE_PATHNAME', 'event_store_tenant_checksums'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION event_store.tenant_checksums(text, bigint)
IS 'how many rows each table of a tenant''s store has up to a position, and what is in them: the same on every server';
REVOKE ALL ON FUNCTION event_store.tenant_checksums(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_checksums(text, bigint) TO PUBLIC;
