/*
 * schema_value.c
 *		What the validation of schemas asks of JSON values: type, equality.
 *
 * A value is a scalar, or an object or array in binary form.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "observe/schema_node.h"

/* The value of a whole document, pointing into it. */
void
es_json_root(Jsonb *document, JsonbValue *value)
{
	if (JsonbExtractScalar(&document->root, value))
		return;
	value->type = jbvBinary;
	value->val.binary.data = &document->root;
	value->val.binary.len = VARSIZE(document) - VARHDRSZ;
}

bool
es_json_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

bool
es_json_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

/* Begin to walk an object or array; its children come one by one, not entered. */
JsonbIterator *
es_json_walk(const JsonbValue *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(value->val.binary.data);
	JsonbValue	whole;

	(void) JsonbIteratorNext(&iterator, &whole, true);
	return iterator;
}

int
es_json_compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/* 1.0 is an integer. */
static bool
is_integer(Numeric number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(number))) == 0 ||
		DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(number))) == 0;
}

/* Is the value of one of the types, given as ES_TYPE bits? */
bool
es_json_has_type(const JsonbValue *value, uint8 types)
{
	switch (value->type)
	{
		case jbvNull:
			return types & ES_TYPE_NULL;
		case jbvBool:
			return types & ES_TYPE_BOOLEAN;
		case jbvNumeric:
			return (types & ES_TYPE_NUMBER) || ((types & ES_TYPE_INTEGER) && is_integer(value->val.numeric));
		case jbvString:
			return types & ES_TYPE_STRING;
		default:
			return types & (es_json_is_object(value) ? ES_TYPE_OBJECT : ES_TYPE_ARRAY);
	}
}

/* Numbers are compared as numbers: 1 equals 1.0. */
bool
es_json_equal(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvNumeric:
			return es_json_compare_numbers(a->val.numeric, b->val.numeric) == 0;
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
		default:
			return es_json_is_object(a) == es_json_is_object(b) &&
				compareJsonbContainers(a->val.binary.data, b->val.binary.data) == 0;
	}
}

/* Is the value equal to an item of the array? */
bool
es_json_contains(JsonbContainer *array, const JsonbValue *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(array);
	JsonbValue	item;
	bool		found = false;

	(void) JsonbIteratorNext(&iterator, &item, true);
	while (!found && JsonbIteratorNext(&iterator, &item, true) == WJB_ELEM)
		found = es_json_equal(&item, value);
	if (iterator != NULL)
		pfree(iterator);
	return found;
}

/* Equal values have equal hashes. */
static uint32
hash_value(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	part;
	uint32		hash = 0;

	if (value->type != jbvBinary)
	{
		JsonbHashScalarValue(value, &hash);
		return hash;
	}
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			JsonbHashScalarValue(&part, &hash);
		else
			hash = hash * 31 + token;
	}
	return hash;
}

typedef struct HashedItem
{
	uint32		hash;
	uint32		index;
	JsonbValue	value;
} HashedItem;

static int
compare_hashed(const void *a, const void *b)
{
	const HashedItem *x = a;
	const HashedItem *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

/* Has an array two equal items?  *first and *second are set to where they are. */
bool
es_json_find_equal(const JsonbValue *array, uint32 *first, uint32 *second)
{
	uint32		count = JsonContainerSize(array->val.binary.data);
	HashedItem *items;
	JsonbIterator *iterator;
	JsonbValue	value;
	bool		found = false;

	if (count < 2)
		return false;
	items = palloc_extended(mul_size(sizeof(HashedItem), count), MCXT_ALLOC_HUGE);
	iterator = es_json_walk(array);
	for (uint32 i = 0; JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM; i++)
	{
		CHECK_FOR_INTERRUPTS();
		items[i].hash = hash_value(&value);
		items[i].index = i;
		items[i].value = value;
	}
	qsort(items, count, sizeof(HashedItem), compare_hashed);
	for (uint32 i = 1; i < count && !found; i++)
	{
		/* equal ones are among those before it with the same hash */
		for (uint32 j = i; j > 0 && items[j - 1].hash == items[i].hash && !found; j--)
		{
			CHECK_FOR_INTERRUPTS();
			found = es_json_equal(&items[j - 1].value, &items[i].value);
			*first = items[j - 1].index;
			*second = items[i].index;
		}
	}
	pfree(items);
	return found;
}
