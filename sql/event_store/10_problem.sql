/* problem details: which SQLSTATE is which problem, documents, and errors as answers */

CREATE FUNCTION event_store.built_in_problem_types(
	OUT uri text, OUT sqlstate text, OUT title text, OUT status integer, OUT retry_after interval, OUT doc text,
	OUT ext_schema jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_built_in_problem_types'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.built_in_problem_types()
IS 'for the view problem_type: the types of this extension and what it makes of the errors of the server';
REVOKE ALL ON FUNCTION event_store.built_in_problem_types() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.built_in_problem_types() TO PUBLIC;

CREATE TABLE event_store.registered_problem_type (
	uri pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	sqlstate pg_catalog.text COLLATE pg_catalog."C",
	title pg_catalog.text NOT NULL,
	status pg_catalog.int4 NOT NULL,
	retry_after pg_catalog.interval,
	doc pg_catalog.text,
	ext_schema pg_catalog.jsonb,
	CONSTRAINT registered_problem_type_pkey PRIMARY KEY (uri),
	CONSTRAINT registered_problem_type_sqlstate_key UNIQUE (sqlstate)
);
COMMENT ON TABLE event_store.registered_problem_type
IS 'the problem types that register_problem_type has added to the catalogue';
SELECT pg_catalog.pg_extension_config_dump('event_store.registered_problem_type', '');
REVOKE ALL ON TABLE event_store.registered_problem_type FROM PUBLIC;
GRANT SELECT ON TABLE event_store.registered_problem_type TO PUBLIC;

CREATE TABLE event_store.problem_title (
	uri pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	language pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	title pg_catalog.text NOT NULL,
	CONSTRAINT problem_title_pkey PRIMARY KEY (uri, language)
);
COMMENT ON TABLE event_store.problem_title
IS 'titles of problem types in other languages than English';
SELECT pg_catalog.pg_extension_config_dump('event_store.problem_title', '');
REVOKE ALL ON TABLE event_store.problem_title FROM PUBLIC;
GRANT SELECT ON TABLE event_store.problem_title TO PUBLIC;

CREATE VIEW event_store.problem_type AS
SELECT uri, sqlstate, title, status, retry_after, doc, ext_schema
FROM event_store.built_in_problem_types()
UNION ALL
SELECT uri, sqlstate, title, status, retry_after, doc, ext_schema
FROM event_store.registered_problem_type;
COMMENT ON VIEW event_store.problem_type
IS 'the catalogue of problems: SQLSTATE (of two characters: all others of the class), type, title, HTTP status and advice';
REVOKE ALL ON TABLE event_store.problem_type FROM PUBLIC;
GRANT SELECT ON TABLE event_store.problem_type TO PUBLIC;

CREATE FUNCTION event_store.register_problem_type(
	uri text, title text, status integer, sqlstate text DEFAULT NULL, retry_after interval DEFAULT NULL,
	doc text DEFAULT NULL, ext_schema jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_register_problem_type'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_problem_type(text, text, integer, text, interval, text, jsonb)
IS 'adds a problem type to the catalogue of this database';
REVOKE ALL ON FUNCTION event_store.register_problem_type(text, text, integer, text, interval, text, jsonb) FROM PUBLIC;

CREATE FUNCTION event_store.unregister_problem_type(uri text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_problem_type'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_problem_type(text)
IS 'takes a registered problem type and its titles out of the catalogue';
REVOKE ALL ON FUNCTION event_store.unregister_problem_type(text) FROM PUBLIC;

CREATE FUNCTION event_store.set_problem_title(uri text, language text, title text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_set_problem_title'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.set_problem_title(text, text, text)
IS 'gives a problem type a title in another language, or takes it away with a null title';
REVOKE ALL ON FUNCTION event_store.set_problem_title(text, text, text) FROM PUBLIC;

CREATE FUNCTION event_store.problem(
	type text DEFAULT 'about:blank', status double precision DEFAULT NULL, title text DEFAULT NULL,
	detail text DEFAULT NULL, instance text DEFAULT NULL, ext jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_problem'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.problem(text, double precision, text, text, text, jsonb)
IS 'a problem document (RFC 9457); title and status are those of the type unless given';
REVOKE ALL ON FUNCTION event_store.problem(text, double precision, text, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem(text, double precision, text, text, text, jsonb) TO PUBLIC;

CREATE FUNCTION event_store.raise_problem(problem jsonb, hint text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_raise_problem'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.raise_problem(jsonb, text)
IS 'raises an error with the SQLSTATE of the problem''s type and the document as its detail';
REVOKE ALL ON FUNCTION event_store.raise_problem(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.raise_problem(jsonb, text) TO PUBLIC;

CREATE FUNCTION event_store.last_problem()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_last_problem'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.last_problem()
IS 'the last problem that this extension has raised or answered with in this session';
REVOKE ALL ON FUNCTION event_store.last_problem() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.last_problem() TO PUBLIC;

CREATE FUNCTION event_store.problem_from_error(
	sqlstate text, message text DEFAULT NULL, detail text DEFAULT NULL, hint text DEFAULT NULL,
	schema_name text DEFAULT NULL, table_name text DEFAULT NULL, column_name text DEFAULT NULL,
	constraint_name text DEFAULT NULL, datatype_name text DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_problem_from_error'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.problem_from_error(text, text, text, text, text, text, text, text, text)
IS 'the problem document of an error, from what GET STACKED DIAGNOSTICS says of it';
REVOKE ALL ON FUNCTION event_store.problem_from_error(text, text, text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem_from_error(text, text, text, text, text, text, text, text, text) TO PUBLIC;

CREATE FUNCTION event_store.try(query text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_try'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.try(text)
IS 'runs a query and returns its rows as {"ok": ...}, or the problem document of its failure';
REVOKE ALL ON FUNCTION event_store.try(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.try(text) TO PUBLIC;

CREATE FUNCTION event_store.try(query text, VARIADIC params "any")
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_try'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.try(text, "any")
IS 'runs a query with parameters and returns its rows as {"ok": ...}, or the problem document of its failure';
REVOKE ALL ON FUNCTION event_store.try(text, "any") FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.try(text, "any") TO PUBLIC;

CREATE FUNCTION event_store.problem_headers(problem jsonb, authenticate text DEFAULT 'Bearer')
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_problem_headers'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.problem_headers(jsonb, text)
IS 'the headers of an HTTP response whose body is the problem document';
REVOKE ALL ON FUNCTION event_store.problem_headers(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem_headers(jsonb, text) TO PUBLIC;

CREATE FUNCTION event_store.problem_pgrst(problem jsonb, authenticate text DEFAULT 'Bearer')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_problem_pgrst'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.problem_pgrst(jsonb, text)
IS 'raises an error that PostgREST answers with the status, headers and members of the problem';
REVOKE ALL ON FUNCTION event_store.problem_pgrst(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem_pgrst(jsonb, text) TO PUBLIC;

CREATE FUNCTION event_store.problem_log(
	OUT logged_at timestamptz, OUT instance text, OUT sqlstate text, OUT role text, OUT pid integer, OUT problem jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_problem_log'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.problem_log()
IS 'the newest problems of this database that were chosen by event_store.problem_log_rate, oldest first';
REVOKE ALL ON FUNCTION event_store.problem_log() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem_log() TO pg_monitor;
