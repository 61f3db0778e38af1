/*
 * schema_reference.c
 *		URIs, JSON Pointers, and where the references of a schema lead.
 *
 * Nothing is ever fetched.  A reference leads to an $id within the schema, or
 * to the metaschema of the draft, which is built in; else it is refused.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "observe/schema_node.h"

#define METASCHEMA	"https://json-schema.org/draft/2020-12/"

/* The parts of a URI reference without a fragment (RFC 3986, appendix B). */
typedef struct Uri
{
	EsSchemaName scheme;		/* with its colon */
	EsSchemaName authority;		/* with its slashes */
	EsSchemaName path;
	EsSchemaName query;			/* with its question mark */
} Uri;

static Uri
uri_parse(const char *text)
{
	Uri			uri = {0};
	size_t		n = 0;

	while (isalnum((unsigned char) text[n]) || (text[n] != '\0' && strchr("+-.", text[n]) != NULL))
		n++;
	if (n > 0 && text[n] == ':' && isalpha((unsigned char) text[0]))
	{
		uri.scheme = (EsSchemaName) {text, n + 1};
		text += n + 1;
	}
	if (strncmp(text, "//", 2) == 0)
	{
		n = 2 + strcspn(text + 2, "/?");
		uri.authority = (EsSchemaName) {text, n};
		text += n;
	}
	n = strcspn(text, "?");
	uri.path = (EsSchemaName) {text, n};
	if (text[n] == '?')
		uri.query = (EsSchemaName) {text + n, strlen(text + n)};
	return uri;
}

static void
append_name(StringInfo buffer, EsSchemaName name)
{
	if (name.len > 0)
		appendBinaryStringInfo(buffer, name.data, name.len);
}

/* RFC 3986, 5.2.4, onto what the buffer holds. */
static void
append_without_dots(StringInfo buffer, const char *path)
{
	int			start = buffer->len;

	while (*path != '\0')
	{
		size_t		n;

		if (strncmp(path, "../", 3) == 0)
			path += 3;
		else if (strncmp(path, "./", 2) == 0 || strncmp(path, "/./", 3) == 0)
			path += 2;
		else if (strcmp(path, "/.") == 0 || strcmp(path, "/..") == 0 || strncmp(path, "/../", 4) == 0)
		{
			bool		up = path[2] == '.';

			while (up && buffer->len > start && buffer->data[--buffer->len] != '/')
				;
			buffer->data[buffer->len] = '\0';
			path += up ? 3 : 2;
			if (*path == '\0')
				path = "/";
			if (strcmp(path, "/") == 0)
			{
				appendStringInfoChar(buffer, '/');
				break;
			}
		}
		else if (strcmp(path, ".") == 0 || strcmp(path, "..") == 0)
			break;
		else
		{
			n = 1 + strcspn(path + 1, "/");
			appendBinaryStringInfo(buffer, path, n);
			path += n;
		}
	}
}

/*
 * A URI reference without a fragment, resolved against a base, palloc'd
 * (RFC 3986, 5.2).  Where there is no base, "", a relative one stays as it is.
 */
char *
es_uri_resolve(const char *base, const char *reference)
{
	Uri			b = uri_parse(base);
	Uri			r = uri_parse(reference);
	Uri			t = r;
	StringInfoData path;
	StringInfoData result;

	initStringInfo(&path);
	if (r.scheme.len == 0)
	{
		t.scheme = b.scheme;
		if (r.authority.len == 0)
		{
			t.authority = b.authority;
			if (r.path.len == 0)
			{
				t.path = b.path;
				if (r.query.len == 0)
					t.query = b.query;
			}
			else if (r.path.data[0] != '/')
			{
				int			n = b.path.len;

				while (n > 0 && b.path.data[n - 1] != '/')
					n--;
				append_name(&path, (EsSchemaName) {b.path.data, n});
				if (n == 0 && b.authority.len > 0)
					appendStringInfoChar(&path, '/');
			}
		}
	}
	append_name(&path, t.path);

	initStringInfo(&result);
	append_name(&result, t.scheme);
	append_name(&result, t.authority);
	append_without_dots(&result, path.data);
	append_name(&result, t.query);
	return result.data;
}

/*
 * Append "/" and a name to a JSON Pointer in the form for URI fragments
 * (RFC 6901, 6): what a fragment cannot hold is written as the bytes of UTF-8
 * in hexadecimal.
 */
