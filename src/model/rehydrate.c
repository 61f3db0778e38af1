/*
 * rehydrate.c
 *		The state of aggregates, now or as it was.
 *
 * A state is read in the caller's snapshot, like the stream itself
 * (log/read).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/hot.h"
#include "log/list.h"
#include "log/read.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/stream.h"
#include "model/rehydrate.h"
#include "model/snapshot.h"

const EsBound es_unbounded = {.version = PG_INT64_MAX, .position = PG_INT64_MAX};

/* The name of an aggregate's stream, palloc'd; an error if it cannot be one. */
text *
es_aggregate_stream(const EsAggregate *aggregate, text *id)
{
	int			prefix_length = strlen(aggregate->prefix);
	int			id_length = VARSIZE_ANY_EXHDR(id);
	text	   *stream;

	if (id_length == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_INVALID_IDENTITY, ES_MEMBERS(ES_TEXT("aggregate", aggregate->prepared.name)),
							"the identity of an aggregate must not be empty"),
				 errhint("Pass the id that follows the prefix \"%s\" in the stream's name.", aggregate->prefix)));
	stream = palloc(VARHDRSZ + prefix_length + id_length);
	SET_VARSIZE(stream, VARHDRSZ + prefix_length + id_length);
	memcpy(VARDATA(stream), aggregate->prefix, prefix_length);
	memcpy(VARDATA(stream) + prefix_length, VARDATA_ANY(id), id_length);
	es_stream_check_name(stream);
	return stream;
}

/* Is the event at a version beyond the bound? */
static bool
is_beyond(const EsBound *bound, const Datum *row)
{
	return DatumGetInt64(row[LOG_POSITION]) > bound->position ||
		(bound->by_time && DatumGetTimestampTz(row[LOG_CREATED_AT]) > bound->time);
}

/* Does row-level security decide which events the caller sees? */
bool
es_events_are_hidden(const EsStore *store)
{
	return check_enable_rls(store->log, InvalidOid, true) == RLS_ENABLED;
}

/* Fold the events after those already in the state, as the active snapshot sees them. */
void
es_fold_forward(EsFold *fold, EsStore *store, Relation log, int64 stream_id, const EsBound *bound)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;

	es_scan_stream(&scan, store, log, stream_id, fold->version + 1, bound->version, false, GetActiveSnapshot());
	while (es_scan_next(&scan, &values, &nulls) && !is_beyond(bound, values))
		es_fold_event(fold, values, nulls);
	es_scan_end(&scan);
}

/*
 * Refuse to fold from the middle of a stream: what its limits hide has to be in
 * the kept state that the fold has begun with, unless the bound is before the
 * first event.
 */
static void
check_beginning(const EsFold *fold, EsStore *store, Relation log, const EsStream *stream, const EsBound *bound)
{
	int64		first = es_stream_first_version(store, log, stream, GetActiveSnapshot());

	if (first > fold->version + 1 && bound->version > 0)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("stream", text_to_cstring(fold->stream)), ES_INT("first_version", first)),
							"cannot fold stream \"%s\": it begins at version %lld and no state is kept of what was before",
							text_to_cstring(fold->stream), (long long) first),
				 errhint("Before a stream is truncated, keep its state with event_store.take_snapshot(); older states are then out of reach.")));
}

/*
 * The state of the aggregate in a stream, up to the bound, as the active
 * snapshot sees it; sets *stream_id.  The fold is the caller's to end.
 */
EsFold *
es_rehydrate(EsAggregate *aggregate, EsStore *store, Relation log, text *name, const EsBound *bound, int64 *stream_id)
{
	EsFold	   *fold = es_fold_begin(aggregate, name, store, log);
	EsStream	stream;

	/* an apply function may itself rehydrate */
	check_stack_depth();
	es_stream_find(store, name, GetActiveSnapshot(), &stream);
	es_stream_check_open(&stream, name);
	*stream_id = stream.id;
	if (stream.id == 0)
		return fold;

	/*
	 * Whether a kept state lies before a position or a time, its version does
	 * not tell; and it was made of all events, which the caller may not see.
	 */
	if (bound->position == PG_INT64_MAX && !bound->by_time && !es_events_are_hidden(store))
		(void) es_snapshot_load(fold, store, stream.id, bound->version, GetActiveSnapshot());
	check_beginning(fold, store, log, &stream, bound);
	es_fold_forward(fold, store, log, stream.id, bound);
	return fold;
}

/* A version or a position to fold up to. */
static int64
place_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		place = PG_GETARG_INT64(argument);

	if (place < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "%s is negative", name),
				 errhint("Versions and positions begin at 1; 0 is before the first event.")));
	return place;
}

