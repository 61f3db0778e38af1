/*
 * schema_compile.c
 *		From a JSON Schema (draft 2020-12) to a tree of nodes.
 *
 * Everything that can be wrong with a schema is found here, before a document
 * is looked at: a keyword that is not known or has a value of the wrong shape,
 * a reference that leads nowhere, a pattern that cannot be translated, a schema
 * that refers to itself without going down into the document.  A keyword that
 * is not known is an error, not an annotation, for it is most likely misspelt
 * and would be obeyed by nobody; names that begin with "x-" are left alone.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "observe/schema_node.h"

#define DIALECT		"https://json-schema.org/draft/2020-12/schema"

/* So many subschemas take about 60 MB while they are compiled. */
#define MAX_NODES	100000

typedef enum KeywordKind
{
	KEYWORD_ANY,				/* any value, describes */
	KEYWORD_STRING,				/* a string, describes */
	KEYWORD_BOOLEAN,
	KEYWORD_LIST,				/* an array, describes */
	KEYWORD_NODE,				/* fields at offset: EsSchemaNode * */
	KEYWORD_NODES,				/* EsSchemaNodes */
	KEYWORD_MEMBERS,			/* EsSchemaMembers of schemas */
	KEYWORD_COUNT,				/* int64 */
	KEYWORD_NUMBER,				/* Numeric */
	KEYWORD_TEXT,				/* EsSchemaName */
	KEYWORD_IDENTITY,			/* done before the others */
	KEYWORD_VOCABULARY,
	KEYWORD_TYPE,
	KEYWORD_CONST,
	KEYWORD_ENUM,
	KEYWORD_UNIQUE,
	KEYWORD_REQUIRED,
	KEYWORD_DEPENDENT_REQUIRED
} KeywordKind;

typedef struct Keyword
{
	const char *name;
	KeywordKind kind;
	size_t		offset;
} Keyword;

#define FIELD(f)	offsetof(EsSchemaNode, f)