void
es_pointer_append(StringInfo pointer, const char *name, int len)
{
	const char *utf8 = pg_server_to_any(name, len, PG_UTF8);

	if (utf8 != name)
		len = strlen(utf8);
	appendStringInfoChar(pointer, '/');
	for (int i = 0; i < len; i++)
	{
		unsigned char c = utf8[i];

		if (c == '~')
			appendStringInfoString(pointer, "~0");
		else if (c == '/')
			appendStringInfoString(pointer, "~1");
		else if (c < 0x80 && (isalnum(c) || strchr("-._!$&'()*+,;=:@?", c) != NULL))
			appendStringInfoChar(pointer, c);
		else
			appendStringInfo(pointer, "%%%02X", c);
	}
}

static void
append_node(StringInfo pointer, const EsSchemaNode *node)
{
	check_stack_depth();
	if (node->parent == NULL)
		return;
	append_node(pointer, node->parent);
	es_pointer_append(pointer, node->keyword, strlen(node->keyword));
	if (node->name.data != NULL)
		es_pointer_append(pointer, node->name.data, node->name.len);
	else if (node->index >= 0)
		appendStringInfo(pointer, "/%d", node->index);
}

/* Where a node, or a keyword of it, stands in the schema, palloc'd. */
char *
es_schema_node_pointer(const EsSchemaNode *node, const char *keyword)
{
	StringInfoData pointer;

	initStringInfo(&pointer);
	appendStringInfoChar(&pointer, '#');
	append_node(&pointer, node);
	if (keyword != NULL)
		es_pointer_append(&pointer, keyword, strlen(keyword));
	return pointer.data;
}

/* Refuse the schema for what a keyword of a node is, or for the node itself if keyword is NULL. */
void
es_schema_refuse(const EsSchemaNode *node, const char *keyword, const char *fmt,...)
{
	char	   *pointer = es_schema_node_pointer(node, keyword);
	StringInfoData what;

	initStringInfo(&what);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&what, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&what, needed);
	}
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("pointer", pointer)),
						"the schema at %s %s", pointer, what.data),
			 errhint("Schemas are of JSON Schema draft 2020-12; the manual lists the keywords.")));
}

/* Decode %XX in place; false if a per cent sign stands for nothing, or for a zero byte. */
static bool
percent_decode(char *text)
{
	char	   *to = text;

	for (; *text != '\0'; text++)
	{
		if (*text == '%')
		{
			char		hex[3] = {0};

			if (!isxdigit((unsigned char) text[1]) || !isxdigit((unsigned char) text[2]))
				return false;
			memcpy(hex, text + 1, 2);
			*to = (char) strtol(hex, NULL, 16);
			if (*to++ == '\0')
				return false;
			text += 2;
		}
		else
			*to++ = *text;
	}
	*to = '\0';
	return true;
}

/* Cut the next name off a JSON Pointer, decoded; false if it is malformed. */
static bool
next_token(char **pointer, EsSchemaName *token)
{
	char	   *from = *pointer + 1;
	char	   *to = from;

	token->data = from;
	for (; *from != '\0' && *from != '/'; from++)
	{
		if (*from == '~')
		{
			from++;
			if (*from != '0' && *from != '1')
				return false;
			*to++ = *from == '0' ? '~' : '/';
		}
		else
			*to++ = *from;
	}
	token->len = to - token->data;
	*pointer = from;
	return true;
}

/* The subschema that a JSON Pointer names, NULL if it names none. */
static EsSchemaNode *
follow_pointer(EsSchemaNode *node, char *pointer)
{
	EsSchemaName keyword;
	EsSchemaName name;

	while (node != NULL && *pointer != '\0')
	{
		EsSchemaNode *child;

		CHECK_FOR_INTERRUPTS();
		if (!next_token(&pointer, &keyword))
			return NULL;
		/* whether there is a second token depends on the keyword */
		for (child = node->first_child; child != NULL; child = child->next_child)
			if (es_schema_name_equal(keyword, (EsSchemaName) {child->keyword, strlen(child->keyword)}))
				break;
		if (child != NULL && (child->name.data != NULL || child->index >= 0))
		{
			if (*pointer == '\0' || !next_token(&pointer, &name))
				return NULL;
			for (; child != NULL; child = child->next_child)
			{
				char		index[12];

				if (!es_schema_name_equal(keyword, (EsSchemaName) {child->keyword, strlen(child->keyword)}))
					continue;
				snprintf(index, sizeof(index), "%d", child->index);
				if (child->name.data != NULL ? es_schema_name_equal(name, child->name) :
					es_schema_name_equal(name, (EsSchemaName) {index, strlen(index)}))
					break;
			}
		}
		node = child;
	}
	return node;
}

