/*
 * hot.c
 *		Hot streams: the next append does not wait for the flush of this one.
 *
 * A commit flushes WAL, and waits for synchronous standbys, before it releases
 * its locks, so a stream takes one append a flush.  With event_store.hot_streams
 * a transaction that has appended commits as if synchronous_commit were off and
 * does both afterwards, when its locks are free and before its client is
 * answered.  Appends that queue for a stream then share flushes.
 *
 * An answer means what it always does.  What changes is that a transaction is
 * visible before it is safe.  Whoever builds on it comes after it in WAL, so is
 * lost with it or not at all.  Readers in order do not see it: it stays on the
 * in-flight lists until it is safe (log/horizon).  What else leaves the server
 * is confirmed first by those who give it out, with the functions below.
 * doc/ordering.md has the argument.
 *
 * As long as a transaction may be visible and not safe it is counted in shared
 * memory, from before its commit record is written; at 0 the functions below cost
 * one look.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "replication/syncrep.h"
#include "storage/shmem.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "log/horizon.h"
#include "log/hot.h"
#include "log/scan.h"

typedef struct HotShared
{
	pg_atomic_uint32 unconfirmed;	/* transactions */
} HotShared;

static HotShared *shared;

/* The transaction in progress commits so, and what its own synchronous_commit is. */
static bool hot = false;
static int	own_synchronous_commit;

/*
 * synchronous_commit is what the commit goes by, and nobody else looks at it
 * between here and there.  It is set past the machinery of settings, which would
 * cost more than the rest of this, and set back whatever the end.
 */
static void
before_commit(void)
{
	if (!es_hot_streams || synchronous_commit == SYNCHRONOUS_COMMIT_OFF || !es_positions_held())
		return;
	pg_atomic_fetch_add_u32(&shared->unconfirmed, 1);
	own_synchronous_commit = synchronous_commit;
	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	hot = true;
}

static void
confirmed(void)
{
	hot = false;
	pg_atomic_fetch_sub_u32(&shared->unconfirmed, 1);
}

/* In the COMMIT or ABORT callback: must not fail. */
static void
transaction_ended(bool committed)
{
	if (!hot)
		return;
	synchronous_commit = own_synchronous_commit;
	if (!committed)
		confirmed();
}

/* What the server does with a commit record that is to be safe. */
static void
make_safe(XLogRecPtr end)
{
	XLogFlush(end);
	SyncRepWaitForLSN(end, true);
}

/* All locks are free, the client has no answer yet. */
static void
after_locks(void)
{
	if (!hot)
		return;
	make_safe(XactLastCommitEnd);
	es_positions_release();
	confirmed();
}

/*
 * Has the transaction that just committed still to become safe?  Then it stays
 * on the in-flight lists.
 */
bool
es_hot_commit(void)
{
	return hot;
}

/* make_safe outside of a commit. */
static void
wait_until_safe(XLogRecPtr end)
{
	HOLD_INTERRUPTS();
	make_safe(end);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
}

/* Where WAL ends that has been inserted: not behind the header of a page that is still empty, which is no place to flush to. */
static XLogRecPtr
inserted_end(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();
	uint32		offset = end % XLOG_BLCKSZ;
	bool		first_page = XLogSegmentOffset(end, wal_segment_size) < XLOG_BLCKSZ;

	return offset == (first_page ? SizeOfXLogLongPHD : SizeOfXLogShortPHD) ? end - offset : end;
}

/*
 * Everything that is visible now leaves the server: wait until it is safe.  For
 * rare cases; where a stream is known es_hot_confirm waits for less.
 */
void
es_hot_confirm_all(void)
{
	if (pg_atomic_read_u32(&shared->unconfirmed) > 0)
		wait_until_safe(inserted_end());
}

/*
 * The events of a stream up to a version, which the snapshot sees, leave the
 * server: wait until they are safe.  The versions of a stream were committed in
 * their order, so the transaction of the last one tells.  The LSN is that of a
 * group of neighbouring transactions, so this may wait for a later one too.
 */
void
es_hot_confirm(EsStore *store, Relation log, int64 stream_id, int64 version, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	XLogRecPtr	end = InvalidXLogRecPtr;

	if (likely(pg_atomic_read_u32(&shared->unconfirmed) == 0) || version <= 0)
		return;
	if (es_store_use_sql(store, log))
	{
		es_hot_confirm_all();
		return;
	}
	es_scan_stream(&scan, store, log, stream_id, version, version, false, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		end = TransactionIdGetCommitLSN(es_scan_xmin(&scan));
	es_scan_end(&scan);
	if (end != InvalidXLogRecPtr)
		wait_until_safe(end);
}

static Size
shared_size(void)
{
	return sizeof(HotShared);
}

static void
attach(void)
{
	bool		found;

	shared = ShmemInitStruct("event_store hot streams", shared_size(), &found);
	if (!found)
		pg_atomic_init_u32(&shared->unconfirmed, 0);
}

void
EsHotInit(void)
{
	static const EsShmemPart part = {.size = shared_size, .attach = attach};
	static const EsXactHook hook = {.pre_commit = before_commit, .end = transaction_ended, .unlocked = after_locks};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