/* sorted by name */
static const Keyword keywords[] = {
	{"$anchor", KEYWORD_IDENTITY},
	{"$comment", KEYWORD_STRING},
	{"$defs", KEYWORD_MEMBERS, FIELD(defs)},
	{"$dynamicAnchor", KEYWORD_IDENTITY},
	{"$dynamicRef", KEYWORD_TEXT, FIELD(dynamic_ref_text)},
	{"$id", KEYWORD_IDENTITY},
	{"$ref", KEYWORD_TEXT, FIELD(ref_text)},
	{"$schema", KEYWORD_IDENTITY},
	{"$vocabulary", KEYWORD_VOCABULARY},
	{"additionalProperties", KEYWORD_NODE, FIELD(additional_properties)},
	{"allOf", KEYWORD_NODES, FIELD(all_of)},
	{"anyOf", KEYWORD_NODES, FIELD(any_of)},
	{"const", KEYWORD_CONST},
	{"contains", KEYWORD_NODE, FIELD(contains)},
	{"contentEncoding", KEYWORD_STRING},
	{"contentMediaType", KEYWORD_STRING},
	{"contentSchema", KEYWORD_NODE, FIELD(content_schema)},
	{"default", KEYWORD_ANY},
	{"definitions", KEYWORD_MEMBERS, FIELD(definitions)},
	{"dependentRequired", KEYWORD_DEPENDENT_REQUIRED},
	{"dependentSchemas", KEYWORD_MEMBERS, FIELD(dependent_schemas)},
	{"deprecated", KEYWORD_BOOLEAN},
	{"description", KEYWORD_STRING},
	{"else", KEYWORD_NODE, FIELD(else_)},
	{"enum", KEYWORD_ENUM},
	{"examples", KEYWORD_LIST},
	{"exclusiveMaximum", KEYWORD_NUMBER, FIELD(exclusive_maximum)},
	{"exclusiveMinimum", KEYWORD_NUMBER, FIELD(exclusive_minimum)},
	{"format", KEYWORD_STRING},
	{"if", KEYWORD_NODE, FIELD(if_)},
	{"items", KEYWORD_NODE, FIELD(items)},
	{"maxContains", KEYWORD_COUNT, FIELD(max_contains)},
	{"maxItems", KEYWORD_COUNT, FIELD(max_items)},
	{"maxLength", KEYWORD_COUNT, FIELD(max_length)},
	{"maxProperties", KEYWORD_COUNT, FIELD(max_properties)},
	{"maximum", KEYWORD_NUMBER, FIELD(maximum)},
	{"minContains", KEYWORD_COUNT, FIELD(min_contains)},
	{"minItems", KEYWORD_COUNT, FIELD(min_items)},
	{"minLength", KEYWORD_COUNT, FIELD(min_length)},
	{"minProperties", KEYWORD_COUNT, FIELD(min_properties)},
	{"minimum", KEYWORD_NUMBER, FIELD(minimum)},
	{"multipleOf", KEYWORD_NUMBER, FIELD(multiple_of)},
	{"not", KEYWORD_NODE, FIELD(not)},
	{"oneOf", KEYWORD_NODES, FIELD(one_of)},
	{"pattern", KEYWORD_TEXT, FIELD(pattern_text)},
	{"patternProperties", KEYWORD_MEMBERS, FIELD(pattern_properties)},
	{"prefixItems", KEYWORD_NODES, FIELD(prefix_items)},
	{"properties", KEYWORD_MEMBERS, FIELD(properties)},
	{"propertyNames", KEYWORD_NODE, FIELD(property_names)},
	{"readOnly", KEYWORD_BOOLEAN},
	{"required", KEYWORD_REQUIRED},
	{"then", KEYWORD_NODE, FIELD(then)},
	{"title", KEYWORD_STRING},
	{"type", KEYWORD_TYPE},
	{"unevaluatedItems", KEYWORD_NODE, FIELD(unevaluated_items)},
	{"unevaluatedProperties", KEYWORD_NODE, FIELD(unevaluated_properties)},
	{"uniqueItems", KEYWORD_UNIQUE},
	{"writeOnly", KEYWORD_BOOLEAN},
};

static EsSchemaNode *compile_node(EsSchema *schema, const JsonbValue *value, EsSchemaNode *parent,
								  const char *keyword, EsSchemaName name, int index);

static int
container_size(const JsonbValue *value)
{
	return JsonContainerSize(value->val.binary.data);
}

static EsSchemaName
string_name(const JsonbValue *value)
{
	return (EsSchemaName) {value->val.string.val, value->val.string.len};
}

/* A member of the schema itself that must be a string; no name if there is none. */
static EsSchemaName
string_member(const EsSchemaNode *node, JsonbContainer *object, const char *keyword)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, keyword, strlen(keyword), &value) == NULL)
		return (EsSchemaName) {NULL, 0};
	if (value.type != jbvString)
		es_schema_refuse(node, keyword, "is not a string");
	return string_name(&value);
}

/* An anchor's name is that of an XML element without a colon, in ASCII. */
static void
add_anchor(EsSchemaNode *node, const char *keyword, EsSchemaName name, bool dynamic)
{
	EsSchemaAnchor *anchor;

	for (int i = 0; i < name.len; i++)
	{
		unsigned char c = name.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			  (i > 0 && ((c >= '0' && c <= '9') || c == '-' || c == '.'))))
			name.len = 0;
	}
	if (name.len == 0)
		es_schema_refuse(node, keyword, "is not a name of letters, digits, hyphens, underscores and periods");
	for (anchor = node->resource->anchors; anchor != NULL; anchor = anchor->next)
		if (anchor->node != node && es_schema_name_equal(anchor->name, name))
			es_schema_refuse(node, keyword, "names what another anchor of the same resource names");
	anchor = palloc(sizeof(EsSchemaAnchor));
	*anchor = (EsSchemaAnchor) {node->resource->anchors, name, node, dynamic};
	node->resource->anchors = anchor;
}

