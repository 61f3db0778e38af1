/*
 * schema_check.c
 *		Does a document hold what a compiled schema asks for?
 *
 * The walk goes down schema and document together.  It either stops at the
 * first failure, or goes on and collects what fails; alternatives (anyOf,
 * oneOf, not, if, contains) are tried without collecting.  unevaluatedItems
 * and unevaluatedProperties need to know which children of a value other
 * keywords have looked at: that is noted in an Evaluated, only while a schema
 * that has one of the two is being checked.
 *
 * Memory is freed on the way, since a schema that names the same subschema
 * again and again may take exponential time; it can be cancelled at any point.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "observe/schema_node.h"

/* Failures are collected up to so many, or so many bytes. */
#define MAX_FAILURES		1000
#define MAX_FAILURE_BYTES	(1024 * 1024)

/* What a failure quotes from a schema is cut to so many bytes. */
#define MAX_QUOTE			200

/* A value of the document, and where it stands. */
typedef struct Place
{
	const struct Place *parent;
	EsSchemaName name;			/* of a member, none for an item */
	uint32		index;			/* of an item */
	bool		is_name;		/* the value is the name of a member, not its value */
	JsonbValue	value;
} Place;

/* The schemas that the walk is in, the innermost first: the dynamic scope. */
typedef struct Scope
{
	const struct Scope *outer;
	const EsSchemaNode *node;
	const Place *place;
} Scope;

/* Which children of a value have been evaluated; seen is NULL where the value has none. */
typedef struct Evaluated
{
	uint32		count;
	bool	   *seen;
} Evaluated;

typedef struct Failure
{
	char	   *detail;
	char	   *pointer;
} Failure;

typedef struct Check
{
	bool		collect;		/* go on after a failure */
	Failure    *failures;
	int			count;
	Size		bytes;
} Check;

/* Within a function that has c and ok: note a failure, and leave unless all are wanted. */
#define CHECK(test) \
	do { \
		if (!(test)) \
		{ \
			ok = false; \
			if (!c->collect) \
				goto done; \
		} \
	} while (0)

/* The same for a failure of the value itself; what describes it is made only if it is wanted. */
#define FAIL(...) CHECK(c->collect && fail(c, __VA_ARGS__))

static bool check_node(Check *c, const EsSchemaNode *node, const Place *place, const Scope *outer, Evaluated *evaluated);

static void
append_place(StringInfo pointer, const Place *place)
{
	check_stack_depth();
	if (place->parent == NULL)
		return;
	append_place(pointer, place->parent);
	if (place->name.data != NULL)
		es_pointer_append(pointer, place->name.data, place->name.len);
	else
		appendStringInfo(pointer, "/%u", place->index);
}

/* Collect a failure, once if several ways through the schema lead to it; returns false. */
static pg_attribute_printf(3, 4) bool
fail(Check *c, const Place *place, const char *fmt,...)
{
	StringInfoData pointer;
	StringInfoData detail;

	initStringInfo(&pointer);
	appendStringInfoChar(&pointer, '#');
	append_place(&pointer, place);

	initStringInfo(&detail);
	if (place->is_name)
		appendStringInfoString(&detail, "the name ");
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&detail, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&detail, needed);
	}
	for (int i = 0; i < c->count; i++)
		if (strcmp(c->failures[i].pointer, pointer.data) == 0 && strcmp(c->failures[i].detail, detail.data) == 0)
		{
			pfree(pointer.data);
			pfree(detail.data);
			return false;
		}
	c->failures[c->count++] = (Failure) {detail.data, pointer.data};
	c->bytes += detail.len + pointer.len;
	if (c->count >= MAX_FAILURES || c->bytes >= MAX_FAILURE_BYTES)
		c->collect = false;
	return false;
}

/* Text for a message, cut if it is long. */
static char *
cut(char *text)
{
	int			len = strlen(text);

	if (len <= MAX_QUOTE)
		return text;
	return psprintf("%.*s...", pg_mbcliplen(text, len, MAX_QUOTE), text);
}

/* A name or a pattern likewise, quoted. */
static char *
quote(EsSchemaName name)
{
	return psprintf("\"%s\"", cut(pnstrdup(name.data, name.len)));
}

static char *
number_text(Numeric number)
{
	return cut(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number))));
}

/* The values that enum allows, as JSON. */
static char *
choices_text(JsonbContainer *choices)
{
	return cut(JsonbToCString(NULL, choices, VARHDRSZ));
}


