/*
 * upcaster.c
 *		Registering upcasters.
 *
 * Owns the table upcaster_registry.  The functions are
 *
 *		f(data jsonb [, metadata jsonb]) RETURNS jsonb, the data of the next version
 *		f(data jsonb [, metadata jsonb]) RETURNS a row (type text, data jsonb)
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "model/apply.h"
#include "model/registry.h"
#include "model/upcast.h"
#include "model/upcaster.h"

#define UPCASTER_HINT \
	"An upcaster is f(data jsonb) or f(data jsonb, metadata jsonb), and returns jsonb, or a row of a text and a jsonb: the type and the data."

/* The upcaster with a name, as es_function_find; 42883 if there is none. */
Oid
es_upcaster_find(const char *name)
{
	Oid			function = es_function_find(name);

	if (!OidIsValid(function))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
							"there is no such upcaster, or several: %s", name),
				 errhint(UPCASTER_HINT)));
	return function;
}

/*
 * Does an upcaster return the type along with the data?  Raises 42883 if the
 * function is none, 22023 if it is volatile.
 */
bool
es_upcaster_inspect(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	char	   *signature;
	bool		fits;
	bool		returns_type = false;
	bool		is_volatile;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	signature = format_procedure(function);
	fits = proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->pronargs >= 1 && proc->pronargs <= 2;
	for (int i = 0; i < proc->pronargs && fits; i++)
		fits = proc->proargtypes.values[i] == JSONBOID;
	is_volatile = proc->provolatile == PROVOLATILE_VOLATILE;
	if (fits && proc->prorettype != JSONBOID)
	{
		TupleDesc	desc;

		returns_type = true;
		fits = get_func_result_type(function, NULL, &desc) == TYPEFUNC_COMPOSITE && desc->natts == 2 &&
			TupleDescAttr(desc, 0)->atttypid == TEXTOID && TupleDescAttr(desc, 1)->atttypid == JSONBOID;
	}
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", signature)),
							"%s is no upcaster", signature),
				 errhint(UPCASTER_HINT)));
	if (is_volatile)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("function", signature)),
							"upcaster %s is volatile", signature),
				 errhint("An event must read the same every time: if this function makes it so, declare it IMMUTABLE or STABLE.")));
	return returns_type;
}

static void
bad_argument(const char *event_type, const char *argument, const char *problem, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("event_type", event_type), ES_TEXT("argument", argument)),
						"upcaster for \"%s\": %s", event_type, problem),
			 errhint("%s", hint)));
}

/* The row of an upcaster, palloc'd, which is the caller's to change; NULL if there is none. */
static HeapTuple
row_to_change(Relation rel, const char *event_type, int from_version)
{
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, UPCASTER_FROM_VERSION + 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(from_version));
	tuple = es_registry_find_pair(rel, event_type, &key);
	if (HeapTupleIsValid(tuple))
		es_registry_check_owner(rel, "upcaster", event_type, tuple, UPCASTER_OWNER);
	return tuple;
}

PG_FUNCTION_INFO_V1(event_store_register_upcaster);
PG_FUNCTION_INFO_V1(event_store_unregister_upcaster);

Datum
event_store_register_upcaster(PG_FUNCTION_ARGS)
{
	Datum		values[UPCASTER_NCOLUMNS];
	bool		nulls[UPCASTER_NCOLUMNS] = {0};
	char	   *type;
	int			from_version;
	Oid			function;
	Relation	rel;
	HeapTuple	old;

	es_require_argument(fcinfo, 0, "event_type");
	es_require_argument(fcinfo, 1, "function");
	es_require_argument(fcinfo, 2, "from_version");
	es_require_argument(fcinfo, 3, "replace");
	es_require_writable();
	type = text_to_cstring(PG_GETARG_TEXT_PP(0));
	from_version = PG_GETARG_INT32(2);
	if (type[0] == '\0' || type[0] == '$' || strlen(type) > es_max_name_length)
		bad_argument(type, "event_type", "no event of yours can have this type",
					 "A type is not empty, does not begin with $ and is no longer than event_store.max_name_length.");
	if (from_version < 1 || from_version > ES_MAX_SCHEMA_VERSION)
		bad_argument(type, "from_version", psprintf("from_version is %d", from_version),
					 "Versions of a schema begin at 1 and end at 1000000.");
	es_registry_check_rights("upcaster", type);

	function = es_upcaster_find(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	(void) es_upcaster_inspect(function);
	if (func_strict(function) && get_func_nargs(function) == 2)
		bad_argument(type, "function", psprintf("%s is strict, so it returns null for events without metadata", format_procedure(function)),
					 "Declare it CALLED ON NULL INPUT.");
	if (!es_may_execute(function, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"permission denied for function %s", format_procedure(function)),
				 errhint("Its owner must grant EXECUTE on it.")));

	values[UPCASTER_EVENT_TYPE] = PG_GETARG_DATUM(0);
	values[UPCASTER_FROM_VERSION] = Int32GetDatum(from_version);
	values[UPCASTER_FUNCTION] = CStringGetTextDatum(es_apply_signature(function));
	values[UPCASTER_OWNER] = ObjectIdGetDatum(GetUserId());
	values[UPCASTER_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	rel = es_extension_open("upcaster_registry", ShareRowExclusiveLock);
	old = row_to_change(rel, type, from_version);
	if (old != NULL && !PG_GETARG_BOOL(3))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("event_type", type), ES_INT("from_version", from_version)),
							"there is an upcaster for \"%s\" from version %d already", type, from_version),
				 errhint("Pass replace => true to change it.")));
	es_registry_write(rel, old, values, nulls);
	PG_RETURN_VOID();
}

Datum
event_store_unregister_upcaster(PG_FUNCTION_ARGS)
{
	char	   *type = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			from_version = PG_GETARG_INT32(1);
	Relation	rel;
	HeapTuple	old;

	es_require_writable();
	rel = es_extension_open("upcaster_registry", ShareRowExclusiveLock);
	old = row_to_change(rel, type, from_version);
	if (old == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("event_type", type), ES_INT("from_version", from_version)),
							"there is no upcaster for \"%s\" from version %d", type, from_version),
				 errhint("The table event_store.upcaster_registry lists the upcasters.")));
	CatalogTupleDelete(rel, &old->t_self);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}