static void
begin_resource(EsSchema *schema, EsSchemaNode *node, EsSchemaName id)
{
	EsSchemaResource *resource = palloc0(sizeof(EsSchemaResource));
	const char *base = node->parent ? node->parent->resource->uri : "";

	resource->root = node;
	resource->uri = base;
	if (id.data != NULL)
	{
		/* an empty fragment is allowed and says nothing */
		if (id.len > 0 && id.data[id.len - 1] == '#')
			id.len--;
		if (memchr(id.data, '#', id.len) != NULL)
			es_schema_refuse(node, "$id", "has a fragment, for which there is $anchor");
		resource->uri = es_uri_resolve(base, pnstrdup(id.data, id.len));
	}
	for (EsSchemaResource *other = schema->resources; other != NULL; other = other->next)
		if (strcmp(other->uri, resource->uri) == 0)
			es_schema_refuse(node, "$id", "is the $id of another schema within this one");
	resource->next = schema->resources;
	schema->resources = resource;
	node->resource = resource;
}

/* $schema, $id and the anchors, which decide what the other keywords mean. */
static void
compile_identity(EsSchema *schema, EsSchemaNode *node, JsonbContainer *object)
{
	EsSchemaName id = string_member(node, object, "$id");
	EsSchemaName dialect = string_member(node, object, "$schema");
	EsSchemaName anchor;

	if (dialect.len > 0 && dialect.data[dialect.len - 1] == '#')
		dialect.len--;
	if (dialect.data != NULL && (dialect.len != strlen(DIALECT) || memcmp(dialect.data, DIALECT, dialect.len) != 0))
		es_schema_refuse(node, "$schema", "is not " DIALECT);

	if (id.data != NULL || node->parent == NULL)
		begin_resource(schema, node, id);

	anchor = string_member(node, object, "$anchor");
	if (anchor.data != NULL)
		add_anchor(node, "$anchor", anchor, false);
	anchor = string_member(node, object, "$dynamicAnchor");
	if (anchor.data != NULL)
		add_anchor(node, "$dynamicAnchor", anchor, true);
}

static uint8
type_bit(const EsSchemaNode *node, const JsonbValue *value)
{
	static const struct
	{
		const char *name;
		uint8		bit;
	}			types[] = {
		{"array", ES_TYPE_ARRAY}, {"boolean", ES_TYPE_BOOLEAN}, {"integer", ES_TYPE_INTEGER}, {"null", ES_TYPE_NULL},
		{"number", ES_TYPE_NUMBER}, {"object", ES_TYPE_OBJECT}, {"string", ES_TYPE_STRING}
	};

	for (int i = 0; i < lengthof(types); i++)
		if (value->type == jbvString && value->val.string.len == strlen(types[i].name) &&
			memcmp(value->val.string.val, types[i].name, value->val.string.len) == 0)
			return types[i].bit;
	es_schema_refuse(node, "type", "is not a type: array, boolean, integer, null, number, object or string");
}

static void
compile_type(EsSchemaNode *node, const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbValue	element;

	if (!es_json_is_array(value))
	{
		node->types = type_bit(node, value);
		return;
	}
	if (container_size(value) == 0)
		es_schema_refuse(node, "type", "names no type");
	iterator = es_json_walk(value);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		uint8		bit = type_bit(node, &element);

		if (node->types & bit)
			es_schema_refuse(node, "type", "names a type twice");
		node->types |= bit;
	}
}

static int
compare_names(const void *a, const void *b)
{
	return es_schema_name_compare(*(const EsSchemaName *) a, *(const EsSchemaName *) b);
}