/* How far to fold, from arguments of which at most one is not null. */
static EsBound
bound_arguments(FunctionCallInfo fcinfo, int first)
{
	EsBound		bound = es_unbounded;
	int			given = !PG_ARGISNULL(first) + !PG_ARGISNULL(first + 1) + !PG_ARGISNULL(first + 2);

	if (given > 1)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL,
							"as_of_version, as_of_position and as_of_time exclude each other"),
				 errhint("Pass one of them, or none for the state as it is now.")));
	if (!PG_ARGISNULL(first))
		bound.version = place_argument(fcinfo, first, "as_of_version");
	if (!PG_ARGISNULL(first + 1))
		bound.position = place_argument(fcinfo, first + 1, "as_of_position");
	bound.by_time = !PG_ARGISNULL(first + 2);
	if (bound.by_time)
		bound.time = PG_GETARG_TIMESTAMPTZ(first + 2);
	return bound;
}

/* The state as jsonb, in the current context; *isnull if it is null. */
static Datum
state_datum(const EsFold *fold, bool *isnull)
{
	*isnull = fold->state_isnull;
	return fold->state_isnull ? (Datum) 0 : JsonbPGetDatum(es_state_to_jsonb(fold->aggregate, fold->state));
}

/* What is known while all aggregates of a kind are folded. */
typedef struct Listing
{
	ReturnSetInfo *result;
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	const text *up_to;			/* last stream, or NULL */
	int64		left;			/* how many to fold at most */
	MemoryContext row;			/* reset for each */
} Listing;

/* Sink: fold the aggregate in a stream. */
static bool
fold_stream(void *target, const Datum *row, const bool *nulls)
{
	Listing    *l = target;
	MemoryContext caller = MemoryContextSwitchTo(l->row);
	text	   *name = DatumGetTextPP(row[STREAM_NAME]);
	int			prefix = strlen(l->aggregate->prefix);
	bool		past = l->up_to != NULL &&
		DatumGetBool(DirectFunctionCall2Coll(text_gt, C_COLLATION_OID, PointerGetDatum(name), PointerGetDatum(l->up_to)));

	/* what is deleted is no more, and the prefix alone has no id */
	if (!past && nulls[STREAM_DELETED_AT] && VARSIZE_ANY_EXHDR(name) > prefix)
	{
		Datum		values[3];
		bool		result_nulls[3] = {0};
		int64		stream_id;
		EsFold	   *fold = es_rehydrate(l->aggregate, l->store, l->log, name, &es_unbounded, &stream_id);

		es_hot_confirm(l->store, l->log, stream_id, fold->version, GetActiveSnapshot());
		values[0] = PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(name) + prefix, VARSIZE_ANY_EXHDR(name) - prefix));
		values[1] = Int64GetDatum(fold->version);
		values[2] = state_datum(fold, &result_nulls[2]);
		tuplestore_putvalues(l->result->setResult, l->result->setDesc, values, result_nulls);
		es_fold_end(fold);
		l->left--;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(l->row);
	return !past && l->left > 0;
}

PG_FUNCTION_INFO_V1(event_store_rehydrate);
PG_FUNCTION_INFO_V1(event_store_rehydrate_as);
PG_FUNCTION_INFO_V1(event_store_aggregates);
PG_FUNCTION_INFO_V1(event_store_list_aggregates);
PG_FUNCTION_INFO_V1(event_store_aggregate_state);
PG_FUNCTION_INFO_V1(event_store_take_snapshot);

/* Begin a call on an aggregate: the store's log, opened, and the aggregate, taken. */
static EsAggregate *
begin(text *name, EsStore **store, Relation *log, AclMode rights)
{
	*log = es_store_open_log(store, AccessShareLock, rights);
	return es_aggregate_take(text_to_cstring(name), *store, *log);
}

Datum
event_store_rehydrate(PG_FUNCTION_ARGS)
{
	EsBound		bound = bound_arguments(fcinfo, 2);
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {0};
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	EsFold	   *fold;
	int64		stream_id;

	es_require_argument(fcinfo, 0, "aggregate");
	es_require_argument(fcinfo, 1, "id");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	aggregate = begin(PG_GETARG_TEXT_PP(0), &store, &log, ACL_SELECT);
	fold = es_rehydrate(aggregate, store, log, es_aggregate_stream(aggregate, PG_GETARG_TEXT_PP(1)), &bound, &stream_id);
	es_hot_confirm(store, log, stream_id, fold->version, GetActiveSnapshot());
	values[0] = Int64GetDatum(fold->version);
	values[1] = state_datum(fold, &nulls[1]);
	es_fold_end(fold);
	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

Datum
event_store_rehydrate_as(PG_FUNCTION_ARGS)
{
	EsBound		bound = bound_arguments(fcinfo, 3);
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	EsFold	   *fold;
	Datum		result = (Datum) 0;
	int64		stream_id;

	es_require_argument(fcinfo, 1, "aggregate");
	es_require_argument(fcinfo, 2, "id");
	aggregate = begin(PG_GETARG_TEXT_PP(1), &store, &log, ACL_SELECT);
	if (aggregate->state_type != type)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH, ES_MEMBERS(ES_TEXT("aggregate", aggregate->prepared.name)),
							"the state of aggregate \"%s\" is of type %s, not %s", aggregate->prepared.name,
							format_type_be(aggregate->state_type), format_type_be(type)),
				 errhint("Pass null::%s as the first argument.", format_type_be(aggregate->state_type))));
	fold = es_rehydrate(aggregate, store, log, es_aggregate_stream(aggregate, PG_GETARG_TEXT_PP(2)), &bound, &stream_id);
	es_hot_confirm(store, log, stream_id, fold->version, GetActiveSnapshot());
	fcinfo->isnull = fold->state_isnull;
	if (!fold->state_isnull)
		result = datumCopy(fold->state, aggregate->state_by_value, aggregate->state_length);
	es_fold_end(fold);
	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	return result;
}

