/*
 * counters.c
 *		The server's own counters and histograms: cheap to count, summed by readers.
 *
 * Each process number, auxiliary processes included, has a slot of cells that
 * only the process with this number writes, with plain 64-bit stores: no lock,
 * no atomic addition, and no cache line that two processes write.  A reader
 * adds up all slots.  A process that ends leaves its slot as it is, and the
 * next one with its number counts on from there; so a total never goes back,
 * and there is nothing to do, and nothing to be done in the right order, at
 * the exit of a process.  (The server hands the number over under a lock of
 * its own, which orders the stores of the two.)
 *
 * What is added to the sum is the adjustment: what was kept over a restart,
 * less what there was at the last reset.  So neither ever touches a slot.  The
 * adjustment is under ES_LWLOCK_COUNTERS.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "observe/counters.h"

typedef struct CountersShared
{
	TimestampTz started_at;
	TimestampTz reset_at[ES_NFAMILIES];
	EsTotals	adjustment;
} CountersShared;

/* Where the cells of a family are. */
typedef struct FamilyCells
{
	int			first;
	int			count;
	bool		histogram;
} FamilyCells;

static const FamilyCells family_cells[ES_NFAMILIES] = {
#define ES_COUNTER(id, name, unit, dim, ...) \
	[ES_FAMILY_##id] = {ES_##id, ES_DIM_##dim##_SIZE, false},
#define ES_HISTOGRAM(id, name, unit, dim, ...) \
	[ES_FAMILY_##id] = {ES_HISTOGRAM_CELL(ES_##id), ES_DIM_##dim##_SIZE * (1 + ES_HISTOGRAM_BUCKETS), true},
#define ES_STORE_COUNTER(...)
#define ES_GAUGE(...)
#include "observe/metrics.def"
#undef ES_COUNTER
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER
#undef ES_GAUGE
};

pg_atomic_uint64 *es_my_cells = NULL;

static CountersShared *shared = NULL;
static char *slots = NULL;		/* slot_count() times slot_size() */

static int
slot_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
slot_size(void)
{
	return TYPEALIGN(PG_CACHE_LINE_SIZE, ES_SLOT_CELLS * sizeof(pg_atomic_uint64));
}

static pg_atomic_uint64 *
slot(int number)
{
	return (pg_atomic_uint64 *) (slots + number * slot_size());
}

static Size
shared_size(void)
{
	return add_size(TYPEALIGN(PG_CACHE_LINE_SIZE, sizeof(CountersShared)), PG_CACHE_LINE_SIZE);
}

static Size
counters_size(void)
{
	return add_size(shared_size(), mul_size(slot_count(), slot_size()));
}

static void
counters_attach(void)
{
	bool		found;
	char	   *area = ShmemInitStruct("event_store counters", counters_size(), &found);

	shared = (CountersShared *) area;
	slots = (char *) TYPEALIGN(PG_CACHE_LINE_SIZE, area + sizeof(CountersShared));
	es_my_cells = NULL;
	if (found)
		return;

	memset(shared, 0, sizeof(*shared));
	for (int i = 0; i < slot_count(); i++)
		for (int c = 0; c < ES_SLOT_CELLS; c++)
			pg_atomic_init_u64(&slot(i)[c], 0);
	shared->started_at = GetCurrentTimestamp();
	for (int i = 0; i < ES_NFAMILIES; i++)
		shared->reset_at[i] = shared->started_at;
}

/* Find this process's slot; false if it has none, like the postmaster.  Cannot fail. */
bool
es_cells_attach(void)
{
	if (slots == NULL || MyProc == NULL)
		return false;
	es_my_cells = slot(ES_MY_PROC_NUMBER);
	return true;
}

static bool
is_sum(int cell)
{
	return cell >= ES_NCOUNTERS && (cell - ES_NCOUNTERS) % (1 + ES_HISTOGRAM_BUCKETS) == 0;
}

/* The sums over all slots, adjusted.  The caller holds the lock, or is the last process. */
static void
sum_slots(EsTotals *totals)
{
	*totals = shared->adjustment;
	for (int i = 0; i < slot_count(); i++)
	{
		pg_atomic_uint64 *cells = slot(i);

		for (int c = 0; c < ES_SLOT_CELLS; c++)
		{
			uint64		value = pg_atomic_read_u64(&cells[c]);

			if (value == 0)
				continue;
			if (is_sum(c))
				totals->cells[c] = es_double_cell(es_cell_double(totals->cells[c]) + es_cell_double(value));
			else
				totals->cells[c] += value;
		}
	}
}

/* The sums over all backends, now. */
void
es_counters_sum(EsTotals *totals)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_COUNTERS), LW_SHARED);
	sum_slots(totals);
	LWLockRelease(es_lwlock(ES_LWLOCK_COUNTERS));
}

/* Let a family of counters or histograms count from zero. */
void
es_counters_reset(int family)
{
	const FamilyCells *cells = &family_cells[family];
	EsTotals	totals;

	LWLockAcquire(es_lwlock(ES_LWLOCK_COUNTERS), LW_EXCLUSIVE);
	sum_slots(&totals);
	for (int c = cells->first; c < cells->first + cells->count; c++)
	{
		if (is_sum(c))
			shared->adjustment.cells[c] = es_double_cell(es_cell_double(shared->adjustment.cells[c]) -
														 es_cell_double(totals.cells[c]));
		else
			shared->adjustment.cells[c] -= totals.cells[c];
	}
	shared->reset_at[family] = GetCurrentTimestamp();
	LWLockRelease(es_lwlock(ES_LWLOCK_COUNTERS));
}

/* When a family began to count from zero. */
TimestampTz
es_counters_reset_at(int family)
{
	return shared->reset_at[family];
}

/* When counting began: the first start of the server, or the one after the last crash. */
TimestampTz
es_counters_started_at(void)
{
	return shared->started_at;
}

/* The latest reset of any family, or when counting began. */
TimestampTz
es_counters_last_reset(void)
{
	TimestampTz last = shared->started_at;

	for (int i = 0; i < ES_NFAMILIES; i++)
		last = Max(last, shared->reset_at[i]);
	return last;
}

/* --- over a restart (observe/keep) --- */

/* Runs in the postmaster, as the last process. */
bool
es_counters_save(FILE *file)
{
	CountersShared kept = *shared;

	sum_slots(&kept.adjustment);
	return fwrite(&kept, sizeof(kept), 1, file) == 1;
}

/* Runs in the postmaster, before any other process.  If it fails, counting begins at zero. */
bool
es_counters_load(FILE *file)
{
	CountersShared kept;

	if (fread(&kept, sizeof(kept), 1, file) != 1)
		return false;
	*shared = kept;
	return true;
}

void
EsCountersInit(void)
{
	static const EsShmemPart part = {counters_size, counters_attach};

	es_shmem_register(&part);
}
