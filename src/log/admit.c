/*
 * admit.c
 *		Holding appends to the limits of their tenant.
 *
 * Rates are decided before an append takes its first lock, so whoever is
 * refused or has to wait stands in nobody's way.  Each is a bucket of the size
 * of the burst that fills at the rate; kept of it is what is missing.  An
 * append larger than the burst passes a full bucket and leaves a debt.  All
 * that an append needs is taken at once or not at all, under a spinlock, so
 * sessions together get just what one would.  What is taken stays taken also
 * if the append fails.
 *
 * Storage is the size of the files of event_log and event_streams, with their
 * indexes and TOAST, looked at no more than once in MEASURE_INTERVAL; until
 * then what was admitted since counts on top.
 *
 * Streams are counted in the table when they are asked for the first time;
 * from then on each new one is added, when it is made, to those of
 * transactions in progress, and at the end of the transaction to the others,
 * or not.  So sessions together never make more than the limit.  Deleted
 * streams leave the number when it is counted again: before a refusal, unless
 * counting would take more than a hundredth of the time.
 *
 * All of this is in shared memory, in the place of the store's slot
 * (log/slot), and begins anew when the server or the slot does.  A slot is not
 * taken from a store while a transaction has a position in it, so what such a
 * transaction has noted here stays in its place.
 */
#include "postgres.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "log/admit.h"
#include "log/horizon.h"
#include "log/wake.h"
#include "store/tenant.h"
#include "store/tenant_limit.h"

#define SECOND				INT64CONST(1000000000)	/* times are in ns, of a clock that only goes forward */
#define MEASURE_INTERVAL	SECOND
#define COUNT_SHARE			100 /* counting streams again takes no more than this part of the time */
#define UNKNOWN				(-1)

#define NRATES				(ES_LIMIT_LAST_RATE + 1)

/* What is known of a store in use that has limits. */
typedef struct Usage
{
	slock_t		mutex;			/* over everything below */
	Oid			dbid;			/* of which store */
	Oid			log;
	double		missing[NRATES];	/* from a full bucket, at taken_at */
	int64		taken_at[NRATES];

	int64		streams;		/* in committed transactions; UNKNOWN before they are counted */
	int64		new_streams;	/* in transactions in progress */
	int64		moved;			/* new streams that were committed so far */
	int64		counted_at;
	int64		count_took;

	int64		storage;		/* when it was measured */
	int64		measured_at;
	int64		admitted;		/* bytes, since then */

	int64		refused[ES_LIMIT_COUNT];
	int64		delayed[ES_LIMIT_COUNT];
} Usage;

/* Streams that the transaction has made in a store, at a level of it. */
typedef struct Made
{
	Usage	   *usage;
	int64		streams;
	int			level;
} Made;

static Usage *usages = NULL;	/* as many as slots */

static Made *made = NULL;
static int	nmade = 0;
static int	made_size = 0;

static int64
now_ns(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) (INSTR_TIME_GET_DOUBLE(now) * SECOND);
}

/* The usage of a store, which is its own. */
static Usage *
usage_of(EsStore *store)
{
	Usage	   *usage = &usages[es_store_slot(store)];

	SpinLockAcquire(&usage->mutex);
	if (usage->dbid != MyDatabaseId || usage->log != store->log)
	{
		memset((char *) usage + offsetof(Usage, dbid), 0, sizeof(Usage) - offsetof(Usage, dbid));
		usage->dbid = MyDatabaseId;
		usage->log = store->log;
		usage->streams = UNKNOWN;
		usage->measured_at = -MEASURE_INTERVAL;
	}
	SpinLockRelease(&usage->mutex);
	return usage;
}

