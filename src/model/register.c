/*
 * register.c
 *		Registering aggregates.
 *
 * Owns the tables aggregate_registry and aggregate_apply.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/aggregate.h"
#include "model/apply.h"
#include "model/registry.h"

/* What register_aggregate is asked for. */
typedef struct Definition
{
	char	   *name;
	Datum		values[AGGREGATE_NCOLUMNS];
	bool		nulls[AGGREGATE_NCOLUMNS];
	Oid			state_type;		/* of the functions seen so far */
	int			nfunctions;
	char	  **event_types;
	char	  **functions;
} Definition;

static void
bad_definition(const char *name, const char *argument, const char *problem, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("aggregate", name), ES_TEXT("argument", argument)),
						"aggregate \"%s\": %s", name, problem),
			 errhint("%s", hint)));
}

/* Check one function; returns its qualified signature. */
static char *
check_function(Definition *def, const char *function, bool for_all_types)
{
	Oid			oid = es_apply_find(function);
	EsApplyForm form;
	Oid			state_type;

	es_apply_inspect(oid, &form, &state_type);
	if (for_all_types && form == ES_APPLY_DATA)
		bad_definition(def->name, "apply", psprintf("%s does not learn the type of the event", format_procedure(oid)),
					   "Use f(state, type text, data jsonb), or name a function for each type in apply_by_type.");
	if (OidIsValid(def->state_type) && def->state_type != state_type)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH,
							ES_MEMBERS(ES_TEXT("aggregate", def->name), ES_TEXT("function", format_procedure(oid))),
							"the apply functions of aggregate \"%s\" have different states: %s and %s", def->name,
							format_type_be(def->state_type), format_type_be(state_type)),
				 errhint("All apply functions of an aggregate take and return one type.")));
	def->state_type = state_type;
	if (def->nulls[AGGREGATE_INITIAL] && func_strict(oid))
		bad_definition(def->name, "initial", psprintf("%s is strict, so it cannot begin with a null state", format_procedure(oid)),
					   "Give the initial state, or declare the function CALLED ON NULL INPUT.");
	if (!es_may_execute(oid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(oid))),
							"permission denied for function %s", format_procedure(oid)),
				 errhint("Its owner must grant EXECUTE on it.")));
	return es_apply_signature(oid);
}

/* Read apply_by_type: an object of event types and function names. */
static void
check_functions_by_type(Definition *def, Jsonb *by_type)
{
	JsonbIterator *it = JsonbIteratorInit(&by_type->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(by_type))
		bad_definition(def->name, "apply_by_type", "apply_by_type is not an object",
					   "Pass {\"event type\": \"function\", ...}.");
	def->event_types = palloc(sizeof(char *) * Max(JB_ROOT_COUNT(by_type), 1));
	def->functions = palloc(sizeof(char *) * Max(JB_ROOT_COUNT(by_type), 1));
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			def->event_types[def->nfunctions] = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			if (value.type != jbvString)
				bad_definition(def->name, "apply_by_type",
							   psprintf("the function for \"%s\" is not a string", def->event_types[def->nfunctions]),
							   "Pass {\"event type\": \"function\", ...}.");
			def->functions[def->nfunctions] =
				check_function(def, pnstrdup(value.val.string.val, value.val.string.len), false);
			def->nfunctions++;
		}
	}
}

static void
delete_functions_by_type(Relation rel, const char *name)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, APPLY_AGGREGATE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
}

/* Write the definition, in place of old if that is given. */
static void
write_definition(Definition *def, Relation rel, HeapTuple old)
{
	Relation	functions = es_extension_open("aggregate_apply", RowExclusiveLock);
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), def->values, def->nulls);

	if (old == NULL)
		CatalogTupleInsert(rel, tuple);
	else
	{
		CatalogTupleUpdate(rel, &old->t_self, tuple);
		delete_functions_by_type(functions, def->name);
		CommandCounterIncrement();
	}
	for (int i = 0; i < def->nfunctions; i++)
	{
		Datum		values[APPLY_NCOLUMNS];
		bool		nulls[APPLY_NCOLUMNS] = {0};

		values[APPLY_AGGREGATE] = def->values[AGGREGATE_NAME];
		values[APPLY_EVENT_TYPE] = CStringGetTextDatum(def->event_types[i]);
		values[APPLY_FUNCTION] = CStringGetTextDatum(def->functions[i]);
		CatalogTupleInsert(functions, heap_form_tuple(RelationGetDescr(functions), values, nulls));
	}
	CacheInvalidateRelcache(rel);
	table_close(functions, NoLock);
	CommandCounterIncrement();
}

