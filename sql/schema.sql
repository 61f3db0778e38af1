\set VERBOSITY terse
/* schema: validation against JSON Schema draft 2020-12; the official test suite is in test/t/060_json_schema.pl */

CREATE VIEW order_schema AS SELECT '{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"$id": "https://example.com/order",
	"type": "object",
	"required": ["id", "items"],
	"properties": {
		"id": {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
		"customer": {"$ref": "#/$defs/person"},
		"total": {"type": "number", "minimum": 0, "multipleOf": 0.01},
		"items": {"type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": true, "items": {"$ref": "#item"}}
	},
	"additionalProperties": false,
	"$defs": {
		"person": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 5}}},
		"item": {"$anchor": "item", "type": "object", "properties": {"count": {"type": "integer", "exclusiveMinimum": 0}, "kind": {"enum": ["tea", "pot"]}}}
	}
}'::jsonb AS schema;

CREATE FUNCTION failures(schema jsonb, document jsonb, OUT pointer text, OUT detail text) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT f ->> 'pointer', f ->> 'detail' FROM jsonb_array_elements(event_store.validate(schema, document)) f
$$;

-- valid: an empty array
SELECT event_store.validate(schema, '{"id": "AB-1", "items": [{"count": 1.0, "kind": "tea"}], "total": 12.30}') FROM order_schema;

-- systems 5.3.7: all failures in one object, each with its pointer
SELECT f.* FROM order_schema, failures(schema, '{"id": "ab-1", "total": -0.001, "customer": {"name": "Adelheid"}, "note": "x",
	"items": [{"count": 0}, {"count": 1.5, "kind": "cup"}, {"count": 0}, 4]}') f;
SELECT f.* FROM order_schema, failures(schema, '[]') f;
SELECT f.* FROM order_schema, failures(schema, '{}') f;

-- systems 5.3.7: pointers to names that hold ~ and /, or what a URI cannot hold; a pointer is a URI fragment (RFC 6901, section 6)
SELECT * FROM failures('{"additionalProperties": {"additionalProperties": false}}',
	'{"a/b": {"c~d": 1}, "~1": {"": 1}, "Größe €": {"\ud83d\ude00": 1}, "a b%\"\\^|<>[]{}`#": {"0": 1}, "-._!$&''()*+,;=:@?": {"x": 1}}') ORDER BY pointer COLLATE "C";
SELECT * FROM failures('{"properties": {"a~1b/c": {"items": {"type": "null"}}}}', '{"a~1b/c": [null, 1]}');