static char *
types_text(uint8 types)
{
	static const char *const names[] = {"null", "boolean", "object", "array", "number", "string", "integer"};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(names); i++)
		if (types & (1 << i))
			appendStringInfo(&text, "%s%s", text.len > 0 ? " or " : "", names[i]);
	return text.data;
}

static Evaluated
new_evaluated(const JsonbValue *value)
{
	Evaluated	result = {0};

	if (value->type == jbvBinary)
	{
		result.count = JsonContainerSize(value->val.binary.data);
		result.seen = palloc0(Max(result.count, 1));
	}
	return result;
}

static void
free_evaluated(Evaluated *evaluated)
{
	if (evaluated->seen != NULL)
		pfree(evaluated->seen);
}

static void
merge_evaluated(Evaluated *into, const Evaluated *from)
{
	for (uint32 i = 0; i < from->count; i++)
		into->seen[i] |= from->seen[i];
}

/* Does the value at place match?  Nothing is collected; what is evaluated counts only if it does. */
static bool
matches(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	bool		collect = c->collect;
	Evaluated	own;
	bool		result;

	c->collect = false;
	if (evaluated == NULL)
		result = check_node(c, node, place, scope, NULL);
	else
	{
		own = new_evaluated(&place->value);
		result = check_node(c, node, place, scope, &own);
		if (result)
			merge_evaluated(evaluated, &own);
		free_evaluated(&own);
	}
	c->collect = collect;
	return result;
}

/*
 * Go where a reference leads.  The same schema for the same value a second
 * time, below itself, would go on for ever: nothing has changed in between.
 */
static bool
check_reference(Check *c, const EsSchemaNode *target, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	for (const Scope *s = scope; s != NULL && s->place == place; s = s->outer)
		if (s->node == target)
			es_schema_refuse(target, NULL, "refers to itself without going down into the document");
	return check_node(c, target, place, scope, evaluated);
}

/* $dynamicRef leads to the outermost schema in scope that has the anchor. */
static const EsSchemaNode *
dynamic_target(const EsSchemaNode *node, const Scope *scope)
{
	const EsSchemaNode *target = node->dynamic_ref;

	if (node->dynamic_name.data == NULL)
		return target;
	for (; scope != NULL; scope = scope->outer)
	{
		const EsSchemaNode *found;

		if (scope->outer != NULL && scope->outer->node->resource == scope->node->resource)
			continue;
		found = es_schema_dynamic_anchor(scope->node->resource, node->dynamic_name);
		if (found != NULL)
			target = found;
	}
	return target;
}

/* Is it not plain at first sight that the value is meant for another alternative than this? */
static bool
is_plausible(const EsSchemaNode *node, const JsonbValue *value)
{
	/* references do not loop */
	for (; node != NULL; node = node->ref)
	{
		if (node->never || (node->types != 0 && !es_json_has_type(value, node->types)) ||
			(node->constant != NULL && !es_json_equal(node->constant, value)) ||
			(node->choices != NULL && !es_json_contains(node->choices, value)))
			return false;
		for (int i = 0; i < node->properties.count && es_json_is_object(value); i++)
		{
			const EsSchemaMember *member = &node->properties.members[i];
			JsonbValue	found;

			if (member->node->constant != NULL &&
				getKeyJsonValueFromContainer(value->val.binary.data, member->name.data, member->name.len, &found) != NULL &&
				!es_json_equal(member->node->constant, &found))
				return false;
		}
	}
	return true;
}

/*
 * Collect why a value matches none of several schemas: the failures of the one
 * that is plausible, or one failure that says no more if that is not one.
 */
static void
fail_alternatives(Check *c, const EsSchemaNodes *alternatives, const char *keyword, const Place *place,
				  const Scope *scope, Evaluated *evaluated)
{
	const EsSchemaNode *chosen = NULL;
	int			plausible = 0;

	for (int i = 0; i < alternatives->count; i++)
		if (is_plausible(alternatives->nodes[i], &place->value))
		{
			chosen = alternatives->nodes[i];
			plausible++;
		}
	if (plausible == 1)
		(void) check_node(c, chosen, place, scope, evaluated);
	else
	{
		(void) fail(c, place, "matches none of the %d schemas of %s", alternatives->count, keyword);
		/* what would have been evaluated is not known, and must not be called unevaluated */
		if (evaluated != NULL)
			memset(evaluated->seen, true, evaluated->count);
	}
}