/* Refuse what is beyond a limit, or warn; wait is the time in ns until it may pass, 0 if that is not known. */
static void
beyond(EsStore *store, Usage *usage, EsLimitKind kind, const EsLimit *limit, int64 wait)
{
	const char *name = es_limit_names[kind];
	int64		seconds = (wait + SECOND - 1) / SECOND;

	if (limit->action == ES_LIMIT_WARN)
	{
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("event store \"%s\" is beyond its limit of %lld %s", NameStr(store->schema),
						(long long) limit->amount, name)));
		return;
	}
	SpinLockAcquire(&usage->mutex);
	usage->refused[kind]++;
	SpinLockRelease(&usage->mutex);
	if (wait > 0)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_TEXT("limit", name),
									   ES_INT("amount", limit->amount), ES_INT("retry_after", seconds)),
							"event store \"%s\" is at its limit of %lld %s", NameStr(store->schema),
							(long long) limit->amount, name),
				 errhint("Try again in %lld s, or ask the owner of the database for more.", (long long) seconds)));
	ereport(ERROR,
			(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
						ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_TEXT("limit", name),
								   ES_INT("amount", limit->amount)),
						"event store \"%s\" is at its limit of %lld %s", NameStr(store->schema),
						(long long) limit->amount, name),
			 errhint("Delete what is not needed, or ask the owner of the database for more.")));
}

/* --- rates --- */

/* What is missing from a bucket now. */
static double
missing_now(const Usage *usage, EsLimitKind kind, const EsLimit *limit, int64 now)
{
	double		filled = (double) Max(now - usage->taken_at[kind], 0) / SECOND * limit->amount;

	return Max(usage->missing[kind] - filled, 0);
}

/* How long to wait until a bucket holds what count needs; not more than a year, which is for ever. */
static int64
wait_of(double missing, const EsLimit *limit, int64 count)
{
	double		lacks = missing + Min(count, limit->burst) - limit->burst;

	return (int64) (Min(Max(lacks, 0) / limit->amount, 365.0 * SECS_PER_DAY) * SECOND);
}

static void
sleep_until(int64 end)
{
	for (;;)
	{
		int64		left = end - now_ns();

		if (left <= 0)
			return;
		es_wake_sleep(left / (SECOND / 1000) + 1);
	}
}

/* Take an append from the buckets, wait for them, or refuse it. */
static void
admit_rates(EsStore *store, Usage *usage, const EsLimit *limits, const EsLoad *load)
{
	const int64 counts[NRATES] = {[ES_LIMIT_APPENDS] = 1,[ES_LIMIT_EVENTS] = load->events,[ES_LIMIT_BYTES] = load->bytes};
	int64		now = now_ns();
	int64		longest = 0;
	int64		refusal = 0;
	int			refuses = -1;
	int			delays = -1;
	double		missing[NRATES] = {0};
	bool		warn[NRATES] = {false};

	SpinLockAcquire(&usage->mutex);
	for (int k = 0; k < NRATES; k++)
	{
		int64		wait;

		if (!limits[k].set)
			continue;
		missing[k] = missing_now(usage, k, &limits[k], now);
		wait = wait_of(missing[k], &limits[k], counts[k]);
		if (wait == 0)
			continue;
		if (limits[k].action == ES_LIMIT_WARN)
			warn[k] = true;
		else if (limits[k].action == ES_LIMIT_DELAY && wait <= limits[k].max_delay * (SECOND / 1000))
		{
			if (wait > longest)
				delays = k;
			longest = Max(longest, wait);
		}
		else if (wait > refusal)
		{
			refuses = k;
			refusal = wait;
		}
	}
	if (refuses < 0)
	{
		/* what only warns is not held to its limit, so it runs up no debt */
		for (int k = 0; k < NRATES; k++)
			if (limits[k].set && !warn[k])
			{
				usage->missing[k] = missing[k] + counts[k];
				usage->taken_at[k] = now;
			}
		if (delays >= 0)
			usage->delayed[delays]++;
	}
	SpinLockRelease(&usage->mutex);

	if (refuses >= 0)
		beyond(store, usage, refuses, &limits[refuses], refusal);
	for (int k = 0; k < NRATES; k++)
		if (warn[k])
			beyond(store, usage, k, &limits[k], 0);
	if (longest > 0)
		sleep_until(now + longest);
}

/* --- storage --- */

/* The size of a table with its partitions, indexes and TOAST; 0 if it is gone. */
static int64
size_of(Oid relid)
{
	int64		size = 0;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);

		if (rel == NULL)
			continue;
		size += DatumGetInt64(DirectFunctionCall1(pg_total_relation_size, ObjectIdGetDatum(lfirst_oid(lc))));
		relation_close(rel, AccessShareLock);
	}
	return size;
}

static int64
measure_storage(const EsStore *store)
{
	return size_of(store->log) + size_of(store->streams);
}

