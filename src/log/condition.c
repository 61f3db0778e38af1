/*
 * condition.c
 *		Appends on the condition that no event matches a query, and the reads that go with them.
 *
 * A decision is made on the events that match a query, and it stands if nothing
 * that matches has come since: a dynamic consistency boundary.  The reader gets
 * the head beside the events, the position up to which he has seen all that
 * match; the append is refused if there is one after it.
 *
 * Both rest on the locks of log/tag.  The append holds them while it looks and
 * until its transaction ends, so what it does not find cannot come before it in
 * the order of positions.  The reader notes the last position, waits for those
 * who were appending what may match, and then takes its snapshot: what matches
 * up to the position noted is in it, or is dead.  So a transaction that appends
 * something else keeps nobody from deciding, while followers of everything wait
 * for it at the horizon.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/condition.h"
#include "log/horizon.h"
#include "log/hot.h"
#include "log/meter.h"
#include "log/read.h"
#include "log/stream.h"
#include "log/tag.h"

/* The condition in an argument and the position in the next one; NULL if there is none. */
const EsCondition *
es_condition_argument(FunctionCallInfo fcinfo, int argument)
{
	EsCondition *condition;

	if (likely(PG_ARGISNULL(argument)))
	{
		if (unlikely(!PG_ARGISNULL(argument + 1)))
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("argument", "condition")),
								"after is given, but the condition is null"),
					 errhint("Pass the query that was read by, or leave after out too.")));
		return NULL;
	}
	condition = palloc(sizeof(EsCondition));
	condition->query = es_query_from_jsonb(PG_GETARG_JSONB_P(argument), "condition");
	condition->after = PG_ARGISNULL(argument + 1) ? 0 : PG_GETARG_INT64(argument + 1);
	if (condition->after < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("argument", "after"), ES_INT("value", condition->after)),
							"after %lld is negative", (long long) condition->after),
				 errhint("Pass the head that read_by_query returned; without it no event at all may match.")));
	return condition;
}

/*
 * The first event after the condition's position that matches and that the
 * snapshot sees; *own tells whether this transaction wrote it.
 */
static bool
first_match(const EsCondition *condition, EsStore *store, Relation log, Snapshot snapshot,
			EsConditionMatch *match, bool *own)
{
	EsQueryScan scan;
	Datum	   *values;
	bool	   *nulls;
	bool		found;

	es_query_scan_begin(&scan, condition->query, store, log, condition->after + 1, PG_INT64_MAX, snapshot);
	found = es_query_scan_next(&scan, &values, &nulls);
	if (found)
	{
		bool		isnull;

		match->position = DatumGetInt64(values[LOG_POSITION]);
		match->type = TextDatumGetCString(values[LOG_EVENT_TYPE]);
		*own = store->plain &&
			TransactionIdIsCurrentTransactionId(DatumGetTransactionId(slot_getsysattr(scan.events.slot,
																					  MinTransactionIdAttributeNumber,
																					  &isnull)));
	}
	es_query_scan_end(&scan);
	return found;
}

/*
 * Is there an event that the condition says there must not be?  The caller
 * holds the locks of log/tag, or that on the log in their place.
 *
 * What there is now decides, whatever the transaction's snapshot, and also what
 * this very statement has appended.  Under REPEATABLE READ and SERIALIZABLE the
 * snapshot tells whether the caller could have known; that look also takes the
 * predicate locks of SERIALIZABLE.
 */
bool
es_condition_failed(const EsCondition *condition, EsStore *store, Relation log, EsConditionMatch *match)
{
	Snapshot	snapshot;
	bool		own = false;
	bool		found;

	match->unseen = false;
	if (condition->after > 0)
		es_position_check(store, condition->after);

	if (IsolationUsesXactSnapshot())
	{
		snapshot = RegisterSnapshot(GetTransactionSnapshot());
		found = first_match(condition, store, log, snapshot, match, &own);
		UnregisterSnapshot(snapshot);
		if (found)
			return true;
	}
	else if (condition->after > 0 && condition->after == es_position_end(store) - 1)
		return false;			/* nothing at all has come since */

	if (!store->plain && es_position_held(store))
		CommandCounterIncrement();	/* what this statement has appended counts too */
	snapshot = store->plain ? SnapshotSelf : RegisterSnapshot(GetLatestSnapshot());
	found = first_match(condition, store, log, snapshot, match, &own);
	if (!store->plain)
		UnregisterSnapshot(snapshot);
	match->unseen = found && IsolationUsesXactSnapshot() && !own;
	return found;
}

