/*
 * unknown.c
 *		Event types in the streams of aggregates that their functions do not know.
 *
 * Looks at every event of the store, in the form that a fold would get, so it
 * finds what an upcaster has made of a type too.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/extension.h"
#include "log/scan.h"
#include "log/stream.h"
#include "model/aggregate.h"
#include "model/by_type.h"
#include "model/upcast.h"

/* A type that an aggregate does not know. */
typedef struct Unknown
{
	EsByType	type;			/* hash key */
	bool		is_known;		/* it does, after all */
	int64		events;
	int64		first_position;
} Unknown;

/* An aggregate, as far as is needed here. */
typedef struct Taker
{
	char	   *name;
	char	   *prefix;
	bool		ignores;		/* what it does not know */
	bool		takes_all;		/* has a function for all types */
	HTAB	   *types;			/* of Unknown, those that it knows too */
} Taker;

/* The registered aggregates, with the types that they have functions for. */
static List *
read_takers(void)
{
	Relation	rel = es_extension_open("aggregate_registry", AccessShareLock);
	Relation	functions = es_extension_open("aggregate_apply", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *takers = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[AGGREGATE_NCOLUMNS];
		bool		nulls[AGGREGATE_NCOLUMNS];
		Taker	   *taker = palloc(sizeof(Taker));

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		taker->name = TextDatumGetCString(values[AGGREGATE_NAME]);
		taker->prefix = TextDatumGetCString(values[AGGREGATE_PREFIX]);
		taker->ignores = strcmp(TextDatumGetCString(values[AGGREGATE_UNKNOWN_EVENTS]), "ignore") == 0;
		taker->takes_all = !nulls[AGGREGATE_APPLY];
		taker->types = es_by_type_create("event_store unknown types", sizeof(Unknown));
		takers = lappend(takers, taker);
	}
	systable_endscan(scan);

	scan = systable_beginscan(functions, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[APPLY_NCOLUMNS];
		bool		nulls[APPLY_NCOLUMNS];
		char	   *name;
		ListCell   *lc;

		heap_deform_tuple(tuple, RelationGetDescr(functions), values, nulls);
		name = TextDatumGetCString(values[APPLY_AGGREGATE]);
		foreach(lc, takers)
		{
			Taker	   *taker = lfirst(lc);

			if (strcmp(taker->name, name) == 0)
			{
				Unknown    *type = es_by_type_enter(taker->types, TextDatumGetCString(values[APPLY_EVENT_TYPE]), NULL);

				type->is_known = true;
			}
		}
	}
	systable_endscan(scan);
	table_close(functions, AccessShareLock);
	table_close(rel, AccessShareLock);
	return takers;
}

/* Count an event of a type for an aggregate, unless that knows it; the table's context is current. */
static void
count_event(Taker *taker, const text *type, int64 position)
{
	Unknown    *unknown = es_by_type_find(taker->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));

	if (unknown == NULL)
	{
		unknown = es_by_type_enter(taker->types, text_to_cstring(type), NULL);
		unknown->is_known = false;
		unknown->events = 0;
		unknown->first_position = position;
	}
	unknown->events++;
}

/* Does the stream of an aggregate have this name? */
static bool
takes_stream(const Taker *taker, const text *stream)
{
	int			length = strlen(taker->prefix);

	return VARSIZE_ANY_EXHDR(stream) > length && memcmp(VARDATA_ANY(stream), taker->prefix, length) == 0;
}

static void
put_unknown(ReturnSetInfo *result, const Taker *taker)
{
	HASH_SEQ_STATUS status;
	Unknown    *unknown;

	hash_seq_init(&status, taker->types);
	while ((unknown = hash_seq_search(&status)) != NULL)
	{
		Datum		values[5];
		bool		nulls[5] = {0};

		if (unknown->is_known)
			continue;
		values[0] = CStringGetTextDatum(taker->name);
		values[1] = CStringGetTextDatum(unknown->type.type);
		values[2] = Int64GetDatum(unknown->events);
		values[3] = Int64GetDatum(unknown->first_position);
		values[4] = BoolGetDatum(taker->ignores);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(event_store_unknown_event_types);

Datum
event_store_unknown_event_types(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Snapshot	snapshot = GetActiveSnapshot();
	EsStore    *store;
	Relation	log;
	List	   *takers;
	ListCell   *lc;
	EsUpcasters *upcasters;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	MemoryContext row;
	MemoryContext caller;

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	takers = read_takers();
	upcasters = es_upcasters_take(store, log);
	row = AllocSetContextCreate(CurrentMemoryContext, "event_store unknown row", ALLOCSET_DEFAULT_SIZES);
	es_scan_log(&scan, store, log, 1, PG_INT64_MAX, false, snapshot);
	while (es_scan_next(&scan, &values, &nulls))
	{
		text	   *stream;
		EsEventBody body = es_event_body(values, nulls);
		bool		upcast = false;

		CHECK_FOR_INTERRUPTS();
		caller = MemoryContextSwitchTo(row);
		stream = es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot);
		foreach(lc, takers)
		{
			Taker	   *taker = lfirst(lc);

			if (taker->takes_all || !takes_stream(taker, stream))
				continue;
			if (!upcast && upcasters != NULL)
				(void) es_upcast(upcasters, values, &body);
			upcast = true;
			MemoryContextSwitchTo(caller);
			count_event(taker, DatumGetTextPP(body.type), DatumGetInt64(values[LOG_POSITION]));
			MemoryContextSwitchTo(row);
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
	}
	es_scan_end(&scan);
	foreach(lc, takers)
		put_unknown(result, lfirst(lc));
	if (upcasters != NULL)
		es_upcasters_give(upcasters);
	table_close(log, NoLock);
	return (Datum) 0;
}
