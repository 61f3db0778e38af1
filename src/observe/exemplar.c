/*
 * exemplar.c
 *		A trace for each bucket of the server's own histograms.
 *
 * A session that works within a sampled trace (event_store.traceparent) leaves
 * the trace's ids beside what it measures; OpenMetrics shows the latest of each
 * bucket, so that whoever sees slow appends can look one of them up.  What has
 * no sampled trace costs one comparison more.
 *
 * The spinlock of a bucket is over its exemplar and is held alone.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "storage/spin.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "observe/counters.h"
#include "observe/exemplar.h"

#define MAX_SHOWN	24			/* buckets of a histogram that are exported */

/* "00-" before the trace, and "-" before the span (base/settings has checked the form) */
#define TRACE_AT	3
#define SPAN_AT		(TRACE_AT + ES_TRACE_ID_LENGTH + 1)

typedef struct SharedExemplar
{
	slock_t		mutex;
	EsExemplar	exemplar;
} SharedExemplar;

typedef struct Shown
{
	int			first;			/* exponents of the bounds that are exported */
	int			last;
} Shown;

static const Shown shown[ES_NHISTOGRAMS] = {
#define ES_COUNTER(...)
#define ES_STORE_COUNTER(...)
#define ES_GAUGE(...)
#define ES_HISTOGRAM(id, name, unit, dim, lowest, first, last, help) \
	[ES_##id ... ES_##id##_LAST] = {first, last},
#include "observe/metrics.def"
#undef ES_COUNTER
#undef ES_STORE_COUNTER
#undef ES_GAUGE
#undef ES_HISTOGRAM
};

static SharedExemplar *exemplars = NULL;	/* MAX_SHOWN for each histogram */

static Size
exemplar_size(void)
{
	return mul_size(ES_NHISTOGRAMS * MAX_SHOWN, sizeof(SharedExemplar));
}

static void
exemplar_attach(void)
{
	bool		found;

	exemplars = ShmemInitStruct("event_store exemplars", exemplar_size(), &found);
	if (found)
		return;
	memset(exemplars, 0, exemplar_size());
	for (int i = 0; i < ES_NHISTOGRAMS * MAX_SHOWN; i++)
		SpinLockInit(&exemplars[i].mutex);
}

/* The exported bucket that holds a value: they are powers of two, of which the last has no bound. */
static int
shown_bucket(int histogram, double value)
{
	int			powers = shown[histogram].last - shown[histogram].first;
	int			fine = es_bucket(value, shown[histogram].first, powers * ES_BUCKETS_PER_POWER + 2);

	return Min((fine + ES_BUCKETS_PER_POWER - 1) / ES_BUCKETS_PER_POWER, MAX_SHOWN - 1);
}

/* Note that a value was measured in the trace of this session, which has one.  Cannot fail. */
void
es_exemplar_put(int histogram, double value)
{
	SharedExemplar *shared = &exemplars[histogram * MAX_SHOWN + shown_bucket(histogram, value)];
	EsExemplar	exemplar = {.value = value, .at = GetCurrentTimestamp()};

	memcpy(exemplar.trace_id, es_traceparent + TRACE_AT, ES_TRACE_ID_LENGTH);
	memcpy(exemplar.span_id, es_traceparent + SPAN_AT, ES_SPAN_ID_LENGTH);
	SpinLockAcquire(&shared->mutex);
	shared->exemplar = exemplar;
	SpinLockRelease(&shared->mutex);
}

/* The exemplars of a histogram's exported buckets, none older than since; palloc'd. */
EsExemplar *
es_exemplars_copy(int histogram, int nbuckets, TimestampTz since)
{
	EsExemplar *copy = palloc0(nbuckets * sizeof(EsExemplar));

	for (int i = 0; i < Min(nbuckets, MAX_SHOWN); i++)
	{
		SharedExemplar *shared = &exemplars[histogram * MAX_SHOWN + i];

		SpinLockAcquire(&shared->mutex);
		copy[i] = shared->exemplar;
		SpinLockRelease(&shared->mutex);
		if (copy[i].at < since)
			copy[i].at = 0;
	}
	return copy;
}

void
EsExemplarInit(void)
{
	static const EsShmemPart part = {exemplar_size, exemplar_attach};

	es_shmem_register(&part);
}