/* Keywords that apply other schemas to the same value. */
static bool
check_in_place(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	bool		ok = true;

	if (node->ref != NULL)
		CHECK(check_reference(c, node->ref, place, scope, evaluated));
	if (node->dynamic_ref != NULL)
		CHECK(check_reference(c, dynamic_target(node, scope), place, scope, evaluated));
	for (int i = 0; i < node->all_of.count; i++)
		CHECK(check_node(c, node->all_of.nodes[i], place, scope, evaluated));
	if (node->any_of.count > 0)
	{
		bool		any = false;

		for (int i = 0; i < node->any_of.count && (!any || evaluated != NULL); i++)
			any |= matches(c, node->any_of.nodes[i], place, scope, evaluated);
		if (!any && c->collect)
			fail_alternatives(c, &node->any_of, "anyOf", place, scope, evaluated);
		CHECK(any);
	}
	if (node->one_of.count > 0)
	{
		int			n = 0;

		for (int i = 0; i < node->one_of.count && (n <= 1 || c->collect); i++)
			n += matches(c, node->one_of.nodes[i], place, scope, evaluated);
		if (n == 0 && c->collect)
			fail_alternatives(c, &node->one_of, "oneOf", place, scope, evaluated);
		CHECK(n > 0);
		if (n > 1)
			FAIL(place, "matches %d of the %d schemas of oneOf, not exactly one", n, node->one_of.count);
	}
	if (node->not != NULL && matches(c, node->not, place, scope, NULL))
		FAIL(place, "matches what it must not");
	if (node->if_ != NULL)
	{
		const EsSchemaNode *next = matches(c, node->if_, place, scope, evaluated) ? node->then : node->else_;

		if (next != NULL)
			CHECK(check_node(c, next, place, scope, evaluated));
	}
	for (int i = 0; i < node->dependent_schemas.count && es_json_is_object(&place->value); i++)
	{
		const EsSchemaMember *member = &node->dependent_schemas.members[i];
		JsonbValue	found;

		if (getKeyJsonValueFromContainer(place->value.val.binary.data, member->name.data, member->name.len, &found) != NULL)
			CHECK(check_node(c, member->node, place, scope, evaluated));
	}
done:
	return ok;
}

static bool
check_number(Check *c, const EsSchemaNode *node, const Place *place)
{
	Numeric		number = place->value.val.numeric;
	bool		ok = true;

	if (node->maximum != NULL && es_json_compare_numbers(number, node->maximum) > 0)
		FAIL(place, "is greater than %s", number_text(node->maximum));
	if (node->exclusive_maximum != NULL && es_json_compare_numbers(number, node->exclusive_maximum) >= 0)
		FAIL(place, "is not less than %s", number_text(node->exclusive_maximum));
	if (node->minimum != NULL && es_json_compare_numbers(number, node->minimum) < 0)
		FAIL(place, "is less than %s", number_text(node->minimum));
	if (node->exclusive_minimum != NULL && es_json_compare_numbers(number, node->exclusive_minimum) <= 0)
		FAIL(place, "is not greater than %s", number_text(node->exclusive_minimum));
	if (node->multiple_of != NULL)
	{
		Numeric		rest = DatumGetNumeric(DirectFunctionCall2(numeric_mod, NumericGetDatum(number),
															   NumericGetDatum(node->multiple_of)));
		Numeric		zero = int64_to_numeric(0);
		bool		multiple = es_json_compare_numbers(rest, zero) == 0;

		pfree(rest);
		pfree(zero);
		if (!multiple)
			FAIL(place, "is not a multiple of %s", number_text(node->multiple_of));
	}
done:
	return ok;
}

static bool
check_string(Check *c, const EsSchemaNode *node, const Place *place)
{
	const char *string = place->value.val.string.val;
	int			len = place->value.val.string.len;
	bool		ok = true;

	if (node->max_length < PG_INT64_MAX || node->min_length > 0)
	{
		int			characters = pg_mbstrlen_with_len(string, len);

		if (characters > node->max_length)
			FAIL(place, "has %d characters, more than " INT64_FORMAT, characters, node->max_length);
		if (characters < node->min_length)
			FAIL(place, "has %d characters, fewer than " INT64_FORMAT, characters, node->min_length);
	}
	if (node->pattern != NULL && !es_schema_pattern_matches(node->pattern, string, len))
		FAIL(place, "does not match the pattern %s", quote(node->pattern_text));
done:
	return ok;
}