static void
admit_storage(EsStore *store, Usage *usage, const EsLimit *limit, const EsLoad *load)
{
	int64		now = now_ns();
	bool		stale;
	bool		passes;

	SpinLockAcquire(&usage->mutex);
	stale = now - usage->measured_at >= MEASURE_INTERVAL;
	SpinLockRelease(&usage->mutex);
	if (stale)
	{
		int64		size = measure_storage(store);

		SpinLockAcquire(&usage->mutex);
		usage->storage = size;
		usage->measured_at = now;
		usage->admitted = 0;
		SpinLockRelease(&usage->mutex);
	}

	SpinLockAcquire(&usage->mutex);
	passes = usage->storage + usage->admitted + load->bytes <= limit->amount;
	if (passes || limit->action == ES_LIMIT_WARN)
		usage->admitted += load->bytes;
	SpinLockRelease(&usage->mutex);
	if (!passes)
		beyond(store, usage, ES_LIMIT_STORAGE, limit, 0);
}

/*
 * Let an append to a store with limits pass, perhaps after a while, or raise
 * an error.  load is an EsLoad; without events it passes.
 */
void
es_admit(EsStore *store, void *load)
{
	const EsLimit *limits = es_tenant_limits(store);
	const EsLoad *l = load;
	Usage	   *usage;

	if (limits == NULL || l->events == 0)
		return;
	usage = usage_of(store);
	if (limits[ES_LIMIT_STORAGE].set)
		admit_storage(store, usage, &limits[ES_LIMIT_STORAGE], l);
	admit_rates(store, usage, limits, l);
}

/* --- streams --- */

