/*
 * schema_node.h
 *		A compiled JSON Schema, for the files schema*.c alone.
 *
 * A schema becomes a tree of nodes, one for each subschema, with a field for
 * each keyword that asserts something; keywords that only describe are checked
 * for their shape and left out.  References are pointers from node to node.
 * Names, numbers and values point into the copy of the schema that the tree is
 * made from.  Once compiled a tree is never written.
 */
#ifndef ES_SCHEMA_NODE_H
#define ES_SCHEMA_NODE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/compat.h"

typedef struct EsSchemaNode EsSchemaNode;
typedef struct EsSchemaPattern EsSchemaPattern;

/* A string, not terminated; data is NULL where there is none. */
typedef struct EsSchemaName
{
	const char *data;
	int			len;
} EsSchemaName;

typedef struct EsSchemaNames
{
	int			count;
	EsSchemaName *names;
} EsSchemaNames;

/* The value of properties, patternProperties, dependentSchemas, dependentRequired. */
typedef struct EsSchemaMember
{
	EsSchemaName name;
	EsSchemaNode *node;
	EsSchemaPattern *pattern;	/* of patternProperties */
	EsSchemaNames required;		/* of dependentRequired */
} EsSchemaMember;

/* In the order of names in jsonb: by length, then by bytes. */
typedef struct EsSchemaMembers
{
	int			count;
	EsSchemaMember *members;
} EsSchemaMembers;

typedef struct EsSchemaNodes
{
	int			count;
	EsSchemaNode **nodes;
} EsSchemaNodes;

/* A name that $anchor or $dynamicAnchor gives to a node. */
typedef struct EsSchemaAnchor
{
	struct EsSchemaAnchor *next;
	EsSchemaName name;
	EsSchemaNode *node;
	bool		dynamic;
} EsSchemaAnchor;

/* What an $id names, and the root. */
typedef struct EsSchemaResource
{
	struct EsSchemaResource *next;
	const char *uri;			/* absolute if it can be, without a fragment */
	EsSchemaNode *root;
	EsSchemaAnchor *anchors;
} EsSchemaResource;

/* Types as bits; an integer is a number too. */
#define ES_TYPE_NULL		0x01
#define ES_TYPE_BOOLEAN		0x02
#define ES_TYPE_OBJECT		0x04
#define ES_TYPE_ARRAY		0x08
#define ES_TYPE_NUMBER		0x10
#define ES_TYPE_STRING		0x20
#define ES_TYPE_INTEGER		0x40

struct EsSchemaNode
{
	/* where it stands: child of parent under keyword, and there under a name or index */
	EsSchemaNode *parent;
	EsSchemaNode *first_child;
	EsSchemaNode *next_child;
	EsSchemaNode *next_node;	/* of all nodes, a parent before its children */
	EsSchemaResource *resource;
	const char *keyword;
	EsSchemaName name;
	int			index;			/* -1: none */

	bool		never;			/* the schema false */
	bool		has_number;		/* has keywords for numbers, and so on */
	bool		has_string;
	bool		has_array;
	bool		has_object;
	bool		has_unevaluated;
	enum
	{
		ES_NODE_NEW,
		ES_NODE_ENTERED,
		ES_NODE_DONE
	}			loop_state;		/* of the search for loops */

	/* core and in place */
	EsSchemaName ref_text;
	EsSchemaName dynamic_ref_text;
	EsSchemaNode *ref;
	EsSchemaNode *dynamic_ref;	/* where $dynamicRef leads if nothing in the dynamic scope does */
	EsSchemaName dynamic_name;	/* the name to look for there, if any */
	EsSchemaNodes all_of;
	EsSchemaNodes any_of;
	EsSchemaNodes one_of;
	EsSchemaNode *not;
	EsSchemaNode *if_;
	EsSchemaNode *then;
	EsSchemaNode *else_;
	EsSchemaMembers dependent_schemas;

