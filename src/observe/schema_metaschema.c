/*
 * schema_metaschema.c
 *		The metaschema of JSON Schema draft 2020-12, which schemas may refer to.
 *
 * It describes what a schema looks like: one document for each vocabulary, and
 * one that puts them together.  They stand here as one document, whose parts
 * have the $id and the anchors of the published ones and allow the same.
 */
#include "postgres.h"

#include "observe/schema_node.h"

#define DYNAMIC		"{\"$dynamicRef\":\"#meta\"}"
#define DYNAMICS	"{\"type\":\"object\",\"additionalProperties\":" DYNAMIC "}"
#define VOCABULARY(name, properties) \
	"\"" name "\":{\"$id\":\"meta/" name "\",\"$dynamicAnchor\":\"meta\"," \
	"\"type\":[\"object\",\"boolean\"],\"properties\":{" properties "}}"

const char *es_schema_metaschema =
"{\"$id\":\"https://json-schema.org/draft/2020-12/schema\",\"$dynamicAnchor\":\"meta\","
"\"type\":[\"object\",\"boolean\"],\"allOf\":[{\"$ref\":\"meta/core\"},{\"$ref\":\"meta/applicator\"},"
"{\"$ref\":\"meta/unevaluated\"},{\"$ref\":\"meta/validation\"},{\"$ref\":\"meta/meta-data\"},"
"{\"$ref\":\"meta/format-annotation\"},{\"$ref\":\"meta/content\"}],"
"\"properties\":{"
"\"definitions\":" DYNAMICS ","
"\"dependencies\":{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[" DYNAMIC ",{\"$ref\":\"meta/validation#/$defs/stringArray\"}]}},"
"\"$recursiveAnchor\":{\"$ref\":\"meta/core#/$defs/anchorString\"},"
"\"$recursiveRef\":{\"$ref\":\"meta/core#/$defs/uriReferenceString\"}},"
"\"$defs\":{"

"\"core\":{\"$id\":\"meta/core\",\"$dynamicAnchor\":\"meta\",\"type\":[\"object\",\"boolean\"],\"properties\":{"
"\"$id\":{\"$ref\":\"#/$defs/uriReferenceString\",\"pattern\":\"^[^#]*#?$\"},"
"\"$schema\":{\"$ref\":\"#/$defs/uriString\"},"
"\"$ref\":{\"$ref\":\"#/$defs/uriReferenceString\"},"
"\"$anchor\":{\"$ref\":\"#/$defs/anchorString\"},"
"\"$dynamicRef\":{\"$ref\":\"#/$defs/uriReferenceString\"},"
"\"$dynamicAnchor\":{\"$ref\":\"#/$defs/anchorString\"},"
"\"$vocabulary\":{\"type\":\"object\",\"propertyNames\":{\"$ref\":\"#/$defs/uriString\"},\"additionalProperties\":{\"type\":\"boolean\"}},"
"\"$comment\":{\"type\":\"string\"},"
"\"$defs\":" DYNAMICS "},"
"\"$defs\":{\"anchorString\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z_][-A-Za-z0-9._]*$\"},"
"\"uriString\":{\"type\":\"string\",\"format\":\"uri\"},"
"\"uriReferenceString\":{\"type\":\"string\",\"format\":\"uri-reference\"}}},"

"\"applicator\":{\"$id\":\"meta/applicator\",\"$dynamicAnchor\":\"meta\",\"type\":[\"object\",\"boolean\"],\"properties\":{"
"\"prefixItems\":{\"$ref\":\"#/$defs/schemaArray\"},\"allOf\":{\"$ref\":\"#/$defs/schemaArray\"},"
"\"anyOf\":{\"$ref\":\"#/$defs/schemaArray\"},\"oneOf\":{\"$ref\":\"#/$defs/schemaArray\"},"
"\"items\":" DYNAMIC ",\"contains\":" DYNAMIC ",\"additionalProperties\":" DYNAMIC ",\"propertyNames\":" DYNAMIC ","
"\"if\":" DYNAMIC ",\"then\":" DYNAMIC ",\"else\":" DYNAMIC ",\"not\":" DYNAMIC ","
"\"properties\":" DYNAMICS ",\"patternProperties\":" DYNAMICS ",\"dependentSchemas\":" DYNAMICS "},"
"\"$defs\":{\"schemaArray\":{\"type\":\"array\",\"minItems\":1,\"items\":" DYNAMIC "}}},"

VOCABULARY("unevaluated", "\"unevaluatedItems\":" DYNAMIC ",\"unevaluatedProperties\":" DYNAMIC) ","

"\"validation\":{\"$id\":\"meta/validation\",\"$dynamicAnchor\":\"meta\",\"type\":[\"object\",\"boolean\"],\"properties\":{"
"\"type\":{\"anyOf\":[{\"$ref\":\"#/$defs/simpleTypes\"},"
"{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/simpleTypes\"},\"minItems\":1,\"uniqueItems\":true}]},"
"\"const\":true,\"enum\":{\"type\":\"array\",\"items\":true},"
"\"multipleOf\":{\"type\":\"number\",\"exclusiveMinimum\":0},"
"\"maximum\":{\"type\":\"number\"},\"exclusiveMaximum\":{\"type\":\"number\"},"
"\"minimum\":{\"type\":\"number\"},\"exclusiveMinimum\":{\"type\":\"number\"},"
"\"maxLength\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},\"minLength\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},"
"\"pattern\":{\"type\":\"string\",\"format\":\"regex\"},"
"\"maxItems\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},\"minItems\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},"
"\"uniqueItems\":{\"type\":\"boolean\"},"
"\"maxContains\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},\"minContains\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},"
"\"maxProperties\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},\"minProperties\":{\"$ref\":\"#/$defs/nonNegativeInteger\"},"
"\"required\":{\"$ref\":\"#/$defs/stringArray\"},"
"\"dependentRequired\":{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#/$defs/stringArray\"}}},"
"\"$defs\":{\"nonNegativeInteger\":{\"type\":\"integer\",\"minimum\":0},"
"\"simpleTypes\":{\"enum\":[\"array\",\"boolean\",\"integer\",\"null\",\"number\",\"object\",\"string\"]},"
"\"stringArray\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true}}},"

VOCABULARY("meta-data", "\"title\":{\"type\":\"string\"},\"description\":{\"type\":\"string\"},\"default\":true,"
		   "\"deprecated\":{\"type\":\"boolean\"},\"readOnly\":{\"type\":\"boolean\"},\"writeOnly\":{\"type\":\"boolean\"},"
		   "\"examples\":{\"type\":\"array\",\"items\":true}") ","

VOCABULARY("format-annotation", "\"format\":{\"type\":\"string\"}") ","

VOCABULARY("content", "\"contentEncoding\":{\"type\":\"string\"},\"contentMediaType\":{\"type\":\"string\"},"
		   "\"contentSchema\":" DYNAMIC)

"}}";