/* An array of different strings, sorted. */
static EsSchemaNames
compile_names(EsSchemaNode *node, const char *keyword, const JsonbValue *value)
{
	EsSchemaNames result = {0};
	JsonbIterator *iterator;
	JsonbValue	element;

	if (!es_json_is_array(value))
		es_schema_refuse(node, keyword, "is not an array of names");
	result.names = palloc(mul_size(sizeof(EsSchemaName), Max(container_size(value), 1)));
	iterator = es_json_walk(value);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		if (element.type != jbvString)
			es_schema_refuse(node, keyword, "is not an array of names");
		result.names[result.count++] = string_name(&element);
	}
	qsort(result.names, result.count, sizeof(EsSchemaName), compare_names);
	for (int i = 1; i < result.count; i++)
		if (es_schema_name_equal(result.names[i - 1], result.names[i]))
			es_schema_refuse(node, keyword, "has a name twice");
	return result;
}

static EsSchemaPattern *
compile_pattern(EsSchema *schema, EsSchemaNode *node, const char *keyword, EsSchemaName source)
{
	const char *problem;
	EsSchemaPattern *pattern = es_schema_pattern_compile(source, &schema->pattern_size, &problem);

	if (pattern == NULL)
		es_schema_refuse(node, keyword, "is not a usable pattern: %s", problem);
	return pattern;
}

/* An object of schemas, or of arrays of names if required. */
static EsSchemaMembers
compile_members(EsSchema *schema, EsSchemaNode *node, const Keyword *keyword, const JsonbValue *value)
{
	EsSchemaMembers result = {0};
	JsonbIterator *iterator;
	JsonbValue	key,
				element;

	if (!es_json_is_object(value))
		es_schema_refuse(node, keyword->name, "is not an object");
	result.members = palloc0(mul_size(sizeof(EsSchemaMember), Max(container_size(value), 1)));
	iterator = es_json_walk(value);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		EsSchemaMember *member = &result.members[result.count++];

		CHECK_FOR_INTERRUPTS();
		member->name = string_name(&key);
		(void) JsonbIteratorNext(&iterator, &element, true);
		if (keyword->kind == KEYWORD_DEPENDENT_REQUIRED)
			member->required = compile_names(node, keyword->name, &element);
		else
			member->node = compile_node(schema, &element, node, keyword->name, member->name, -1);
		if (keyword->offset == FIELD(pattern_properties))
			member->pattern = compile_pattern(schema, member->node, NULL, member->name);
	}
	return result;
}

static EsSchemaNodes
compile_nodes(EsSchema *schema, EsSchemaNode *node, const Keyword *keyword, const JsonbValue *value)
{
	EsSchemaNodes result = {0};
	JsonbIterator *iterator;
	JsonbValue	element;

	if (!es_json_is_array(value) || container_size(value) == 0)
		es_schema_refuse(node, keyword->name, "is not an array with at least one schema");
	result.nodes = palloc(mul_size(sizeof(EsSchemaNode *), container_size(value)));
	iterator = es_json_walk(value);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		result.nodes[result.count] = compile_node(schema, &element, node, keyword->name,
												  (EsSchemaName) {NULL, 0}, result.count);
		result.count++;
	}
	return result;
}

static int64
compile_count(EsSchemaNode *node, const char *keyword, const JsonbValue *value)
{
	Numeric		number = value->val.numeric;
	Numeric		zero = int64_to_numeric(0);
	Numeric		most = int64_to_numeric(PG_INT64_MAX);

	if (value->type != jbvNumeric ||
		DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number), NumericGetDatum(zero))) < 0 ||
		DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(number))) > 0)
		es_schema_refuse(node, keyword, "is not a whole number from 0");
	if (DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number), NumericGetDatum(most))) > 0)
		return PG_INT64_MAX;	/* nothing has so many */
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(number)));
}

static Numeric
compile_number(EsSchemaNode *node, const char *keyword, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		es_schema_refuse(node, keyword, "is not a number");
	return value->val.numeric;
}

