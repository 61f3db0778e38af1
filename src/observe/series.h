/*
 * series.h
 *		Labelled series in shared memory: finding them, adding to them.
 */
#ifndef ES_SERIES_H
#define ES_SERIES_H

#include "utils/timestamp.h"

#include "observe/collect.h"
#include "observe/counters.h"

#define ES_METRIC_NAME_MAX		128		/* bytes, of names of metrics and events */
#define ES_METRIC_HELP_MAX		256
#define ES_UNIT_MAX				32
#define ES_MAX_TAGS				8
#define ES_TAG_NAME_MAX			48
#define ES_LABEL_VALUE_MAX		120		/* longer values are cut, between characters */
#define ES_MAX_BOUNDS			50

#define ES_SKETCH_LOWEST		(-30)	/* the sketch of a summary: buckets from 2^-30 ... */
#define ES_SKETCH_BUCKETS		(64 * ES_BUCKETS_PER_POWER + 2) /* ... to 2^34 */

#define ES_NO_FAMILY			(-1)
#define ES_STORE_FAMILY			0		/* of the counters of stores; the others are the users' */

/* A metric of the users, or (the first) what is counted for each store. */
typedef struct EsSharedFamily
{
	Oid			dbid;			/* InvalidOid: free, but for the first */
	int64		number;			/* of the definition, drawn at random */
	bool		dead;			/* its definition is dropped */
	EsMetricKind kind;
	bool		gauge;
	int			ncells;			/* of each series, besides sum and count */
	int			ntags;
	int			nbounds;
	TimestampTz reset_at;
	char		name[ES_METRIC_NAME_MAX + 1];
	char		help[ES_METRIC_HELP_MAX + 1];
	char		unit[ES_UNIT_MAX + 1];
	char		database[NAMEDATALEN];
	char		tags[ES_MAX_TAGS][ES_TAG_NAME_MAX + 1];
	double		bounds[ES_MAX_BOUNDS];
} EsSharedFamily;

/* What a series holds, or what is to be added to one. */
typedef struct EsValue
{
	double		sum;			/* of counters the count, of a last value the value */
	int64		count;
	double		min;
	double		max;
	TimestampTz updated_at;
} EsValue;

struct EsPending;

/* A series, as remembered by this backend. */
typedef struct EsSeries
{
	struct
	{
		int32		family;
		Oid			dbid;
		uint64		hash[2];	/* of the label values */
	}			key;
	int			index;
	uint64		generation;
	EsMetricKind kind;			/* of the family as it was when found */
	int			ncells;
	struct EsPending *pending;	/* of the innermost subtransaction that has one */
} EsSeries;

/* A copy of a series. */
typedef struct EsSeriesCopy
{
	int			family;
	Oid			dbid;
	bool		overflow;
	int			owner;
	int			nvalues;
	const char *values[ES_MAX_TAGS];	/* of the labels */
	EsValue		value;
	int64	   *cells;
} EsSeriesCopy;

extern int	es_family_bind(const EsSharedFamily *definition);
extern bool es_family_is_live(int family, int64 number);
extern EsSeriesCopy *es_series_copy(int *count, EsSharedFamily **families_copy, int *nfamilies);
extern EsSeriesCopy *es_series_copy_store(int index, uint64 generation);
extern int	es_series_in_use(void);
extern void es_series_reset(int family, Oid dbid, int first_cell, int ncells);
extern void es_series_forget_database(Oid dbid);

extern EsSeries *es_series_find(int family, int64 number, int nvalues, const char *const *values);
extern bool es_series_is_live(const EsSeries *series);
extern bool es_series_is_overflow(const EsSeries *series);
extern void es_series_add(const EsSeries *series, const EsValue *value, int cell);
extern void es_series_set_owner(const EsSeries *series, int owner);
extern void es_series_count(const EsSeries *series, int cell, int64 n);

/* what the transaction adds if it commits */
extern void es_pending_add(EsSeries *series, const EsValue *value, int cell);
extern int64 *es_pending_cells(EsSeries *series);
extern void es_pending_drop_family(int64 number);
extern void es_pending_drop_series(EsSeries *series);

/* for observe/pending, which may run at commit */
extern void es_series_fold(const EsSeries *series, int index, uint64 generation,
						   const EsValue *value, const int64 *cells, int ncells);
extern void es_series_kill(int index, uint64 generation);
extern void es_family_kill(Oid dbid, int64 number);
extern void es_value_add(EsMetricKind kind, EsValue *to, const EsValue *from);

extern bool es_series_save(FILE *file);
extern bool es_series_load(FILE *file);

extern void EsSeriesInit(void);
extern void EsPendingInit(void);

#endif							/* ES_SERIES_H */
