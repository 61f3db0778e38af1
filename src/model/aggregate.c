/*
 * aggregate.c
 *		Registered aggregates: how events become state.
 *
 * Reads the tables aggregate_registry and aggregate_apply, which model/register
 * writes, into what a fold needs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/aggregate.h"
#include "model/apply.h"
#include "model/by_type.h"

/* An entry of by_type. */
typedef struct EsTypeApply
{
	EsByType	type;			/* hash key */
	EsApply		apply;
} EsTypeApply;

/* Prepare a function for use and fold it into what is known of the aggregate. */
static void
add_function(EsAggregate *aggregate, const char *signature, EsApply *apply)
{
	static const int params[][2] = {
		[ES_APPLY_EVENT] = {ES_PARAM_EVENT},
		[ES_APPLY_TYPE_DATA] = {ES_PARAM_TYPE, ES_PARAM_DATA},
		[ES_APPLY_DATA] = {ES_PARAM_DATA},
	};
	Oid			function = es_apply_find(signature);
	Oid			state_type;
	int			arguments[3] = {ES_PARAM_STATE};

	es_apply_inspect(function, &apply->form, &state_type);
	if (OidIsValid(aggregate->state_type) && aggregate->state_type != state_type)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH,
							ES_MEMBERS(ES_TEXT("aggregate", aggregate->prepared.name), ES_TEXT("function", signature)),
							"the apply functions of aggregate \"%s\" have different states: %s and %s",
							aggregate->prepared.name,
							format_type_be(aggregate->state_type), format_type_be(state_type)),
				 errhint("All apply functions of an aggregate take and return one type.")));
	aggregate->state_type = state_type;
	aggregate->prepared.parameters->params[ES_PARAM_STATE].ptype = state_type;
	aggregate->definition = es_apply_hash(function, aggregate->definition);
	memcpy(arguments + 1, params[apply->form], sizeof(params[0]));
	es_prepared_add(&aggregate->prepared, &apply->call, function,
					apply->form == ES_APPLY_TYPE_DATA ? 3 : 2, arguments);
}

/* Read the functions for single event types. */
static void
load_functions_by_type(EsAggregate *aggregate)
{
	Relation	rel = es_extension_open("aggregate_apply", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, APPLY_AGGREGATE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(aggregate->prepared.name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[APPLY_NCOLUMNS];
		bool		nulls[APPLY_NCOLUMNS];
		char	   *type;
		EsTypeApply *added;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (aggregate->by_type == NULL)
			aggregate->by_type = es_by_type_create("event_store apply functions", sizeof(EsTypeApply));
		type = TextDatumGetCString(values[APPLY_EVENT_TYPE]);
		added = es_by_type_enter(aggregate->by_type, type, NULL);
		aggregate->definition = hash_bytes_extended((const unsigned char *) type, strlen(type), aggregate->definition);
		add_function(aggregate, TextDatumGetCString(values[APPLY_FUNCTION]), &added->apply);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Fill in an aggregate from its row; its context is current. */
static void
load(EsPrepared *prepared, const Datum *values, const bool *nulls)
{
	EsAggregate *aggregate = (EsAggregate *) prepared;
	Oid			input;

	aggregate->prefix = TextDatumGetCString(values[AGGREGATE_PREFIX]);
	aggregate->snapshot_every = DatumGetInt32(values[AGGREGATE_SNAPSHOT_EVERY]);
	aggregate->ignore_unknown = strcmp(TextDatumGetCString(values[AGGREGATE_UNKNOWN_EVENTS]), "ignore") == 0;
	aggregate->definition = hash_bytes_uint32_extended(DatumGetInt32(values[AGGREGATE_SNAPSHOT_VERSION]),
													   aggregate->ignore_unknown);
	aggregate->definition = hash_bytes_extended((const unsigned char *) aggregate->prefix,
												strlen(aggregate->prefix) + 1, aggregate->definition);
	if (!nulls[AGGREGATE_INITIAL])
	{
		aggregate->initial = TextDatumGetCString(values[AGGREGATE_INITIAL]);
		aggregate->definition = hash_bytes_extended((const unsigned char *) aggregate->initial,
													strlen(aggregate->initial) + 1, aggregate->definition);
	}

	prepared->parameters->params[ES_PARAM_TYPE].ptype = TEXTOID;
	prepared->parameters->params[ES_PARAM_DATA].ptype = JSONBOID;
	prepared->parameters->params[ES_PARAM_EVENT].ptype = es_apply_event_type();
	if (!nulls[AGGREGATE_APPLY])
	{
		aggregate->apply = palloc0(sizeof(EsApply));
		add_function(aggregate, TextDatumGetCString(values[AGGREGATE_APPLY]), aggregate->apply);
	}
	load_functions_by_type(aggregate);

	es_prepared_watch_type(prepared, aggregate->state_type);
	get_typlenbyval(aggregate->state_type, &aggregate->state_length, &aggregate->state_by_value);
	aggregate->state_is_jsonb = getBaseType(aggregate->state_type) == JSONBOID;
	getTypeInputInfo(aggregate->state_type, &input, &aggregate->state_parameter);
	fmgr_info(input, &aggregate->state_input);
	aggregate->definition = es_type_hash(aggregate->state_type, aggregate->definition);
}

/* A registered aggregate for the caller alone, as es_prepared_take. */
EsAggregate *
es_aggregate_take(const char *name, const EsStore *store, Relation log)
{
	static const EsPreparedKind kind = {
		.what = "aggregate",
		.registry = "aggregate_registry",
		.missing = ERRCODE_UNDEFINED_OBJECT,
		.hint = "Register it with event_store.register_aggregate().",
		.owner = AGGREGATE_OWNER,
		.size = sizeof(EsAggregate),
		.load = load
	};

	return (EsAggregate *) es_prepared_take(&kind, name, store, log);
}

/* Give an aggregate back, after a use that went well. */
void
es_aggregate_give(EsAggregate *aggregate)
{
	es_prepared_give(&aggregate->prepared);
}

/* The function for an event type, NULL if there is none. */
EsApply *
es_aggregate_apply(EsAggregate *aggregate, const char *type, int length)
{
	if (aggregate->by_type != NULL)
	{
		EsTypeApply *entry = aggregate->last;

		/* most events are of the type of the one before */
		if (entry == NULL || entry->type.length != length || memcmp(entry->type.type, type, length) != 0)
			entry = es_by_type_find(aggregate->by_type, type, length);
		if (entry != NULL)
		{
			aggregate->last = entry;
			return &entry->apply;
		}
	}
	return aggregate->apply;
}