	/* any type */
	uint8		types;			/* 0: any */
	JsonbValue *constant;
	JsonbContainer *choices;	/* the array of enum */

	/* numbers */
	Numeric		multiple_of;
	Numeric		maximum;
	Numeric		exclusive_maximum;
	Numeric		minimum;
	Numeric		exclusive_minimum;

	/* strings */
	int64		max_length;
	int64		min_length;
	EsSchemaName pattern_text;
	EsSchemaPattern *pattern;

	/* arrays */
	EsSchemaNodes prefix_items;
	EsSchemaNode *items;
	EsSchemaNode *contains;
	int64		max_contains;
	int64		min_contains;
	int64		max_items;
	int64		min_items;
	bool		unique_items;
	EsSchemaNode *unevaluated_items;

	/* objects */
	EsSchemaMembers properties;
	EsSchemaMembers pattern_properties;
	EsSchemaNode *additional_properties;
	EsSchemaNode *property_names;
	EsSchemaNames required;
	EsSchemaMembers dependent_required;
	int64		max_properties;
	int64		min_properties;
	EsSchemaNode *unevaluated_properties;

	/* compiled for what they hold, not evaluated */
	EsSchemaMembers defs;
	EsSchemaMembers definitions;
	EsSchemaNode *content_schema;
};

typedef struct EsSchema
{
	MemoryContext context;		/* holds all of it */
	Jsonb	   *source;
	EsSchemaNode *root;
	EsSchemaNode *nodes;		/* all, by next_node */
	EsSchemaNode *last_node;
	EsSchemaResource *resources;
	int			count;
	Size		pattern_size;	/* of the patterns, which are not all in the context */
} EsSchema;

static inline bool
es_schema_name_equal(EsSchemaName a, EsSchemaName b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* The order in which jsonb keeps the members of an object. */
static inline int
es_schema_name_compare(EsSchemaName a, EsSchemaName b)
{
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	return memcmp(a.data, b.data, a.len);
}

/* schema_value.c */
extern void es_json_root(Jsonb *document, JsonbValue *value);
extern bool es_json_is_object(const JsonbValue *value);
extern bool es_json_is_array(const JsonbValue *value);
extern JsonbIterator *es_json_walk(const JsonbValue *value);
extern int	es_json_compare_numbers(Numeric a, Numeric b);
extern bool es_json_has_type(const JsonbValue *value, uint8 types);
extern bool es_json_equal(const JsonbValue *a, const JsonbValue *b);
extern bool es_json_contains(JsonbContainer *array, const JsonbValue *value);
extern bool es_json_find_equal(const JsonbValue *array, uint32 *first, uint32 *second);

/* schema_compile.c */
extern EsSchema *es_schema_compile(Jsonb *source, MemoryContext parent);
extern void es_schema_add(EsSchema *schema, Jsonb *source);

/* schema_reference.c */
extern char *es_uri_resolve(const char *base, const char *reference);
extern void es_pointer_append(StringInfo pointer, const char *name, int len);
extern char *es_schema_node_pointer(const EsSchemaNode *node, const char *keyword);
pg_noreturn extern void es_schema_refuse(const EsSchemaNode *node, const char *keyword, const char *fmt,...) pg_attribute_printf(3, 4);
extern void es_schema_resolve(EsSchema *schema);
extern EsSchemaNode *es_schema_dynamic_anchor(const EsSchemaResource *resource, EsSchemaName name);

/* schema_metaschema.c */
extern const char *es_schema_metaschema;

/* schema_pattern.c */
extern EsSchemaPattern *es_schema_pattern_compile(EsSchemaName source, Size *size, const char **problem);
extern bool es_schema_pattern_matches(EsSchemaPattern *pattern, const char *string, int len);

/* schema_check.c */
extern bool es_schema_check(const EsSchema *schema, Jsonb *document, Jsonb **failures);

#endif							/* ES_SCHEMA_NODE_H */
