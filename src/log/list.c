/*
 * list.c
 *		The streams of a store, page by page.
 *
 * Streams are read along the index over their names, in the caller's snapshot,
 * so a page costs what is on it: it begins after a name, not after so many
 * rows, and a prefix or a category is a range of names.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "log/list.h"
#include "log/read.h"
#include "log/scan.h"
#include "log/stream.h"

/* Columns of the result. */
enum ListColumn
{
	LIST_STREAM,
	LIST_CATEGORY,
	LIST_STATUS,
	LIST_VERSION,
	LIST_LAST_POSITION,
	LIST_CREATED_AT,
	LIST_LAST_EVENT_AT,
	LIST_DELETED_AT,
	LIST_METADATA,
	LIST_NCOLUMNS
};

/* What streams are asked for; NULL: no such condition. */
typedef struct ListQuery
{
	text	   *after;
	text	   *prefix;
	text	   *category;
	text	   *pattern;
	int64		max_count;
} ListQuery;

static bool
has_prefix(const char *name, int length, const text *prefix)
{
	return length >= VARSIZE_ANY_EXHDR(prefix) && memcmp(name, VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

static bool
matches(const ListQuery *query, text *name)
{
	const char *data = VARDATA_ANY(name);
	int			length = VARSIZE_ANY_EXHDR(name);

	if (query->prefix != NULL && !has_prefix(data, length, query->prefix))
		return false;
	if (query->category != NULL &&
		(es_stream_category_length(data, length) != VARSIZE_ANY_EXHDR(query->category) ||
		 !has_prefix(data, length, query->category)))
		return false;
	return query->pattern == NULL ||
		DatumGetBool(DirectFunctionCall2Coll(textlike, C_COLLATION_OID, PointerGetDatum(name),
											 PointerGetDatum(query->pattern)));
}

static void
put_stream(ReturnSetInfo *result, EsStore *store, Relation log, const Datum *row, const bool *row_nulls,
		   Snapshot snapshot)
{
	Datum		values[LIST_NCOLUMNS];
	bool		nulls[LIST_NCOLUMNS] = {0};
	EsScan		scan;
	Datum	   *event;
	bool	   *event_nulls;

	values[LIST_STREAM] = row[STREAM_NAME];
	values[LIST_CATEGORY] = row[STREAM_CATEGORY];
	values[LIST_STATUS] = CStringGetTextDatum(row_nulls[STREAM_DELETED_AT] ? "open" : "deleted");
	values[LIST_VERSION] = Int64GetDatum(0);
	values[LIST_CREATED_AT] = row[STREAM_CREATED_AT];
	values[LIST_DELETED_AT] = row[STREAM_DELETED_AT];
	values[LIST_METADATA] = row[STREAM_METADATA];
	nulls[LIST_LAST_POSITION] = nulls[LIST_LAST_EVENT_AT] = true;
	nulls[LIST_DELETED_AT] = row_nulls[STREAM_DELETED_AT];
	nulls[LIST_METADATA] = row_nulls[STREAM_METADATA];
	es_scan_stream(&scan, store, log, DatumGetInt64(row[STREAM_ID]), 1, PG_INT64_MAX, true, snapshot);
	if (es_scan_next(&scan, &event, &event_nulls))
	{
		values[LIST_VERSION] = event[LOG_VERSION];
		values[LIST_LAST_POSITION] = event[LOG_POSITION];
		values[LIST_LAST_EVENT_AT] = event[LOG_CREATED_AT];
		nulls[LIST_LAST_POSITION] = nulls[LIST_LAST_EVENT_AT] = false;
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	es_scan_end(&scan);
}

/*
 * Give the streams whose names begin with start, or are exactly that, and come
 * after a name if that is not NULL, to the sink, in the order of their names.
 */
void
es_streams_scan(EsStore *store, text *start, bool exactly, const text *after, Snapshot snapshot,
				EsStreamSink sink, void *target)
{
	Relation	streams = table_open(store->streams, AccessShareLock);
	Relation	index = index_open(store->streams_by_name, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(streams, NULL);
	IndexScanDesc scan = es_index_beginscan(streams, index, snapshot, after != NULL ? 2 : 1);
	ScanKeyData keys[2];

	ScanKeyEntryInitialize(&keys[0], 0, 1, exactly ? BTEqualStrategyNumber : BTGreaterEqualStrategyNumber,
						   InvalidOid, C_COLLATION_OID, exactly ? F_TEXTEQ : F_TEXT_GE, PointerGetDatum(start));
	if (after != NULL)
		ScanKeyEntryInitialize(&keys[1], 0, 1, BTGreaterStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXT_GT, PointerGetDatum(after));
	index_rescan(scan, keys, after != NULL ? 2 : 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		text	   *name;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		name = DatumGetTextPP(slot->tts_values[STREAM_NAME]);
		if (!has_prefix(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), start) ||
			!sink(target, slot->tts_values, slot->tts_isnull))
			break;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);

	/* the lock stays: metadata may be out of line */
	table_close(streams, NoLock);
}

/* What is known while streams are listed. */
typedef struct Listing
{
	ReturnSetInfo *result;
	EsStore    *store;
	Relation	log;
	const ListQuery *query;
	Snapshot	snapshot;
	int64		count;
} Listing;

/* Sink: put a stream if it matches. */
static bool
list_stream(void *target, const Datum *row, const bool *nulls)
{
	Listing    *l = target;

	if (!matches(l->query, DatumGetTextPP(row[STREAM_NAME])))
		return true;
	put_stream(l->result, l->store, l->log, row, nulls, l->snapshot);
	return ++l->count < l->query->max_count;
}

static text *
text_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_TEXT_PP(argument);
}

PG_FUNCTION_INFO_V1(event_store_streams);

Datum
event_store_streams(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListQuery	query = {
		.after = text_argument(fcinfo, 0),
		.max_count = es_count_argument(fcinfo, 1),
		.prefix = text_argument(fcinfo, 2),
		.category = text_argument(fcinfo, 3),
		.pattern = text_argument(fcinfo, 4)
	};
	EsStore    *store;
	Relation	log;
	Listing		listing;

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	listing = (Listing) {result, store, log, &query, GetActiveSnapshot()};
	if (query.max_count > 0 && query.category != NULL)
	{
		/* the stream of just this name comes first; between it and those that go on with a hyphen lie others */
		text	   *with_hyphen = DatumGetTextPP(DirectFunctionCall2(textcat, PointerGetDatum(query.category),
																	 CStringGetTextDatum("-")));

		es_streams_scan(store, query.category, true, query.after, listing.snapshot, list_stream, &listing);
		if (listing.count < query.max_count)
			es_streams_scan(store, with_hyphen, false, query.after, listing.snapshot, list_stream, &listing);
	}
	else if (query.max_count > 0)
		es_streams_scan(store, query.prefix ? query.prefix : cstring_to_text(""), false, query.after,
						listing.snapshot, list_stream, &listing);
	table_close(log, NoLock);
	return (Datum) 0;
}
