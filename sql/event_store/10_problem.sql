/* problem details: which SQLSTATE is which problem */

CREATE FUNCTION event_store.problem_types(
	OUT sqlstate text, OUT name text, OUT type text, OUT title text, OUT status integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_problem_types'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.problem_types()
IS 'the error conditions of this extension: SQLSTATE, problem type, title and HTTP status';
REVOKE ALL ON FUNCTION event_store.problem_types() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.problem_types() TO PUBLIC;