static bool
check_array(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	uint32		count = JsonContainerSize(place->value.val.binary.data);
	JsonbIterator *iterator = NULL;
	Place		item = {.parent = place};
	int64		contained = 0;
	uint32		first,
				second;
	bool		ok = true;

	if (count > node->max_items)
		FAIL(place, "has %u items, more than " INT64_FORMAT, count, node->max_items);
	if (count < node->min_items)
		FAIL(place, "has %u items, fewer than " INT64_FORMAT, count, node->min_items);
	if (node->unique_items && es_json_find_equal(&place->value, &first, &second))
		FAIL(place, "has equal items at %u and %u", first, second);
	if (node->prefix_items.count == 0 && node->items == NULL && node->contains == NULL)
		return ok;

	iterator = es_json_walk(&place->value);
	while (JsonbIteratorNext(&iterator, &item.value, true) == WJB_ELEM)
	{
		const EsSchemaNode *schema = item.index < node->prefix_items.count ? node->prefix_items.nodes[item.index] : node->items;

		if (schema != NULL)
		{
			CHECK(check_node(c, schema, &item, scope, NULL));
			if (evaluated != NULL)
				evaluated->seen[item.index] = true;
		}
		if (node->contains != NULL && matches(c, node->contains, &item, scope, NULL))
		{
			contained++;
			if (evaluated != NULL)
				evaluated->seen[item.index] = true;
		}
		item.index++;
	}
	if (node->contains != NULL)
	{
		if (contained < node->min_contains)
			FAIL(place, "has " INT64_FORMAT " items that match contains, fewer than " INT64_FORMAT, contained, node->min_contains);
		if (contained > node->max_contains)
			FAIL(place, "has " INT64_FORMAT " items that match contains, more than " INT64_FORMAT, contained, node->max_contains);
	}
done:
	if (iterator != NULL)
		pfree(iterator);
	return ok;
}

/* The members of an object, one by one; required and properties are in the same order as they. */
static bool
check_members(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	JsonbIterator *iterator = es_json_walk(&place->value);
	Place		member = {.parent = place};
	int			required = 0;
	int			property = 0;
	JsonbValue	key;
	bool		ok = true;

	for (uint32 i = 0; JsonbIteratorNext(&iterator, &key, true) == WJB_KEY; i++)
	{
		bool		matched = false;

		member.name = (EsSchemaName) {key.val.string.val, key.val.string.len};
		(void) JsonbIteratorNext(&iterator, &member.value, true);

		while (required < node->required.count)
		{
			int			order = es_schema_name_compare(node->required.names[required], member.name);

			if (order > 0)
				break;
			if (order < 0)
				FAIL(place, "lacks the member %s", quote(node->required.names[required]));
			required++;
		}
		while (property < node->properties.count &&
			   es_schema_name_compare(node->properties.members[property].name, member.name) < 0)
			property++;
		if (property < node->properties.count &&
			es_schema_name_equal(node->properties.members[property].name, member.name))
		{
			matched = true;
			CHECK(check_node(c, node->properties.members[property].node, &member, scope, NULL));
		}
		for (int j = 0; j < node->pattern_properties.count; j++)
		{
			const EsSchemaMember *candidate = &node->pattern_properties.members[j];

			if (!es_schema_pattern_matches(candidate->pattern, member.name.data, member.name.len))
				continue;
			matched = true;
			CHECK(check_node(c, candidate->node, &member, scope, NULL));
		}
		if (!matched && node->additional_properties != NULL)
		{
			matched = true;
			CHECK(check_node(c, node->additional_properties, &member, scope, NULL));
		}
		if (matched && evaluated != NULL)
			evaluated->seen[i] = true;
		if (node->property_names != NULL)
		{
			Place		name = member;

			name.is_name = true;
			name.value = key;
			CHECK(check_node(c, node->property_names, &name, scope, NULL));
		}
	}
	for (; required < node->required.count; required++)
		FAIL(place, "lacks the member %s", quote(node->required.names[required]));
done:
	if (iterator != NULL)
		pfree(iterator);
	return ok;
}

static bool
check_object(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	JsonbContainer *object = place->value.val.binary.data;
	uint32		count = JsonContainerSize(object);
	JsonbValue	found;
	bool		ok = true;

	if (count > node->max_properties)
		FAIL(place, "has %u members, more than " INT64_FORMAT, count, node->max_properties);
	if (count < node->min_properties)
		FAIL(place, "has %u members, fewer than " INT64_FORMAT, count, node->min_properties);
	if (node->properties.count > 0 || node->pattern_properties.count > 0 || node->additional_properties != NULL ||
		node->property_names != NULL || node->required.count > 0)
		CHECK(check_members(c, node, place, scope, evaluated));
	for (int i = 0; i < node->dependent_required.count; i++)
	{
		const EsSchemaMember *member = &node->dependent_required.members[i];

		if (getKeyJsonValueFromContainer(object, member->name.data, member->name.len, &found) == NULL)
			continue;
		for (int j = 0; j < member->required.count; j++)
			if (getKeyJsonValueFromContainer(object, member->required.names[j].data, member->required.names[j].len, &found) == NULL)
				FAIL(place, "lacks the member %s, which %s needs", quote(member->required.names[j]), quote(member->name));
	}
done:
	return ok;
}

