/*
 * handler_register.c
 *		Registering event handlers.
 *
 * Owns the table handler_registry.  A handler of one store is registered by
 * whoever owns the store, one of all tenants by the owner of the database: its
 * functions run as that role, and how far it has come stands in tables of the
 * store.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "deliver/handler_operate.h"
#include "deliver/handler_register.h"
#include "deliver/handler_task.h"
#include "deliver/projection.h"
#include "model/apply.h"
#include "model/registry.h"
#include "store/tenant.h"

#define MAX_CONCURRENCY		64
#define MAX_BATCH			10000

static void
bad_argument(const char *argument, const char *problem, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", argument)), "%s", problem),
			 errhint("%s", hint)));
}

/* The signature, to be stored, of a function of this shape that the caller may execute. */
Datum
es_handler_signature(const char *name, EsFunctionShape shape)
{
	Oid			function = es_handler_function(name, shape);

	if (!es_may_execute(function, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"permission denied for function %s", format_procedure(function)),
				 errhint("Its owner must grant EXECUTE on it.")));
	return CStringGetTextDatum(es_apply_signature(function));
}

/* Is it origin, current or a position? */
void
es_handler_check_start(const char *start_from)
{
	if (strcmp(start_from, "origin") != 0 && strcmp(start_from, "current") != 0 &&
		(strlen(start_from) == 0 || strlen(start_from) > 18 || strspn(start_from, "0123456789") != strlen(start_from)))
		bad_argument("start_from", psprintf("start_from \"%s\" is unknown", start_from),
					 "Use origin, current, or the position after which to begin.");
}

/* A table that a name stands for, which the caller may empty. */
static void
check_table(const char *name)
{
	RangeVar   *table = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid			relid = RangeVarGetRelid(table, NoLock, true);

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_RELATION)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_TABLE, ES_MEMBERS(ES_TEXT("table", name)), "there is no table \"%s\"", name),
				 errhint("Name the tables that the handler fills.")));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_TRUNCATE) != ACLCHECK_OK)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("table", name)),
							"permission denied to empty table \"%s\"", name),
				 errhint("Its owner must grant TRUNCATE on it.")));
}

/* Refuse an array with nulls. */
static void
check_names(Datum array, const char *argument, bool tables)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			bad_argument(argument, psprintf("element %d of %s is null", i, argument), "Leave it out.");
		if (tables)
			check_table(TextDatumGetCString(elements[i]));
	}
}

/* The store number that a registration is for; null for all tenants.  Checks the caller's right. */
static Datum
store_number_datum(const char *name, const char *tenant, bool *isnull)
{
	EsStore    *store;

	*isnull = false;
	if (tenant != NULL && strcmp(tenant, "*") == 0)
	{
		if (!es_owns_database(MyDatabaseId, GetUserId()))
			ereport(ERROR,
					(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("handler", name)),
								"permission denied to register handler \"%s\" for all tenants", name),
					 errhint("This is for the owner of the database.")));
		*isnull = true;
		return (Datum) 0;
	}
	if (tenant != NULL)
	{
		EsTenant	found;

		es_tenant_get(tenant, &found);
		store = es_store_of_schema(found.nspid);
		if (store != es_store_current(true))
			bad_argument("tenant", psprintf("tenant \"%s\" is not the one in use", tenant),
						 "Switch to it with event_store.tenant_use() first, or pass * for all tenants.");
	}
	else
		store = es_store_current(false);
	es_store_require_owner(store);
	return Int64GetDatum(store->number);
}

/* The next number of a registration, which are executed in this order if they are inline. */
static int64
next_number(Relation registry)
{
	SysScanDesc scan = systable_beginscan(registry, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int64		last = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		last = Max(last, DatumGetInt64(heap_getattr(tuple, HANDLER_NUMBER + 1, RelationGetDescr(registry), &isnull)));
	}
	systable_endscan(scan);
	return last + 1;
}

/* Refuse to change what the checkpoints there are depend on. */
static void
check_change(Relation registry, HeapTuple old, const char *name, const Datum *values, const bool *nulls)
{
	static const int fixed[] = {HANDLER_KIND, HANDLER_CONCURRENCY, HANDLER_STORE_NUMBER, HANDLER_PARTITION_BY};
	Datum		before[HANDLER_NCOLUMNS];
	bool		before_nulls[HANDLER_NCOLUMNS];

	heap_deform_tuple(old, RelationGetDescr(registry), before, before_nulls);
	for (int i = 0; i < lengthof(fixed); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(registry), fixed[i]);
		bool		same = before_nulls[fixed[i]] == nulls[fixed[i]];

		if (same && !nulls[fixed[i]])
			same = att->attbyval ? before[fixed[i]] == values[fixed[i]] :
				strcmp(TextDatumGetCString(before[fixed[i]]), TextDatumGetCString(values[fixed[i]])) == 0;
		if (!same)
			ereport(ERROR,
					(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								ES_MEMBERS(ES_TEXT("handler", name), ES_TEXT("argument", NameStr(att->attname))),
								"the %s of handler \"%s\" cannot be changed", NameStr(att->attname), name),
					 errhint("How far it has come depends on that: register another one, or delete this one first.")));
	}
}