/* The streams in the table that are not deleted. */
static int64
scan_streams(const EsStore *store)
{
	Relation	rel = table_open(store->streams, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int64		count = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		(void) slot_getattr(slot, STREAM_DELETED_AT + 1, &isnull);
		if (isnull)
			count++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return count;
}

/*
 * Count the streams of a store.  Those that are committed while we count may
 * be in the snapshot or not: they are added, so that the number is never too
 * small.  So are our own.
 */
static void
count_streams(const EsStore *store, Usage *usage)
{
	int64		start = now_ns();
	int64		own = 0;
	int64		moved;
	int64		count;

	for (int i = 0; i < nmade; i++)
		if (made[i].usage == usage)
			own += made[i].streams;
	SpinLockAcquire(&usage->mutex);
	moved = usage->moved;
	SpinLockRelease(&usage->mutex);
	count = scan_streams(store) - own;
	SpinLockAcquire(&usage->mutex);
	usage->streams = count + usage->moved - moved;
	usage->counted_at = now_ns();
	usage->count_took = usage->counted_at - start;
	SpinLockRelease(&usage->mutex);
}

/* Add one to the streams that transactions in progress have made, unless that is beyond the limit or the number is not known. */
static bool
add_stream(Usage *usage, const EsLimit *limit, bool *count_again)
{
	bool		fits;

	SpinLockAcquire(&usage->mutex);
	fits = usage->streams != UNKNOWN && usage->streams + usage->new_streams < limit->amount;
	*count_again = usage->streams == UNKNOWN || now_ns() - usage->counted_at >= usage->count_took * COUNT_SHARE;
	if (fits)
		usage->new_streams++;
	SpinLockRelease(&usage->mutex);
	return fits;
}

/* Room for one more entry of made, before anything is noted in shared memory. */
static void
make_room(void)
{
	if (nmade < made_size)
		return;
	if (made == NULL)
		made = MemoryContextAlloc(TopMemoryContext, 8 * sizeof(Made));
	else
		made = repalloc(made, made_size * 2 * sizeof(Made));
	made_size = Max(made_size * 2, 8);
}

/*
 * One more stream is to be made in a store: count it, or refuse it.  The
 * transaction has a position in the store.
 */
void
es_admit_stream(EsStore *store)
{
	const EsLimit *limits = es_tenant_limits(store);
	const EsLimit *limit;
	Usage	   *usage;
	bool		count_again;
	int			level = GetCurrentTransactionNestLevel();

	if (likely(limits == NULL) || !limits[ES_LIMIT_STREAMS].set)
		return;
	limit = &limits[ES_LIMIT_STREAMS];
	usage = usage_of(store);
	make_room();
	if (!add_stream(usage, limit, &count_again))
	{
		bool		added = false;

		if (count_again)
		{
			count_streams(store, usage);
			added = add_stream(usage, limit, &count_again);
		}
		if (!added)
		{
			beyond(store, usage, ES_LIMIT_STREAMS, limit, 0);
			SpinLockAcquire(&usage->mutex);
			usage->new_streams++;
			SpinLockRelease(&usage->mutex);
		}
	}
	if (nmade > 0 && made[nmade - 1].usage == usage && made[nmade - 1].level == level)
		made[nmade - 1].streams++;
	else
		made[nmade++] = (Made) {usage, 1, level};
}

/* The streams that this transaction has made since a level are there, or are not.  Runs in the COMMIT callback: must not fail. */
static void
settle(int level, bool committed)
{
	while (nmade > 0 && made[nmade - 1].level >= level)
	{
		Made	   *m = &made[--nmade];

		SpinLockAcquire(&m->usage->mutex);
		m->usage->new_streams -= m->streams;
		if (committed)
		{
			if (m->usage->streams != UNKNOWN)
				m->usage->streams += m->streams;
			m->usage->moved += m->streams;
		}
		SpinLockRelease(&m->usage->mutex);
	}
}

static void
transaction_ended(bool committed)
{
	settle(0, committed);
}

static void
subtransaction_ended(bool committed, int level)
{
	if (!committed)
		settle(level, false);
	else
		for (int i = nmade - 1; i >= 0 && made[i].level >= level; i--)
			made[i].level = level - 1;
}

static Size
usages_size(void)
{
	return mul_size(es_max_stores, sizeof(Usage));
}

static void
attach_usages(void)
{
	bool		found;

	usages = ShmemInitStruct("event_store usage", usages_size(), &found);
	if (found)
		return;
	memset(usages, 0, usages_size());
	for (int i = 0; i < es_max_stores; i++)
		SpinLockInit(&usages[i].mutex);
}

void
EsAdmitInit(void)
{
	static const EsShmemPart part = {.size = usages_size, .attach = attach_usages};
	static const EsXactHook hook = {.end = transaction_ended, .sub_end = subtransaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
}

PG_FUNCTION_INFO_V1(event_store_tenant_usage);

/* tenant_usage(name): what a tenant uses of what can be limited. */
Datum
event_store_tenant_usage(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsTenant	tenant;
	EsStore    *store;
	Usage	   *shared;
	Usage		usage;
	const EsLimit *limits;
	int64		now;

	es_tenant_get(name, &tenant);
	store = es_store_of_schema(tenant.nspid);
	if (store == NULL)
		es_tenant_broken(&tenant);
	if (pg_class_aclcheck(store->log, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"permission denied to see what tenant \"%s\" uses", name),
				 errhint("Its owner gives rights with event_store.grant_tenant().")));
	es_tenant_guard_named(tenant.nspid);
	InitMaterializedSRF(fcinfo, 0);
	shared = usage_of(store);
	count_streams(store, shared);
	limits = es_tenant_limits(store);
	now = now_ns();
	SpinLockAcquire(&shared->mutex);
	usage = *shared;
	SpinLockRelease(&shared->mutex);

	for (int k = 0; k < ES_LIMIT_COUNT; k++)
	{
		bool		limited = limits != NULL && limits[k].set;
		bool		is_rate = k <= ES_LIMIT_LAST_RATE;
		Datum		values[7];
		bool		nulls[7] = {false, is_rate && !limited, !limited, !limited || !is_rate, !limited};

		values[0] = CStringGetTextDatum(es_limit_names[k]);
		if (k == ES_LIMIT_STREAMS)
			values[1] = Int64GetDatum(usage.streams + usage.new_streams);
		else if (k == ES_LIMIT_STORAGE)
			values[1] = Int64GetDatum(measure_storage(store));
		else if (limited)
			values[1] = Int64GetDatum((int64) ceil(missing_now(&usage, k, &limits[k], now)));
		if (limited)
		{
			values[2] = Int64GetDatum(limits[k].amount);
			values[3] = Int64GetDatum(limits[k].burst);
			values[4] = CStringGetTextDatum(es_limit_actions[limits[k].action]);
		}
		values[5] = Int64GetDatum(usage.refused[k]);
		values[6] = Int64GetDatum(usage.delayed[k]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