/* unevaluatedItems or unevaluatedProperties: the children that nothing else has looked at. */
static bool
check_unevaluated(Check *c, const EsSchemaNode *node, const Place *place, const Scope *scope, Evaluated *evaluated)
{
	bool		object = es_json_is_object(&place->value);
	const EsSchemaNode *schema = object ? node->unevaluated_properties : node->unevaluated_items;
	JsonbIterator *iterator = NULL;
	Place		child = {.parent = place};
	bool		ok = true;

	if (schema == NULL)
		return true;
	iterator = es_json_walk(&place->value);
	for (; JsonbIteratorNext(&iterator, &child.value, true) != (object ? WJB_END_OBJECT : WJB_END_ARRAY); child.index++)
	{
		if (object)
		{
			child.name = (EsSchemaName) {child.value.val.string.val, child.value.val.string.len};
			(void) JsonbIteratorNext(&iterator, &child.value, true);
		}
		if (!evaluated->seen[child.index])
		{
			evaluated->seen[child.index] = true;
			CHECK(check_node(c, schema, &child, scope, NULL));
		}
	}
done:
	if (iterator != NULL)
		pfree(iterator);
	return ok;
}

/*
 * Check one value against one schema.  evaluated, unless NULL, is that of the
 * value and is added to, also where the schema fails: then the schemas around
 * it fail as well, or, in matches(), forget what was added.
 */
static bool
check_node(Check *c, const EsSchemaNode *node, const Place *place, const Scope *outer, Evaluated *evaluated)
{
	const JsonbValue *value = &place->value;
	Scope		scope = {outer, node, place};
	Evaluated	own = {0};
	Evaluated  *around = evaluated;
	bool		ok = true;

	if (node->never)
		return c->collect && fail(c, place, "is not allowed");
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	/* it sees what its own keywords evaluate, not what those around it do */
	if (node->has_unevaluated && value->type == jbvBinary)
	{
		own = new_evaluated(value);
		evaluated = &own;
	}

	if (node->types != 0 && !es_json_has_type(value, node->types))
		FAIL(place, "is not of type %s", types_text(node->types));
	if (node->constant != NULL && !es_json_equal(node->constant, value))
		FAIL(place, "is not the value that const gives");
	if (node->choices != NULL && !es_json_contains(node->choices, value))
		FAIL(place, "is none of %s", choices_text(node->choices));

	if (node->has_number && value->type == jbvNumeric)
		CHECK(check_number(c, node, place));
	else if (node->has_string && value->type == jbvString)
		CHECK(check_string(c, node, place));
	else if (node->has_array && es_json_is_array(value))
		CHECK(check_array(c, node, place, &scope, evaluated));
	else if (node->has_object && es_json_is_object(value))
		CHECK(check_object(c, node, place, &scope, evaluated));
	CHECK(check_in_place(c, node, place, &scope, evaluated));

	if (evaluated == &own)
	{
		CHECK(check_unevaluated(c, node, place, &scope, &own));
		if (around != NULL)
			merge_evaluated(around, &own);
	}
done:
	free_evaluated(&own);
	return ok;
}

static void
push_member(JsonbParseState **state, const char *name, char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static Jsonb *
failures_as_json(const Check *c)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < c->count; i++)
	{
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_member(&state, "detail", c->failures[i].detail);
		push_member(&state, "pointer", c->failures[i].pointer);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/*
 * Check a document.  failures NULL: is it valid?  Else all failures as a JSON
 * array, palloc'd, are put there, empty if it is.  Errors: 22023 if the schema
 * turns out to loop, 54001 if they are nested too deep, 54000 if a pattern is
 * too much for the server.
 */
bool
es_schema_check(const EsSchema *schema, Jsonb *document, Jsonb **failures)
{
	Check		c = {.collect = failures != NULL};
	Place		place = {0};
	bool		valid;

	es_json_root(document, &place.value);
	if (failures != NULL)
		c.failures = palloc(sizeof(Failure) * MAX_FAILURES);
	valid = check_node(&c, schema->root, &place, NULL, NULL);
	if (failures != NULL)
		*failures = failures_as_json(&c);
	return valid;
}