/*
 * Write a registration; values has every column but number, owner and
 * registered_at.  42710 if the name is taken and replace is false.  With
 * background, the workers of the server hand it its events.
 */
void
es_handler_register(const char *name, Datum *values, bool *nulls, bool replace, bool background)
{
	Relation	rel;
	HeapTuple	old;
	char	   *kind = TextDatumGetCString(values[HANDLER_KIND]);
	bool		stateless = strcmp(kind, es_handler_kind_name(ES_HANDLER_INLINE)) == 0 ||
		strcmp(kind, es_handler_kind_name(ES_HANDLER_LIVE)) == 0;

	rel = es_extension_open("handler_registry", ShareRowExclusiveLock);
	old = es_registry_row_to_change(rel, "handler", name, HANDLER_OWNER);
	if (old != NULL && !replace)
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("handler", name)),
							"handler \"%s\" is already registered", name),
				 errhint("Pass replace => true to change it.")));
	values[HANDLER_OWNER] = ObjectIdGetDatum(GetUserId());
	values[HANDLER_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	if (old != NULL)
	{
		bool		isnull;

		check_change(rel, old, name, values, nulls);
		values[HANDLER_NUMBER] = heap_getattr(old, HANDLER_NUMBER + 1, RelationGetDescr(rel), &isnull);
		values[HANDLER_REGISTERED_AT] = heap_getattr(old, HANDLER_REGISTERED_AT + 1, RelationGetDescr(rel), &isnull);
	}
	else
		values[HANDLER_NUMBER] = Int64GetDatum(next_number(rel));
	es_registry_write(rel, old, values, nulls);

	/* where it begins is settled now, and what is wrong with its functions comes out */
	if (stateless)
		return;
	if (!nulls[HANDLER_STORE_NUMBER])
		es_handler_begin(name);
	if (!background)
		es_handler_tasks_remove(name);
	else if (nulls[HANDLER_STORE_NUMBER])
		es_handler_tasks_add_spawner(name, GetUserId());
	else
		es_handler_tasks_add(name, DatumGetInt32(values[HANDLER_CONCURRENCY]), es_store_current(false), GetUserId());
}

/*
 * A store is gone: so are the handlers registered for it, and what those of all
 * tenants were building beside its tables.
 */
