/*
 * collect.h
 *		All metrics at one moment, as those who export them need them.
 */
#ifndef ES_COLLECT_H
#define ES_COLLECT_H

#include "utils/timestamp.h"

typedef enum EsMetricKind
{
	ES_METRIC_COUNTER,			/* only grows */
	ES_METRIC_SUM,				/* grows, or moves both ways if it is a gauge */
	ES_METRIC_LAST_VALUE,		/* a gauge */
	ES_METRIC_DISTRIBUTION,		/* a histogram */
	ES_METRIC_SUMMARY			/* count, sum, least, greatest, quantiles */
} EsMetricKind;

typedef struct EsLabel
{
	const char *name;
	const char *value;			/* UTF-8 if the database is; not escaped */
} EsLabel;

/* One label set of a metric. */
typedef struct EsSample
{
	int			nlabels;
	EsLabel    *labels;
	double		value;			/* counter, sum, last value */
	int64		count;			/* distribution and summary: the observations */
	double		sum;
	double		min;
	double		max;
	struct EsExemplar *exemplars;	/* of a distribution built in: one for each bucket, or NULL */
	int64	   *buckets;		/* distribution: observations in each bucket, not cumulative; one more than bounds */
	double	   *quantile_values;	/* summary: as many as the family has quantiles */
	TimestampTz updated_at;
} EsSample;

/*
 * A metric with its label sets.  Two databases may define the same name; every
 * sample of a user's metric carries the label "database".  What found no room
 * in memory is in a sample with the label overflow="true".
 */
typedef struct EsFamily
{
	const char *name;			/* as exported, without a suffix like _total */
	const char *defined_as;		/* as SQL knows it */
	const char *help;
	const char *unit;			/* "" or a base unit that the name ends with: seconds, bytes */
	EsMetricKind kind;
	bool		gauge;			/* a sum that may go down */
	Oid			dbid;			/* the database that defined it, InvalidOid for those built in */
	TimestampTz reset_at;
	int			nbounds;
	double	   *bounds;			/* ascending upper bounds, the last bucket is beyond them */
	int			nquantiles;
	double	   *quantiles;
	int			nsamples;
	EsSample   *samples;
} EsFamily;

/*
 * A copy of all metrics in the current memory context, sorted by name.  Reads
 * shared memory only: works without a database connection.
 */
extern EsFamily *es_metrics_collect(int *count);

#endif							/* ES_COLLECT_H */
