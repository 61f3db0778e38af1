/*
 * scavenge.c
 *		Taking away for good what the limits of streams hide.
 *
 * Streams with limits are gone through in the order of their ids, a batch of
 * events a transaction.  Nothing is kept about a run: what a batch has taken is
 * gone, with truncate_before of its stream raised to it in the same transaction,
 * and the next run, after a crash too, finds what is left.
 *
 * A stream is trimmed under its lock, which is taken only if it is free: a
 * stream that somebody is writing to is left to the next run, and there is no
 * way into a deadlock.  Its last row always stays.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/delete.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/scavenge.h"
#include "log/stream.h"
#include "store/statement.h"

#define STREAMS			100		/* looked at in one transaction */
#define MAX_DELAY		(INT64CONST(3600) * 1000)	/* ms */

/* A run. */
typedef struct Scavenge
{
	int64		batch_size;
	int64		after;			/* streams up to this id are done */
	int64		trimmed;		/* the last stream that was trimmed */

	/* what it has done */
	int64		events;
	int64		streams;
	int64		busy;
} Scavenge;

/*
 * Take up to `most` events from the beginning of a stream that its limits hide;
 * returns how many it took.  The caller holds the stream's lock.
 */
static int64
trim(EsStore *store, Relation log, text *name, int64 most)
{
	Snapshot	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	EsStream	stream;
	int64		first = 0;
	int64		before = 0;

	es_stream_find(store, name, snapshot, &stream);
	if (stream.id != 0)
	{
		first = es_stream_first_stored(store, log, stream.id, snapshot);
		before = Min(es_stream_first_version(store, log, &stream, snapshot),
					 es_scan_true_version(store, log, stream.id, snapshot));
		before = Min(before, first + most);
	}
	UnregisterSnapshot(snapshot);
	if (before <= first)
		return 0;

	es_delete_events(store, stream.id, first, before);
	if (before > stream.truncate_before)
	{
		Datum		values[STREAM_NCOLUMNS] = {0};
		bool		nulls[STREAM_NCOLUMNS] = {0};
		bool		replaces[STREAM_NCOLUMNS] = {0};

		values[STREAM_TRUNCATE_BEFORE] = Int64GetDatum(before);
		replaces[STREAM_TRUNCATE_BEFORE] = true;
		es_stream_update(store, name, values, nulls, replaces);
	}
	return before - first;
}

/* The next streams with limits; returns their number.  Names are palloc'd. */
static int
next_streams(EsStore *store, int64 after, int64 *ids, text **names)
{
	Datum		parameters[] = {Int64GetDatum(after), Int64GetDatum(STREAMS)};
	MemoryContext caller = CurrentMemoryContext;
	int			count;

	SPI_connect();
	if (SPI_execute_plan(es_statement_plan(store, ES_STMT_LIMITED_STREAMS), parameters, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for streams with limits");
	count = (int) SPI_processed;
	for (int i = 0; i < count; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;
		MemoryContext spi;

		ids[i] = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		spi = MemoryContextSwitchTo(caller);
		names[i] = DatumGetTextPCopy(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return count;
}

/* Do a batch, the work of one transaction; tells whether there may be more to do. */
static bool
do_batch(Scavenge *s)
{
	int64		ids[STREAMS];
	text	   *names[STREAMS];
	EsStore    *store;
	Relation	log = es_store_open_log(&store, RowExclusiveLock, ACL_DELETE);
	int64		left = s->batch_size;
	int			count;

	es_delete_check(store);
	count = next_streams(store, s->after, ids, names);
	for (int i = 0; i < count && left > 0; i++)
	{
		int64		taken;

		CHECK_FOR_INTERRUPTS();
		if (!es_stream_lock_if_free(store, log, es_stream_lock_key(names[i])))
		{
			s->busy++;
			s->after = ids[i];
			continue;
		}
		taken = trim(store, log, names[i], left);
		left -= taken;
		s->events += taken;
		if (taken > 0 && s->trimmed != ids[i])
		{
			s->trimmed = ids[i];
			s->streams++;
		}

		/* there may be more of a stream that used the batch up: the next one looks */
		if (left > 0)
			s->after = ids[i];
	}
	table_close(log, NoLock);
	return count == STREAMS || left == 0;
}

/*
 * Do a batch of up to so many events in the store in use, for the streams
 * whose ids come after *after; tells whether there may be more, after the new
 * *after.
 */
bool
es_scavenge_step(int64 *after, int64 batch_size)
{
	Scavenge	s = {.batch_size = batch_size, .after = *after};
	bool		more = do_batch(&s);

	*after = s.after;
	return more;
}

/* End the transaction, wait, and begin the next. */
static void
next_transaction(int64 delay)
{
	TimestampTz deadline;
	long		remaining;

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
	while ((remaining = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline)) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, remaining, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	EnsurePortalSnapshotExists();
}

PG_FUNCTION_INFO_V1(event_store_scavenge_store);

Datum
event_store_scavenge_store(PG_FUNCTION_ARGS)
{
	Scavenge	s = {0};
	bool		atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext batch;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {0};
	int64		delay;
	bool		more;

	es_require_argument(fcinfo, 0, "batch_size");
	es_require_argument(fcinfo, 1, "delay");
	s.batch_size = PG_GETARG_INT32(0);
	delay = es_interval_ms(PG_GETARG_INTERVAL_P(1));
	if (s.batch_size < 1 || delay < 0 || delay > MAX_DELAY)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("argument", s.batch_size < 1 ? "batch_size" : "delay")),
							s.batch_size < 1 ? "batch_size is not positive" : "delay is negative or longer than an hour"),
				 errhint("Take 1000 events at a time, say, and wait 10 ms between.")));

	batch = AllocSetContextCreate(PortalContext, "event_store scavenge", ALLOCSET_DEFAULT_SIZES);
	do
	{
		MemoryContextSwitchTo(batch);
		more = do_batch(&s);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(batch);
		if (more && !atomic)
			next_transaction(delay);
	} while (more);
	MemoryContextDelete(batch);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(s.events);
	values[1] = Int64GetDatum(s.streams);
	values[2] = Int64GetDatum(s.busy);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