void
es_handler_forget_store(int64 store_number)
{
	Relation	registry = es_extension_open("handler_registry", RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(registry, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *names = NIL;
	ListCell   *lc;
	bool		deleted = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[HANDLER_NCOLUMNS];
		bool		nulls[HANDLER_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(tuple, RelationGetDescr(registry), values, nulls);
		if (!nulls[HANDLER_STORE_NUMBER] && DatumGetInt64(values[HANDLER_STORE_NUMBER]) != store_number)
			continue;
		names = lappend(names, TextDatumGetCString(values[HANDLER_NAME]));
		if (nulls[HANDLER_STORE_NUMBER])
			continue;
		CatalogTupleDelete(registry, &tuple->t_self);
		deleted = true;
	}
	systable_endscan(scan);
	if (deleted)
		CacheInvalidateRelcache(registry);
	table_close(registry, NoLock);
	foreach(lc, names)
		es_projection_forget_gone(store_number, lfirst(lc));
	CommandCounterIncrement();
}

/* An argument of one of two or three words. */
static char *
word_argument(FunctionCallInfo fcinfo, int argument, const char *name, const char *const *words, int nwords, const char *hint)
{
	char	   *word;

	es_require_argument(fcinfo, argument, name);
	word = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; i < nwords; i++)
		if (strcmp(word, words[i]) == 0)
			return word;
	bad_argument(name, psprintf("%s \"%s\" is unknown", name, word), hint);
	return NULL;
}

/* Check a number in a range. */
static int
number_argument(FunctionCallInfo fcinfo, int argument, const char *name, int lowest, int highest)
{
	int			number;

	es_require_argument(fcinfo, argument, name);
	number = PG_GETARG_INT32(argument);
	if (number < lowest || number > highest)
		bad_argument(name, psprintf("%s is %d", name, number), psprintf("It is %d to %d.", lowest, highest));
	return number;
}

enum Argument
{
	ARG_NAME,
	ARG_FUNCTION,
	ARG_KIND,
	ARG_START_FROM,
	ARG_STREAM,
	ARG_CATEGORY,
	ARG_TYPES,
	ARG_FILTER,
	ARG_CONSISTENCY,
	ARG_CONCURRENCY,
	ARG_PARTITION_BY,
	ARG_BATCH_SIZE,
	ARG_BATCH_TIMEOUT,
	ARG_ERROR_FUNCTION,
	ARG_MAX_ATTEMPTS,
	ARG_BACKOFF,
	ARG_ON_EXHAUSTED,
	ARG_BEFORE_RESET,
	ARG_TABLES,
	ARG_TENANT,
	ARG_BACKGROUND,
	ARG_REPLACE
};

/* What event handlers and process managers have in common, from the arguments at these places. */
void
es_handler_common_arguments(FunctionCallInfo fcinfo, const EsHandlerArguments *at, Datum *values, bool *nulls)
{
	static const char *const consistencies[] = {"eventual", "strong"};
	static const char *const exhausted[] = {"park", "skip", "stop"};
	static const int columns[] = {HANDLER_STREAM, HANDLER_CATEGORY, HANDLER_TYPES, HANDLER_FILTER};
	char	   *name;
	char	   *start_from;
	int64		backoff;

	es_require_argument(fcinfo, at->name, "name");
	es_require_argument(fcinfo, at->start_from, "start_from");
	es_require_argument(fcinfo, at->backoff, "backoff");
	es_require_argument(fcinfo, at->background, "background");
	es_require_argument(fcinfo, at->replace, "replace");
	es_require_writable();
	name = text_to_cstring(PG_GETARG_TEXT_PP(at->name));
	es_registry_check_name("handler", name);
	start_from = text_to_cstring(PG_GETARG_TEXT_PP(at->start_from));
	es_handler_check_start(start_from);
	backoff = es_interval_ms(PG_GETARG_INTERVAL_P(at->backoff));
	if (backoff < 0)
		bad_argument("backoff", "backoff is negative", "Pass an interval of 0 or more.");

	memset(nulls, true, HANDLER_NCOLUMNS * sizeof(bool));
	values[HANDLER_NAME] = PG_GETARG_DATUM(at->name);
	values[HANDLER_START_FROM] = PG_GETARG_DATUM(at->start_from);
	values[HANDLER_BACKOFF] = PG_GETARG_DATUM(at->backoff);
	values[HANDLER_MAX_ATTEMPTS] = Int32GetDatum(number_argument(fcinfo, at->max_attempts, "max_attempts", 1, 1000000));
	values[HANDLER_ON_EXHAUSTED] = CStringGetTextDatum(word_argument(fcinfo, at->on_exhausted, "on_exhausted", exhausted,
																	 lengthof(exhausted), "Use park, skip or stop."));
	values[HANDLER_CONSISTENCY] = CStringGetTextDatum(word_argument(fcinfo, at->consistency, "consistency", consistencies,
																	lengthof(consistencies), "Use eventual or strong."));
	nulls[HANDLER_NAME] = nulls[HANDLER_START_FROM] = nulls[HANDLER_BACKOFF] = false;
	nulls[HANDLER_MAX_ATTEMPTS] = nulls[HANDLER_ON_EXHAUSTED] = false;
	for (int i = 0; i < lengthof(columns); i++)
	{
		const int	arguments[] = {at->stream, at->category, at->types, at->filter};

		if (PG_ARGISNULL(arguments[i]))
			continue;
		values[columns[i]] = PG_GETARG_DATUM(arguments[i]);
		nulls[columns[i]] = false;
		if (columns[i] == HANDLER_TYPES)
			check_names(values[HANDLER_TYPES], "types", false);
	}
	values[HANDLER_STORE_NUMBER] = store_number_datum(name, PG_ARGISNULL(at->tenant) ? NULL :
													  text_to_cstring(PG_GETARG_TEXT_PP(at->tenant)),
													  &nulls[HANDLER_STORE_NUMBER]);
	nulls[HANDLER_KIND] = nulls[HANDLER_FUNCTION] = nulls[HANDLER_CONSISTENCY] = nulls[HANDLER_CONCURRENCY] = false;
	nulls[HANDLER_BATCH_SIZE] = nulls[HANDLER_NUMBER] = nulls[HANDLER_OWNER] = nulls[HANDLER_REGISTERED_AT] = false;
}

PG_FUNCTION_INFO_V1(event_store_register_handler);

Datum
event_store_register_handler(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {"event", "batch", "inline", "live"};
	static const EsHandlerArguments places = {
		.name = ARG_NAME, .start_from = ARG_START_FROM, .stream = ARG_STREAM, .category = ARG_CATEGORY,
		.types = ARG_TYPES, .filter = ARG_FILTER, .consistency = ARG_CONSISTENCY, .max_attempts = ARG_MAX_ATTEMPTS, .backoff = ARG_BACKOFF, .on_exhausted = ARG_ON_EXHAUSTED,
		.tenant = ARG_TENANT, .background = ARG_BACKGROUND, .replace = ARG_REPLACE
	};
	Datum		values[HANDLER_NCOLUMNS];
	bool		nulls[HANDLER_NCOLUMNS];
	char	   *word;
	EsHandlerKind kind;
	int			concurrency;

	es_require_argument(fcinfo, ARG_FUNCTION, "function");
	es_handler_common_arguments(fcinfo, &places, values, nulls);
	word = word_argument(fcinfo, ARG_KIND, "kind", kinds, lengthof(kinds), "Use event, batch, inline or live.");
	kind = word[0] == 'e' ? ES_HANDLER_EVENT : word[0] == 'b' ? ES_HANDLER_BATCH :
		word[0] == 'i' ? ES_HANDLER_INLINE : ES_HANDLER_LIVE;
	values[HANDLER_KIND] = CStringGetTextDatum(word);
	values[HANDLER_FUNCTION] = es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(ARG_FUNCTION)), es_handler_shape(kind));
	concurrency = number_argument(fcinfo, ARG_CONCURRENCY, "concurrency", 1, MAX_CONCURRENCY);
	values[HANDLER_CONCURRENCY] = Int32GetDatum(concurrency);
	values[HANDLER_BATCH_SIZE] = Int32GetDatum(number_argument(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, MAX_BATCH));
	if (concurrency > 1 && (kind == ES_HANDLER_INLINE || kind == ES_HANDLER_LIVE))
		bad_argument("concurrency", psprintf("a handler of kind %s has no partitions", word),
					 "It runs in the transaction that appends, or that reads.");
	if (kind == ES_HANDLER_LIVE && PG_ARGISNULL(ARG_TABLES))
		bad_argument("tables", "a live projection has no tables", "Name the tables that it fills when it is read.");
	if (!PG_ARGISNULL(ARG_PARTITION_BY))
	{
		nulls[HANDLER_PARTITION_BY] = false;
		values[HANDLER_PARTITION_BY] = PG_GETARG_DATUM(ARG_PARTITION_BY);
		(void) es_key_parse(text_to_cstring(PG_GETARG_TEXT_PP(ARG_PARTITION_BY)));
	}
	if (!PG_ARGISNULL(ARG_BATCH_TIMEOUT))
	{
		if (kind != ES_HANDLER_BATCH || es_interval_ms(PG_GETARG_INTERVAL_P(ARG_BATCH_TIMEOUT)) < 0)
			bad_argument("batch_timeout", "batch_timeout is negative, or the handler takes no batches",
						 "It is how long a batch handler waits for a batch to fill up.");
		nulls[HANDLER_BATCH_TIMEOUT] = false;
		values[HANDLER_BATCH_TIMEOUT] = PG_GETARG_DATUM(ARG_BATCH_TIMEOUT);
	}
	if (!PG_ARGISNULL(ARG_ERROR_FUNCTION))
	{
		nulls[HANDLER_ERROR_FUNCTION] = false;
		values[HANDLER_ERROR_FUNCTION] = es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(ARG_ERROR_FUNCTION)),
															  es_error_shape(kind));
	}
	if (!PG_ARGISNULL(ARG_BEFORE_RESET))
	{
		nulls[HANDLER_BEFORE_RESET] = false;
		values[HANDLER_BEFORE_RESET] = es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(ARG_BEFORE_RESET)), es_reset_shape());
	}
	if (!PG_ARGISNULL(ARG_TABLES))
	{
		/* of all tenants: each has its own */
		check_names(PG_GETARG_DATUM(ARG_TABLES), "tables", !nulls[HANDLER_STORE_NUMBER]);
		nulls[HANDLER_TABLES] = false;
		values[HANDLER_TABLES] = PG_GETARG_DATUM(ARG_TABLES);
	}
	es_handler_register(text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME)), values, nulls, PG_GETARG_BOOL(ARG_REPLACE),
						PG_GETARG_BOOL(ARG_BACKGROUND));
	PG_RETURN_VOID();
}

/* register_projection(name, tables, function, ...): as register_handler, with the tables. */
PG_FUNCTION_INFO_V1(event_store_register_projection);

Datum
event_store_register_projection(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(call, ARG_REPLACE + 1);

	es_require_argument(fcinfo, 1, "tables");
	InitFunctionCallInfoData(*call, fcinfo->flinfo, ARG_REPLACE + 1, fcinfo->fncollation, NULL, NULL);
	for (int to = 0, from = 0; to <= ARG_REPLACE; to++)
	{
		if (to == ARG_TABLES)
			call->args[to] = fcinfo->args[1];
		else
		{
			from += from == 1 ? 1 : 0;
			call->args[to] = fcinfo->args[from++];
		}
	}
	return event_store_register_handler(call);
}