/* Metaschemas declare vocabularies; a schema is not ruled by its own. */
static void
check_vocabulary(EsSchemaNode *node, const char *keyword, const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbValue	element;

	if (!es_json_is_object(value))
		es_schema_refuse(node, keyword, "is not an object");
	iterator = es_json_walk(value);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &element, true);
		if (element.type != jbvBool)
			es_schema_refuse(node, keyword, "has a value that is not true or false");
	}
}

static int
compare_keyword(const void *name, const void *keyword)
{
	const EsSchemaName *a = name;
	const char *b = ((const Keyword *) keyword)->name;
	int			result = memcmp(a->data, b, Min(a->len, strlen(b)));

	return result != 0 ? result : a->len - (int) strlen(b);
}

static void
compile_keyword(EsSchema *schema, EsSchemaNode *node, EsSchemaName name, const JsonbValue *value)
{
	const Keyword *keyword = bsearch(&name, keywords, lengthof(keywords), sizeof(Keyword), compare_keyword);
	void	   *field;

	if (keyword == NULL)
	{
		if (name.len < 2 || memcmp(name.data, "x-", 2) != 0)
			es_schema_refuse(node, pnstrdup(name.data, name.len), "is not a known keyword");
		return;
	}
	field = (char *) node + keyword->offset;
	switch (keyword->kind)
	{
		case KEYWORD_ANY:
		case KEYWORD_IDENTITY:
			break;
		case KEYWORD_STRING:
			if (value->type != jbvString)
				es_schema_refuse(node, keyword->name, "is not a string");
			break;
		case KEYWORD_BOOLEAN:
		case KEYWORD_UNIQUE:
			if (value->type != jbvBool)
				es_schema_refuse(node, keyword->name, "is not true or false");
			if (keyword->kind == KEYWORD_UNIQUE)
				node->unique_items = value->val.boolean;
			break;
		case KEYWORD_LIST:
			if (!es_json_is_array(value))
				es_schema_refuse(node, keyword->name, "is not an array");
			break;
		case KEYWORD_NODE:
			*(EsSchemaNode **) field = compile_node(schema, value, node, keyword->name, (EsSchemaName) {NULL, 0}, -1);
			break;
		case KEYWORD_NODES:
			*(EsSchemaNodes *) field = compile_nodes(schema, node, keyword, value);
			break;
		case KEYWORD_MEMBERS:
			*(EsSchemaMembers *) field = compile_members(schema, node, keyword, value);
			break;
		case KEYWORD_COUNT:
			*(int64 *) field = compile_count(node, keyword->name, value);
			break;
		case KEYWORD_NUMBER:
			*(Numeric *) field = compile_number(node, keyword->name, value);
			if (keyword->offset == FIELD(multiple_of) &&
				DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(node->multiple_of),
												  NumericGetDatum(int64_to_numeric(0)))) <= 0)
				es_schema_refuse(node, keyword->name, "is not greater than 0");
			break;
		case KEYWORD_TEXT:
			if (value->type != jbvString)
				es_schema_refuse(node, keyword->name, "is not a string");
			*(EsSchemaName *) field = string_name(value);
			if (keyword->offset == FIELD(pattern_text))
				node->pattern = compile_pattern(schema, node, keyword->name, node->pattern_text);
			break;
		case KEYWORD_VOCABULARY:
			check_vocabulary(node, keyword->name, value);
			break;
		case KEYWORD_TYPE:
			compile_type(node, value);
			break;
		case KEYWORD_CONST:
			node->constant = palloc(sizeof(JsonbValue));
			*node->constant = *value;
			break;
		case KEYWORD_ENUM:
			if (!es_json_is_array(value))
				es_schema_refuse(node, keyword->name, "is not an array");
			node->choices = value->val.binary.data;
			break;
		case KEYWORD_REQUIRED:
			node->required = compile_names(node, keyword->name, value);
			break;
		case KEYWORD_DEPENDENT_REQUIRED:
			node->dependent_required = compile_members(schema, node, keyword, value);
			break;
	}
}