static EsSchemaNode *
find_anchor(const EsSchemaResource *resource, EsSchemaName name, bool dynamic)
{
	for (const EsSchemaAnchor *anchor = resource->anchors; anchor != NULL; anchor = anchor->next)
		if ((anchor->dynamic || !dynamic) && es_schema_name_equal(anchor->name, name))
			return anchor->node;
	return NULL;
}

/* The node of the resource that has this $dynamicAnchor, NULL if none. */
EsSchemaNode *
es_schema_dynamic_anchor(const EsSchemaResource *resource, EsSchemaName name)
{
	return find_anchor(resource, name, true);
}

static EsSchemaResource *
find_resource(EsSchema *schema, const char *uri)
{
	for (EsSchemaResource *resource = schema->resources; resource != NULL; resource = resource->next)
		if (strcmp(resource->uri, uri) == 0)
			return resource;
	return NULL;
}

/*
 * Where a reference leads.  *anchor is set to the name if it leads there by a
 * $dynamicAnchor.
 */
static EsSchemaNode *
resolve(EsSchema *schema, EsSchemaNode *node, const char *keyword, EsSchemaName reference, EsSchemaName *anchor)
{
	char	   *text = pnstrdup(reference.data, reference.len);
	char	   *fragment = strchr(text, '#');
	char	   *uri;
	EsSchemaResource *resource;
	EsSchemaNode *target;

	if (fragment != NULL)
		*fragment++ = '\0';
	else
		fragment = text + reference.len;
	uri = es_uri_resolve(node->resource->uri, text);
	resource = find_resource(schema, uri);
	if (resource == NULL && strncmp(uri, METASCHEMA, strlen(METASCHEMA)) == 0)
	{
		es_schema_add(schema, DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(es_schema_metaschema))));
		resource = find_resource(schema, uri);
	}
	if (resource == NULL)
		es_schema_refuse(node, keyword, "leads to %s, which is no $id in the schema, and nothing is fetched", uri);

	if (!percent_decode(fragment) || !pg_verify_mbstr(PG_UTF8, fragment, strlen(fragment), true))
		es_schema_refuse(node, keyword, "is not a URI");
	if (*fragment == '\0')
		target = resource->root;
	else
	{
		fragment = pg_any_to_server(fragment, strlen(fragment), PG_UTF8);
		if (*fragment == '/')
			target = follow_pointer(resource->root, fragment);
		else
		{
			EsSchemaName name = {fragment, strlen(fragment)};

			target = find_anchor(resource, name, false);
			if (es_schema_dynamic_anchor(resource, name) != NULL)
				*anchor = name;
		}
	}
	if (target == NULL)
		es_schema_refuse(node, keyword, "leads to no schema");
	return target;
}

/*
 * Refuse a schema that leads back to itself for the same value, which no
 * document would ever be done with.  Where $dynamicRef leads is known only
 * when a document is checked, so that its loops are found there.
 */
static void
refuse_loops(EsSchemaNode *node)
{
	EsSchemaNode *const single[] = {node->ref, node->not, node->if_, node->then, node->else_};
	const EsSchemaNodes *const lists[] = {&node->all_of, &node->any_of, &node->one_of};

	if (node->loop_state == ES_NODE_DONE)
		return;
	if (node->loop_state == ES_NODE_ENTERED)
		es_schema_refuse(node, NULL, "refers to itself without going down into the document");
	check_stack_depth();
	node->loop_state = ES_NODE_ENTERED;
	for (int i = 0; i < lengthof(single); i++)
		if (single[i] != NULL)
			refuse_loops(single[i]);
	for (int i = 0; i < lengthof(lists); i++)
		for (int j = 0; j < lists[i]->count; j++)
			refuse_loops(lists[i]->nodes[j]);
	for (int i = 0; i < node->dependent_schemas.count; i++)
		refuse_loops(node->dependent_schemas.members[i].node);
	node->loop_state = ES_NODE_DONE;
}

/*
 * Set where the references of all nodes lead, and refuse loops.  The list of
 * nodes may grow meanwhile, by those of the metaschema.
 */
void
es_schema_resolve(EsSchema *schema)
{
	for (EsSchemaNode *node = schema->nodes; node != NULL; node = node->next_node)
	{
		EsSchemaName none = {NULL, 0};

		CHECK_FOR_INTERRUPTS();
		if (node->ref_text.data != NULL)
			node->ref = resolve(schema, node, "$ref", node->ref_text, &none);
		if (node->dynamic_ref_text.data != NULL)
			node->dynamic_ref = resolve(schema, node, "$dynamicRef", node->dynamic_ref_text, &node->dynamic_name);
	}
	for (EsSchemaNode *node = schema->nodes; node != NULL; node = node->next_node)
		refuse_loops(node);
}
