/*
 * counters.h
 *		The server's own counters and histograms: cheap to count, summed by readers.
 */
#ifndef ES_COUNTERS_H
#define ES_COUNTERS_H

#include <stdio.h>

#include "port/atomics.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "observe/exemplar.h"
#include "observe/histogram.h"

#define ES_HISTOGRAM_BUCKETS	(30 * ES_BUCKETS_PER_POWER + 2) /* 30 powers of two, and beyond */

/* Dimensions: labels with a fixed list of values. */
typedef enum EsDimension
{
	ES_DIM_NONE,
	ES_DIM_OUTCOME,
	ES_DIM_RESULT,
	ES_DIM_READ,
	ES_DIM_REASON,
	ES_DIM_CODE
} EsDimension;

enum EsOutcome
{
	ES_OUTCOME_OK,
	ES_OUTCOME_CONFLICT,
	ES_OUTCOME_ERROR,
	ES_DIM_RESULT_SIZE,			/* what is known when the call ends */
	ES_OUTCOME_ROLLBACK = ES_DIM_RESULT_SIZE,
	ES_DIM_OUTCOME_SIZE
};

enum EsReadKind
{
	ES_READ_STREAM,
	ES_READ_CATEGORY,
	ES_READ_ALL,
	ES_READ_POLL,
	ES_READ_EVENT,
	ES_READ_TYPE,
	ES_READ_CORRELATION,
	ES_READ_QUERY,
	ES_DIM_READ_SIZE
};

enum EsDropReason
{
	ES_DROP_MISSING_TAG,
	ES_DROP_BAD_TAG,
	ES_DROP_MISSING_MEASUREMENT,
	ES_DROP_BAD_MEASUREMENT,
	ES_DROP_NEGATIVE,
	ES_DROP_MAX_SERIES,
	ES_DROP_MAX_METRICS,
	ES_DIM_REASON_SIZE
};

/* Status codes of HTTP that the endpoint answers with. */
enum EsCode
{
	ES_CODE_200,
	ES_CODE_401,
	ES_CODE_404,
	ES_CODE_405,
	ES_CODE_431,
	ES_CODE_500,
	ES_CODE_503,
	ES_DIM_CODE_SIZE
};

#define ES_DIM_NONE_SIZE	1

/* Families: one for each line of metrics.def. */
enum EsBuiltin
{
#define ES_COUNTER(id, ...)			ES_FAMILY_##id,
#define ES_HISTOGRAM(id, ...)		ES_FAMILY_##id,
#define ES_STORE_COUNTER(id, ...)	ES_FAMILY_##id,
#define ES_GAUGE(id, ...)			ES_FAMILY_##id,
#include "observe/metrics.def"
#undef ES_COUNTER
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER
#undef ES_GAUGE
	ES_NFAMILIES
};

/* Cells: each value of a family's dimension has one, in order from the family's first. */
#define ES_COUNTER(id, name, unit, dim, ...)	ES_##id, ES_##id##_LAST = ES_##id + ES_DIM_##dim##_SIZE - 1,
#define ES_HISTOGRAM(...)
#define ES_STORE_COUNTER(...)
#define ES_GAUGE(...)
enum EsCounter
{
#include "observe/metrics.def"
	ES_NCOUNTERS
};
#undef ES_COUNTER
#undef ES_HISTOGRAM

#define ES_COUNTER(...)
#define ES_HISTOGRAM(id, name, unit, dim, ...)	ES_##id, ES_##id##_LAST = ES_##id + ES_DIM_##dim##_SIZE - 1,
enum EsHistogramCell
{
#include "observe/metrics.def"
	ES_NHISTOGRAMS
};

/* What a histogram's cells need to know to find a bucket. */
enum EsLowestExponent
{
#undef ES_HISTOGRAM
#define ES_HISTOGRAM(id, name, unit, dim, lowest, ...)	ES_##id##_LOWEST = (lowest),
#include "observe/metrics.def"
};
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER

#define ES_HISTOGRAM(...)
#define ES_STORE_COUNTER(id, name, unit, dim, ...)	ES_##id, ES_##id##_LAST = ES_##id + ES_DIM_##dim##_SIZE - 1,
enum EsStoreCell
{
#include "observe/metrics.def"
	ES_NSTORE_CELLS
};
#undef ES_COUNTER
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER
#undef ES_GAUGE

#define ES_SLOT_CELLS	(ES_NCOUNTERS + ES_NHISTOGRAMS * (1 + ES_HISTOGRAM_BUCKETS))

/* A histogram is a sum, a double, and its buckets. */
#define ES_HISTOGRAM_CELL(h)	(ES_NCOUNTERS + (h) * (1 + ES_HISTOGRAM_BUCKETS))

/* The sums over all backends, laid out like a slot. */
typedef struct EsTotals
{
	uint64		cells[ES_SLOT_CELLS];
} EsTotals;

static inline double
es_cell_double(uint64 bits)
{
	double		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint64
es_double_cell(double value)
{
	uint64		bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

extern pg_atomic_uint64 *es_my_cells;	/* NULL before the first count */

extern bool es_cells_attach(void);
extern void es_counters_sum(EsTotals *totals);
extern void es_counters_reset(int family);
extern TimestampTz es_counters_reset_at(int family);
extern TimestampTz es_counters_started_at(void);
extern TimestampTz es_counters_last_reset(void);
extern bool es_counters_save(FILE *file);
extern bool es_counters_load(FILE *file);

extern void EsCountersInit(void);

/* Add to a counter, at once.  Cannot fail. */
static inline void
es_count(int counter, uint64 n)
{
	pg_atomic_uint64 *cell;

	if (!es_telemetry || (es_my_cells == NULL && !es_cells_attach()))
		return;
	/* nobody else writes it, so a plain store will do */
	cell = &es_my_cells[counter];
	pg_atomic_write_u64(cell, pg_atomic_read_u64(cell) + n);
}

/* Put a value into a histogram, at once.  Cannot fail. */
static inline void
es_observe(int histogram, int lowest, double value)
{
	pg_atomic_uint64 *cells;
	pg_atomic_uint64 *bucket;

	if (!es_telemetry || (es_my_cells == NULL && !es_cells_attach()))
		return;
	cells = &es_my_cells[ES_HISTOGRAM_CELL(histogram)];
	bucket = &cells[1 + es_bucket(value, lowest, ES_HISTOGRAM_BUCKETS)];
	pg_atomic_write_u64(&cells[0], es_double_cell(es_cell_double(pg_atomic_read_u64(&cells[0])) + value));
	pg_atomic_write_u64(bucket, pg_atomic_read_u64(bucket) + 1);
	if (es_trace_is_sampled)
		es_exemplar_put(histogram, value);
}

#endif							/* ES_COUNTERS_H */