-- each keyword says what is wrong
SELECT schema, document, pointer, detail
FROM (VALUES
	('false', '1'),
	('{"type": ["string", "null"]}', '1'),
	('{"type": "integer"}', '1.5'),
	('{"const": {"a": [1]}}', '{"a": [2]}'),
	('{"enum": [1, "a", null, {"b": []}]}', '2'),
	('{"maximum": 3}', '3.0000000000000000000000000000001'),
	('{"exclusiveMaximum": 3}', '3.0'),
	('{"minimum": 1e400}', '1'),
	('{"exclusiveMinimum": 3}', '3'),
	('{"multipleOf": 0.1}', '0.35'),
	('{"maxLength": 2}', '"äöü"'),
	('{"minLength": 2}', '"😀"'),
	('{"pattern": "^\\S+$"}', '"a b"'),
	('{"maxItems": 1, "minItems": 3}', '[1, 2]'),
	('{"uniqueItems": true}', '[{"a": 1, "b": [2]}, 7, {"b": [2.0], "a": 1.00}]'),
	-- values with the same hash
	('{"uniqueItems": true}', '[[null, true], [true, false], [null, true]]'),
	('{"items": {"uniqueItems": true}}', '[[[null, true], [true, false]], [1, true], [0, false], [{}, []], ["1", 1], [{"a": 1}, {"a": 2}, {"b": 1}]]'),
	('{"contains": {"type": "string"}}', '[1, 2]'),
	('{"contains": {"type": "string"}, "minContains": 2, "maxContains": 1}', '["a", 1]'),
	('{"contains": {"type": "string"}, "maxContains": 1}', '["a", "b", 1]'),
	('{"prefixItems": [{"type": "string"}], "items": false}', '[1, 2]'),
	('{"maxProperties": 1, "minProperties": 3}', '{"a": 1, "b": 2}'),
	('{"required": ["c", "aa", "b"]}', '{"b": 1}'),
	('{"dependentRequired": {"a": ["b", "c"]}}', '{"a": 1, "c": 1}'),
	('{"dependentSchemas": {"a": {"maxProperties": 1}}}', '{"a": 1, "c": 1}'),
	('{"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": {"type": "null"}}', '{"x1": 1, "y": 1}'),
	('{"propertyNames": {"maxLength": 2, "pattern": "^[a-z]*$"}}', '{"abc": 1, "ABC": 1}'),
	('{"anyOf": [{"minimum": 3}, {"minimum": 2}]}', '1'),
	('{"oneOf": [{"multipleOf": 2}, {"minimum": 2}]}', '1'),
	('{"oneOf": [{"maximum": 2}, {"minimum": 2}, true]}', '2'),
	('{"allOf": [{"minimum": 2}, {"minimum": 2.5}, {"minimum": 2}]}', '1'),
	('{"not": {"type": "number"}}', '1'),
	('{"if": {"type": "number"}, "then": {"minimum": 2}, "else": {"minLength": 2}}', '1'),
	('{"if": {"type": "number"}, "then": {"minimum": 2}, "else": {"minLength": 2}}', '"a"'),
	('{"properties": {"a": {"type": "string"}}, "allOf": [{"required": ["c"], "properties": {"b": true}}], "unevaluatedProperties": false}', '{"a": 1, "b": 1, "d": 1}'),
	('{"prefixItems": [true], "contains": {"type": "string"}, "unevaluatedItems": {"type": "null"}}', '[1, "a", 2, null]')) v(schema, document),
	LATERAL failures(schema::jsonb, document::jsonb);

-- of alternatives, the failures of the only one that is open to the value by type, const or enum, or by const of a member
SELECT * FROM failures('{"anyOf": [{"type": "null"}, {"$ref": "#/$defs/person"}], "$defs": {"person": {"type": "object", "required": ["name"], "properties": {"age": {"minimum": 0}}}}}', '{"age": -1}');
SELECT f.* FROM (VALUES ('{"kind": "circle"}'), ('{"kind": "square", "side": 0, "x": 1}'), ('{"kind": "line"}'), ('{"side": 1}')) d(document),
	failures('{"oneOf": [{"properties": {"kind": {"const": "circle"}, "radius": true}, "required": ["kind", "radius"]},
		{"properties": {"kind": {"const": "square"}, "side": {"minimum": 1}}, "required": ["kind", "side"]}], "unevaluatedProperties": false}', document::jsonb) f;

-- a constraint on a column
CREATE TABLE orders (body jsonb CHECK (event_store.is_valid('{"type": "object", "required": ["id"]}', body)));
INSERT INTO orders VALUES ('{"id": 1}'), (NULL);
INSERT INTO orders VALUES ('{"ID": 1}');
SELECT event_store.is_valid(NULL, '1'), event_store.validate('true', NULL);

