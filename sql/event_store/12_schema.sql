/* schema: is a document what a JSON Schema asks for? */

CREATE FUNCTION event_store.validate(schema jsonb, document jsonb)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'event_store_validate'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION event_store.validate(jsonb, jsonb)
IS 'everything in the document that fails the JSON Schema, as an array of {detail, pointer}; empty if it is valid';

CREATE FUNCTION event_store.is_valid(schema jsonb, document jsonb)
RETURNS boolean
AS 'MODULE_PATHNAME', 'event_store_is_valid'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION event_store.is_valid(jsonb, jsonb)
IS 'whether the document is valid against the JSON Schema; for CHECK constraints';

REVOKE ALL ON FUNCTION
	event_store.validate(jsonb, jsonb),
	event_store.is_valid(jsonb, jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.validate(jsonb, jsonb),
	event_store.is_valid(jsonb, jsonb)
TO PUBLIC;
