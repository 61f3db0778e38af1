/*
 * schema.c
 *		JSON Schema: schemas that this session remembers, and the SQL functions.
 *
 * A schema is compiled when it is first used and then kept, for a constraint
 * or a command meets the same one row after row.  Schemas are known by their
 * bytes; the last used stands first, and the last ones make room.  Nothing of
 * the user's runs while a schema is used, so none is dropped under one's hands.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "observe/schema.h"
#include "observe/schema_node.h"

/* Schemas kept, and the most memory each may have to be kept. */
#define MAX_KEPT		32
#define MAX_KEPT_SIZE	(512 * 1024)

static EsSchema *kept[MAX_KEPT];
static int	nkept = 0;

/* Move the schema at an index to the front. */
static EsSchema *
bring_forward(int index)
{
	EsSchema   *schema = kept[index];

	memmove(&kept[1], &kept[0], index * sizeof(EsSchema *));
	kept[0] = schema;
	return schema;
}

/*
 * The compiled form of a schema, valid until the next call of this.  One that
 * is too large to be kept goes with the current memory context.
 */
static EsSchema *
get_schema(Jsonb *source)
{
	EsSchema   *schema;

	for (int i = 0; i < nkept; i++)
		if (VARSIZE(kept[i]->source) == VARSIZE(source) && memcmp(kept[i]->source, source, VARSIZE(source)) == 0)
			return bring_forward(i);

	schema = es_schema_compile(source, CurrentMemoryContext);
	if (MemoryContextMemAllocated(schema->context, true) + schema->pattern_size > MAX_KEPT_SIZE)
		return schema;
	if (nkept == MAX_KEPT)
		MemoryContextDelete(kept[--nkept]->context);
	MemoryContextSetParent(schema->context, CacheMemoryContext);
	kept[nkept] = schema;
	return bring_forward(nkept++);
}

/*
 * Check a document in a memory context of its own.  failures, unless NULL, is
 * set in the caller's.
 */
static bool
check(Jsonb *source, Jsonb *document, Jsonb **failures)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "event_store schema check", ALLOCSET_DEFAULT_SIZES);
	bool		valid;

	MemoryContextSwitchTo(work);
	valid = es_schema_check(get_schema(source), document, failures);
	MemoryContextSwitchTo(caller);
	if (failures != NULL)
	{
		Jsonb	   *result = palloc(VARSIZE(*failures));

		memcpy(result, *failures, VARSIZE(*failures));
		*failures = result;
	}
	MemoryContextDelete(work);
	return valid;
}

/*
 * Does a document hold what a schema asks for?  Errors: 22023 if the schema is
 * none that can be obeyed, with a pointer to the keyword in the problem
 * document; 54000 and 54001 if schema or document are too large or too deep.
 */
bool
es_schema_is_valid(Jsonb *schema, Jsonb *document)
{
	return check(schema, document, NULL);
}

/*
 * Everything in a document that fails a schema: an array of {"detail": text,
 * "pointer": JSON Pointer as a URI fragment}, empty if it is valid, palloc'd.
 * Errors as es_schema_is_valid().
 */
Jsonb *
es_schema_validate(Jsonb *schema, Jsonb *document)
{
	Jsonb	   *failures;

	(void) check(schema, document, &failures);
	return failures;
}

PG_FUNCTION_INFO_V1(event_store_is_valid);
PG_FUNCTION_INFO_V1(event_store_validate);

Datum
event_store_is_valid(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(es_schema_is_valid(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1)));
}

Datum
event_store_validate(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(es_schema_validate(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1)));
}