Datum
event_store_aggregates(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	Datum	   *ids;
	bool	   *id_nulls;
	int			nids;
	MemoryContext row;
	MemoryContext caller;

	es_require_argument(fcinfo, 0, "aggregate");
	es_require_argument(fcinfo, 1, "ids");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &ids, &id_nulls, &nids);
	InitMaterializedSRF(fcinfo, 0);
	aggregate = begin(PG_GETARG_TEXT_PP(0), &store, &log, ACL_SELECT);

	row = AllocSetContextCreate(CurrentMemoryContext, "event_store rehydrated", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(row);
	for (int i = 0; i < nids; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {0};
		int64		stream_id;
		EsFold	   *fold;

		CHECK_FOR_INTERRUPTS();
		if (id_nulls[i])
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("argument", "ids"), ES_INT("index", i)),
								"element %d of ids is null", i),
					 errhint("Leave it out.")));
		fold = es_rehydrate(aggregate, store, log, es_aggregate_stream(aggregate, DatumGetTextPP(ids[i])), &es_unbounded, &stream_id);
		es_hot_confirm(store, log, stream_id, fold->version, GetActiveSnapshot());
		values[0] = ids[i];
		values[1] = Int64GetDatum(fold->version);
		values[2] = state_datum(fold, &nulls[2]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		es_fold_end(fold);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(caller);
	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	return (Datum) 0;
}

Datum
event_store_list_aggregates(PG_FUNCTION_ARGS)
{
	Listing		listing = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	text	   *after = NULL;

	es_require_argument(fcinfo, 0, "aggregate");
	listing.left = es_count_argument(fcinfo, 2);
	InitMaterializedSRF(fcinfo, 0);
	listing.aggregate = begin(PG_GETARG_TEXT_PP(0), &listing.store, &listing.log, ACL_SELECT);
	if (!PG_ARGISNULL(1))
		after = es_aggregate_stream(listing.aggregate, PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(3))
		listing.up_to = es_aggregate_stream(listing.aggregate, PG_GETARG_TEXT_PP(3));
	listing.row = AllocSetContextCreate(CurrentMemoryContext, "event_store rehydrated", ALLOCSET_DEFAULT_SIZES);
	if (listing.left > 0)
		es_streams_scan(listing.store, cstring_to_text(listing.aggregate->prefix), false, after, GetActiveSnapshot(),
						fold_stream, &listing);
	es_aggregate_give(listing.aggregate);
	table_close(listing.log, NoLock);
	return (Datum) 0;
}

Datum
event_store_aggregate_state(PG_FUNCTION_ARGS)
{
	EsBound		bound = es_unbounded;
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	EsFold	   *fold;
	Datum		result;
	int64		stream_id;

	es_require_argument(fcinfo, 0, "aggregate");
	es_require_argument(fcinfo, 1, "id");
	if (!PG_ARGISNULL(2))
		bound.version = place_argument(fcinfo, 2, "as_of_version");
	aggregate = begin(PG_GETARG_TEXT_PP(0), &store, &log, ACL_SELECT);
	fold = es_rehydrate(aggregate, store, log, es_aggregate_stream(aggregate, PG_GETARG_TEXT_PP(1)), &bound, &stream_id);
	es_hot_confirm(store, log, stream_id, fold->version, GetActiveSnapshot());
	result = state_datum(fold, &fcinfo->isnull);
	es_fold_end(fold);
	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	return result;
}

Datum
event_store_take_snapshot(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log;
	EsAggregate *aggregate;
	EsFold	   *fold;
	int64		stream_id;
	int64		version;

	es_require_writable();
	aggregate = begin(PG_GETARG_TEXT_PP(0), &store, &log, ACL_SELECT);
	fold = es_rehydrate(aggregate, store, log, es_aggregate_stream(aggregate, PG_GETARG_TEXT_PP(1)), &es_unbounded, &stream_id);
	version = fold->version;
	if (es_events_are_hidden(store))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"cannot keep a state for all: row-level security on event_log decides which events you see"),
				 errhint("Let the owner of the store take the snapshot.")));
	if (version > 0 && !fold->state_isnull)
		es_snapshot_save(fold, store, stream_id);
	es_fold_end(fold);
	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	PG_RETURN_INT64(version);
}