PG_FUNCTION_INFO_V1(event_store_register_aggregate);
PG_FUNCTION_INFO_V1(event_store_unregister_aggregate);

Datum
event_store_register_aggregate(PG_FUNCTION_ARGS)
{
	Definition	def = {0};
	char	   *unknown;
	Relation	rel;
	HeapTuple	old;

	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 5, "unknown_events");
	es_require_argument(fcinfo, 6, "snapshot_every");
	es_require_argument(fcinfo, 7, "snapshot_version");
	es_require_argument(fcinfo, 8, "replace");
	es_require_writable();

	def.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	es_registry_check_name("aggregate", def.name);
	unknown = text_to_cstring(PG_GETARG_TEXT_PP(5));
	if (strcmp(unknown, "error") != 0 && strcmp(unknown, "ignore") != 0)
		bad_definition(def.name, "unknown_events", psprintf("unknown_events \"%s\" is unknown", unknown),
					   "Use error or ignore.");
	if (PG_GETARG_INT32(6) < 0)
		bad_definition(def.name, "snapshot_every", "snapshot_every is negative", "Pass 0 for no snapshots.");
	if (PG_ARGISNULL(1) && PG_ARGISNULL(4))
		bad_definition(def.name, "apply", "there is no apply function",
					   "Name one for all event types in apply, or one for each in apply_by_type.");
	es_registry_check_rights("aggregate", def.name);

	def.nulls[AGGREGATE_APPLY] = PG_ARGISNULL(1);
	def.nulls[AGGREGATE_INITIAL] = PG_ARGISNULL(2);
	if (!PG_ARGISNULL(1))
		def.values[AGGREGATE_APPLY] =
			CStringGetTextDatum(check_function(&def, text_to_cstring(PG_GETARG_TEXT_PP(1)), true));
	if (!PG_ARGISNULL(4))
		check_functions_by_type(&def, PG_GETARG_JSONB_P(4));
	if (!PG_ARGISNULL(2))
	{
		Oid			input;
		Oid			parameter;

		/* so that a bad value is refused here, not at the first fold */
		getTypeInputInfo(def.state_type, &input, &parameter);
		(void) OidInputFunctionCall(input, text_to_cstring(PG_GETARG_TEXT_PP(2)), parameter, -1);
		def.values[AGGREGATE_INITIAL] = PG_GETARG_DATUM(2);
	}
	def.values[AGGREGATE_NAME] = PG_GETARG_DATUM(0);
	def.values[AGGREGATE_PREFIX] = PG_ARGISNULL(3) ? CStringGetTextDatum(psprintf("%s-", def.name)) : PG_GETARG_DATUM(3);
	def.values[AGGREGATE_UNKNOWN_EVENTS] = PG_GETARG_DATUM(5);
	def.values[AGGREGATE_SNAPSHOT_EVERY] = PG_GETARG_DATUM(6);
	def.values[AGGREGATE_SNAPSHOT_VERSION] = PG_GETARG_DATUM(7);
	def.values[AGGREGATE_OWNER] = ObjectIdGetDatum(GetUserId());
	def.values[AGGREGATE_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	/* one registration at a time, so that the check below holds */
	rel = es_extension_open("aggregate_registry", ShareRowExclusiveLock);
	old = es_registry_row_to_change(rel, "aggregate", def.name, AGGREGATE_OWNER);
	if (old != NULL && !PG_GETARG_BOOL(8))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("aggregate", def.name)),
							"aggregate \"%s\" is already registered", def.name),
				 errhint("Pass replace => true to change it.")));
	write_definition(&def, rel, old);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_unregister_aggregate(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel;
	Relation	functions;
	HeapTuple	old;

	es_require_writable();
	rel = es_extension_open("aggregate_registry", ShareRowExclusiveLock);
	old = es_registry_row_to_change(rel, "aggregate", name, AGGREGATE_OWNER);
	if (old == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("aggregate", name)),
							"aggregate \"%s\" is not registered", name),
				 errhint("The table event_store.aggregate_registry lists the aggregates.")));
	functions = es_extension_open("aggregate_apply", RowExclusiveLock);
	delete_functions_by_type(functions, name);
	CatalogTupleDelete(rel, &old->t_self);
	CacheInvalidateRelcache(rel);
	table_close(functions, NoLock);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}