void
es_condition_raise(const EsCondition *condition, const EsConditionMatch *match)
{
	if (match->unseen)
		ereport(ERROR,
				(es_problem(ERRCODE_T_R_SERIALIZATION_FAILURE,
							ES_MEMBERS(ES_INT("position", match->position), ES_TEXT("event_type", match->type)),
							"could not serialize access due to a concurrent append of an event that matches the condition"),
				 errhint("Retry the transaction.")));
	ereport(ERROR,
			(es_problem(ERRCODE_ES_CONDITION_FAILED,
						ES_MEMBERS(ES_INT("after", condition->after), ES_INT("position", match->position),
								   ES_TEXT("event_type", match->type)),
						"an event of type \"%s\" at position %lld matches the condition, after position %lld",
						match->type, (long long) match->position, (long long) condition->after),
			 errhint("Somebody else has appended meanwhile: read by the query again and decide on what it says now.")));
}

/* Columns of read_by_query. */
enum QueryColumn
{
	QUERY_HEAD,
	QUERY_EVENT,				/* the fields of a recorded_event */
	QUERY_NCOLUMNS = QUERY_EVENT + RECORDED_NFIELDS
};

/*
 * Learn what is final for a query now.  Who cannot wait for the writers (its
 * snapshot is fixed, it does not share memory with them) or would have to wait
 * for all of them (an item without tags) goes by what is final for everybody.
 */
static void
final_for_query(EsFinal *final, EsStore *store, Relation log, const EsQuery *query)
{
	XLogRecPtr	released;

	if (!query->tagged || !OidIsValid(store->tags) ||
		RecoveryInProgress() || store->copy || IsolationUsesXactSnapshot())
	{
		es_final_begin(final, store);
		return;
	}
	final->by_mark = false;

	/* The position first, the wait second, the snapshot third: never otherwise. */
	final->last = es_position_end(store) - 1;
	es_tags_wait(store, log, query);
	if (es_position_held(store))
		CommandCounterIncrement();	/* this very statement may have appended */
	final->snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_hot_confirm_all();		/* a lock is free before what it was held for is safe */
	(void) es_horizon(store, &released);
	XLogFlush(released);
}

PG_FUNCTION_INFO_V1(event_store_read_by_query);

/*
 * The head in a row is the position up to which who has read this row has seen
 * all that match: that of the row, and of the last row that of the read, unless
 * max_count has cut it off.  Without events there is one row, with the head.
 */
Datum
event_store_read_by_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsReadQuery read = {0};
	EsQuery    *query;
	EsStore    *store;
	Relation	log;
	EsFinal		final;
	EsQueryScan scan;
	EsReadMeter meter;
	Datum		values[QUERY_NCOLUMNS];
	bool		nulls[QUERY_NCOLUMNS];
	HeapTuple	last = NULL;	/* the row before is given out when the next is known */
	int64		low;
	int64		high;
	int64		head;
	int64		count = 0;

	es_meter_read_begin(&meter);
	es_require_argument(fcinfo, 0, "query");
	query = es_query_from_jsonb(PG_GETARG_JSONB_P(0), "query");
	read.after = es_position_argument(fcinfo, 1, false);
	read.max_count = es_count_argument(fcinfo, 2);

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	final_for_query(&final, store, log, query);
	es_final_range(&final, store, &read, &low, &high);
	head = read.after;
	es_query_scan_begin(&scan, query, store, log, low, high, final.snapshot);
	while (count < read.max_count)
	{
		Datum	   *row;
		bool	   *row_nulls;

		if (!es_query_scan_next(&scan, &row, &row_nulls))
		{
			head = Max(head, final.last);
			break;
		}
		if (last != NULL)
		{
			tuplestore_puttuple(result->setResult, last);
			heap_freetuple(last);
		}
		es_recorded_event(store, es_stream_name(store, DatumGetInt64(row[LOG_STREAM_ID]), final.snapshot), row, row_nulls,
						  values + QUERY_EVENT, nulls + QUERY_EVENT);
		head = DatumGetInt64(row[LOG_POSITION]);
		values[QUERY_HEAD] = Int64GetDatum(head);
		nulls[QUERY_HEAD] = false;
		last = heap_form_tuple(result->setDesc, values, nulls);
		count++;
	}
	es_query_scan_end(&scan);
	es_final_end(&final);

	if (last != NULL)
		heap_deform_tuple(last, result->setDesc, values, nulls);
	else
		memset(nulls, true, sizeof(nulls));
	values[QUERY_HEAD] = Int64GetDatum(head);
	nulls[QUERY_HEAD] = false;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_QUERY, count);
	return (Datum) 0;
}