-- patterns: what the server would read differently means what ECMA-262 says, or is refused
SELECT pattern, replace(left(string, 8), E'\ufeff', '<BOM>') AS string, length(string), event_store.is_valid(jsonb_build_object('pattern', pattern), to_jsonb(string))
FROM (VALUES
	('b', 'abc'), ('^b', 'abc'), ('^a$', E'a\n'), ('^a.b$', E'a\nb'), ('^a.b$', E'a\u2028b'), ('^a.b$', 'aéb'), ('^a[^]b$', E'a\nb'), ('^[\s\S]$', E'\n'),
	('^\d$', '٣'), ('^\w$', 'é'), ('^\W$', 'é'), ('^\s$', E'\u00a0'), ('^\s$', E'\ufeff'), ('^\S$', E'\u2003'), ('^[\Sx]$', E'\u2003'), ('^[^\S ]+$', E'\t\u3000'), ('^[^\S ]+$', E'\t '),
	('^[\W\d]$', '7'), ('^[\W\d]$', 'a'), ('^[^\W\d]$', 'a'), ('^[^\W\d]$', '7'), ('\bcat\b', 'a cat.'), ('\bcat\b', 'concat'), ('\Bcat', 'concat'),
	('^\u00e9\u{1F600}\uD83D\uDE00\x41\cJ$', E'é😀😀A\n'), ('^[\b\-\]\\]+$', E'\b-]\\'), ('^[a\-z]$', 'b'), ('^[-a]$', '-'), ('^[[:alpha:]\]$', ':]'), ('^[[.a.]\]$', '.]'), ('^[[=a=]\]$', 'b'), ('^[a&&b]$', '&'),
	('^(?:a|b)(?<name>c)(d)$', 'acd'), ('^(?=a)(?!ab)..$', 'ac'), ('^(?=a)(?!ab)..$', 'ab'), ('(?<=a)b', 'ab'), ('(?<!a)b', 'ab'),
	('^a+?b*?c??$', 'aab'), ('^a{2}$', 'aa'), ('^a{2,}?$', 'a'), ('^(ab){1,2}$', 'ababab'), ('^a{300}$', repeat('a', 300)), ('^a{300}$', repeat('a', 299)), ('^a{256,700}$', repeat('a', 700)),
	('^a{256,700}$', repeat('a', 701)), ('^a{256,700}$', repeat('a', 255)), ('^a{999,}$', repeat('a', 5000)), ('^a{0}$', ''), ('^(a{2,300}b){2}$', 'aabaab'),
	('^(|a)$', ''), ('^(a||b)c$', 'c'), ('', 'x'), ('^#\/\.$', '#/.'), ('^\_\"\@$', '_"@'), ('^é$', 'é')) v(pattern, string);
CREATE FUNCTION refusal(schema jsonb, document jsonb DEFAULT 'null', OUT state text, OUT pointer text, OUT message text) LANGUAGE plpgsql AS $$
DECLARE
	document_of_error text;
BEGIN
	PERFORM event_store.validate(schema, document);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, document_of_error = PG_EXCEPTION_DETAIL;
	-- an error of the server's comes without a document
	pointer := CASE WHEN document_of_error LIKE '{%' THEN document_of_error::jsonb ->> 'pointer' END;