/* Which kinds of value the node has keywords for. */
static void
summarise(EsSchemaNode *node)
{
	node->has_number = node->multiple_of || node->maximum || node->exclusive_maximum ||
		node->minimum || node->exclusive_minimum;
	node->has_string = node->max_length < PG_INT64_MAX || node->min_length > 0 || node->pattern;
	node->has_array = node->prefix_items.count > 0 || node->items || node->contains ||
		node->max_items < PG_INT64_MAX || node->min_items > 0 || node->unique_items;
	node->has_object = node->properties.count > 0 || node->pattern_properties.count > 0 ||
		node->additional_properties || node->property_names || node->required.count > 0 ||
		node->dependent_required.count > 0 || node->max_properties < PG_INT64_MAX || node->min_properties > 0;
	node->has_unevaluated = node->unevaluated_items || node->unevaluated_properties;
}

static EsSchemaNode *
compile_node(EsSchema *schema, const JsonbValue *value, EsSchemaNode *parent,
			 const char *keyword, EsSchemaName name, int index)
{
	EsSchemaNode *node = palloc0(sizeof(EsSchemaNode));

	check_stack_depth();
	node->parent = parent;
	node->keyword = keyword;
	node->name = name;
	node->index = index;
	node->max_length = node->max_contains = node->max_items = node->max_properties = PG_INT64_MAX;
	node->min_contains = 1;
	if (parent != NULL)
	{
		node->resource = parent->resource;
		node->next_child = parent->first_child;
		parent->first_child = node;
	}
	if (schema->last_node != NULL)
		schema->last_node->next_node = node;
	else
		schema->nodes = node;
	schema->last_node = node;
	if (++schema->count > MAX_NODES)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("limit", MAX_NODES)),
							"the schema has more than %d subschemas", MAX_NODES),
				 errhint("Split the schema, and check each part of a document against its own.")));

	if (value->type == jbvBool)
	{
		if (parent == NULL)
			begin_resource(schema, node, (EsSchemaName) {NULL, 0});
		node->never = !value->val.boolean;
	}
	else if (es_json_is_object(value))
	{
		JsonbIterator *iterator;
		JsonbValue	key,
					element;

		compile_identity(schema, node, value->val.binary.data);
		iterator = es_json_walk(value);
		while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
		{
			(void) JsonbIteratorNext(&iterator, &element, true);
			compile_keyword(schema, node, string_name(&key), &element);
		}
		summarise(node);
	}
	else
		es_schema_refuse(node, NULL, "is neither an object nor true nor false");
	return node;
}

/*
 * Add the nodes of a document that stands for itself; the first one added is
 * the schema's root.  The document must live as long as the schema does, and
 * the caller must be in the schema's memory context.
 */
void
es_schema_add(EsSchema *schema, Jsonb *source)
{
	JsonbValue	value;
	EsSchemaNode *node;

	es_json_root(source, &value);
	node = compile_node(schema, &value, NULL, NULL, (EsSchemaName) {NULL, 0}, -1);
	if (schema->root == NULL)
		schema->root = node;
}

/*
 * Compile a schema, in a memory context of its own below parent.  Errors:
 * 22023 if it is not a schema that can be obeyed, with a pointer to the
 * keyword; 54000 if it is too large, 54001 if it is nested too deep.
 */
EsSchema *
es_schema_compile(Jsonb *source, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "event_store schema", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsSchema   *schema = palloc0(sizeof(EsSchema));

	schema->context = context;
	schema->source = palloc(VARSIZE(source));
	memcpy(schema->source, source, VARSIZE(source));
	es_schema_add(schema, schema->source);
	es_schema_resolve(schema);
	MemoryContextSwitchTo(caller);
	return schema;
}