END $$;
SELECT pattern, message
FROM unnest(ARRAY['\1', '(a)\1', '\k<n>', '\p{L}', '\P{L}', '[\p{L}]', '\A', '\Z', '\m', '\y', '\a', '\e', '\i', '\08', '\0', '\x4', '\x00', '\u12', '\u{}', '\u{110000}', '\u{12', '\uD800', '\uD800\u0041',
	'\c1', '\', 'é\é', '*', '***=a', '(?i)a', '(?#a)', '(?', '(?<', '(?<>a)', 'a**', 'a++', 'a{1}{2}', 'a{1001}', 'a{3,2}', 'a{', 'a{,2}', 'a{1', 'a{1,', '{', '}', ']', '[a', '[', '[]', '[z-a]', '[a-\d]', '[\d-z]', '[a\', '(a', 'a)', '(?=a)*', '^*', '\b+']) pattern,
	LATERAL refusal(jsonb_build_object('pattern', pattern));

-- schemas that are refused, with a pointer to where
SELECT schema, r.*
FROM unnest(ARRAY[
	'1', '"a"', 'null', '[]', '{"items": 1}', '{"properties": {"a/b~c é": {"minimun": 1}}}',
	'{"allOf": [true, {"x": 1}]}', '{"x-note": {"anything": 1}, "X-note": 1}', '{"dependencies": {}}', '{"$recursiveRef": "#"}', '{"nullable": true}',
	'{"$schema": "http://json-schema.org/draft-07/schema#"}', '{"$schema": 1}', '{"$id": "a#b"}', '{"$id": 1}', '{"$defs": {"a": {"$id": "x"}, "b": {"$id": "x#"}}}',
	'{"$anchor": "1a"}', '{"$anchor": ""}', '{"$dynamicAnchor": "a b"}', '{"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}', '{"$vocabulary": {"a": 1}}', '{"$comment": 1}',
	'{"$ref": 1}', '{"$ref": "#/$defs/a"}', '{"$ref": "#a"}', '{"$ref": "https://example.com/a"}', '{"$ref": "other.json#/a"}', '{"$ref": "#/%zz"}', '{"$ref": "#/%00"}', '{"$ref": "#/%FF"}', '{"$ref": "#/~2"}',
	'{"$ref": "#/const", "const": {}}', '{"$ref": "#/required/0", "required": ["a"]}', '{"$ref": "#/allOf", "allOf": [true]}', '{"$ref": "#/allOf/00", "allOf": [true]}', '{"$dynamicRef": "#a"}', '{"$ref": "https://json-schema.org/draft/2020-12/none"}',
	'{"type": "float"}', '{"type": []}', '{"type": ["null", "null"]}', '{"type": 1}', '{"type": {}}', '{"enum": 1}', '{"multipleOf": 0}', '{"multipleOf": -1}', '{"multipleOf": "1"}', '{"maximum": "1"}', '{"minLength": -1}', '{"minLength": 1.5}', '{"maxItems": "1"}',
	'{"uniqueItems": 1}', '{"pattern": 1}', '{"patternProperties": {"(": true}}', '{"required": "a"}', '{"required": [1]}', '{"required": ["a", "a"]}', '{"dependentRequired": []}', '{"dependentRequired": {"a": "b"}}', '{"properties": []}', '{"properties": {"a": 1}}',
	'{"allOf": []}', '{"anyOf": {}}', '{"oneOf": [1]}', '{"prefixItems": true}', '{"if": 1}', '{"not": []}', '{"format": 1}', '{"title": 1}', '{"deprecated": 1}', '{"examples": 1}', '{"contentSchema": 1}']) schema,
	LATERAL refusal(schema::jsonb) r;
-- and those that look odd and are not
SELECT schema, event_store.validate(schema::jsonb, '1')
FROM unnest(ARRAY['{"x-note": {"anything": 1}}', '{"$schema": "https://json-schema.org/draft/2020-12/schema#"}', '{"enum": []}', '{"required": []}', '{"minLength": 1.0, "maxLength": 1e30}', '{"default": {"type": 1}, "examples": [{"x": 1}], "const": 1.00}',
	'{"$anchor": "a", "$dynamicAnchor": "a"}', '{"definitions": {"a": {"type": "string"}}, "$ref": "#/definitions/a"}', '{"format": "date", "contentMediaType": "application/json", "contentEncoding": "base64", "contentSchema": false}', '{"then": false, "else": false, "minContains": 3}']) schema;

-- references: to the metaschema, which is built in; to what an $id in the schema names; nothing is fetched
SELECT * FROM failures('{"$ref": "https://json-schema.org/draft/2020-12/schema"}', '{"properties": {"a": {"type": "float", "minLength": -1}, "b": {"allOf": []}}, "$anchor": "1"}');
SELECT * FROM failures('{"$ref": "https://json-schema.org/draft/2020-12/meta/validation"}', '{"maximum": "a", "properties": 1}');
SELECT * FROM failures('{"$id": "http://example.com/a/b", "$ref": "../c?d#x", "$defs": {"c": {"$id": "/c?d", "$defs": {"x": {"$anchor": "x", "type": "string"}}}}}', '1');
SELECT * FROM failures('{"$ref": "#/$defs/a~1b~0%25%C3%A9", "$defs": {"a/b~%é": {"type": "string"}}}', '1');

-- schemas that loop: refused, whatever the document; going down into it is no loop
SELECT schema, r.*
FROM unnest(ARRAY['{"$ref": "#"}', '{"allOf": [{"$ref": "#/allOf/0"}]}', '{"properties": {"a": {"not": {"$ref": "#/properties/a"}}}}', '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [true, {"$ref": "#/$defs/a"}]}}}',
	'{"$defs": {"a": {"if": {"$ref": "#/$defs/a"}}}}', '{"$defs": {"a": {"dependentSchemas": {"x": {"$ref": "#/$defs/a"}}}}}', '{"$dynamicRef": "#a", "$dynamicAnchor": "a"}',
	'{"$id": "x:/r", "$ref": "l", "$defs": {"r": {"$dynamicAnchor": "a", "$ref": "l"}, "l": {"$id": "l", "$dynamicRef": "#a", "$defs": {"n": {"$dynamicAnchor": "a"}}}}}']) schema,
	LATERAL refusal(schema::jsonb) r;
SELECT * FROM failures('{"type": "array", "items": {"$ref": "#"}}', '[[], [[[1]]]]');

-- a thousand deep is all right, and what is too deep for the server's stack is an error like any other
CREATE FUNCTION nest(times int, opening text, inner_most text, closing text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT (repeat(opening, times) || inner_most || repeat(closing, times))::jsonb
$$;
SELECT length(pointer), detail FROM failures(nest(1000, '{"items":', '{"type": "string"}', '}'), nest(1000, '[', '1', ']'));
SELECT length(pointer), detail FROM failures('{"items": {"$ref": "#"}, "type": "array"}', nest(1000, '[', '1', ']'));
SELECT event_store.is_valid(nest(1000, '{"allOf":[', 'false', ']}'), '1'), event_store.is_valid(nest(1000, '{"not":', 'true', '}'), '1');
CREATE TABLE deep AS SELECT nest(1000, '{"items":', 'true', '}') AS schema, nest(1000, '[', '1', ']') AS document;
SET max_stack_depth = '100kB';
SELECT (refusal(schema)).state, (refusal('{"items": {"$ref": "#"}}', document)).state FROM deep;
RESET max_stack_depth;
SELECT event_store.is_valid('{"items": {"$ref": "#"}}', nest(100, '[', '1', ']'));

-- wide: a hundred thousand subschemas, a million failures, a pattern that backtracking engines would not finish
SELECT (refusal(jsonb_build_object('allOf', jsonb_agg(true)))).* FROM generate_series(1, 100000);
SELECT jsonb_array_length(event_store.validate('{"items": {"type": "string"}}', jsonb_agg(i))) FROM generate_series(1, 1000000) i;
SELECT jsonb_array_length(event_store.validate('{"additionalProperties": false}', jsonb_object_agg(repeat('x', 100000) || i, 1))) FROM generate_series(1, 20) i;
SELECT event_store.is_valid('{"pattern": "^(a+)+$"}', to_jsonb(repeat('a', 100000) || 'b'));
SELECT (refusal('{"pattern": "((a{1000}){1000}){1000}"}')).*;
SELECT (refusal(jsonb_object_agg('patternProperties', p))).* FROM (SELECT jsonb_object_agg('a{1000}b{' || i || '}', true) AS p FROM generate_series(1, 1000) i) _;
SELECT event_store.is_valid('{"uniqueItems": true}', jsonb_agg(i)) FROM generate_series(1, 200000) i;
-- one that takes exponential time can be cancelled
SET statement_timeout = '200ms';
SELECT (refusal(jsonb_build_object('$ref', '#/$defs/60', '$defs', jsonb_object_agg(i, CASE WHEN i = 0 THEN '{"type": "string"}'
	ELSE jsonb_build_object('anyOf', jsonb_build_array(jsonb_build_object('$ref', '#/$defs/' || i - 1), jsonb_build_object('$ref', '#/$defs/' || i - 1))) END)))).state
FROM generate_series(0, 60) i;
RESET statement_timeout;

-- more schemas than are remembered, each with its own answer, twice
SELECT count(*) FROM generate_series(1, 2), generate_series(1, 100) i
WHERE event_store.is_valid(jsonb_build_object('const', i, 'pattern', 'a{' || i || '}'), to_jsonb(i))
	AND NOT event_store.is_valid(jsonb_build_object('const', i, 'pattern', 'a{' || i || '}'), to_jsonb(i + 1));
SELECT count(*) < 40 AS bounded FROM pg_backend_memory_contexts WHERE name = 'event_store schema';

DROP TABLE orders, deep;
DROP VIEW order_schema;
DROP FUNCTION failures, refusal, nest;
