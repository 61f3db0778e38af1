/*
 * metric.h
 *		Metrics that users define.
 */
#ifndef ES_METRIC_H
#define ES_METRIC_H

#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/jsonpath.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "observe/series.h"

/* Columns of metric_definitions. */
enum EsDefinitionColumn
{
	DEFINITION_NUMBER,
	DEFINITION_NAME,
	DEFINITION_TYPE,
	DEFINITION_EVENT,
	DEFINITION_MEASUREMENT,
	DEFINITION_TAGS,
	DEFINITION_KEEP,
	DEFINITION_DROP,
	DEFINITION_DESCRIPTION,
	DEFINITION_UNIT,
	DEFINITION_MEASURED_IN,
	DEFINITION_BUCKETS,
	DEFINITION_GAUGE,
	DEFINITION_COMMIT_RULE,
	DEFINITION_DEFINED_AT,
	DEFINITION_NCOLUMNS
};

/* A metric, as cached by this backend. */
typedef struct EsMetric
{
	EsSharedFamily definition;
	char	   *event;
	char	   *measurement;	/* NULL: a counter */
	JsonPath   *keep;
	JsonPath   *drop;
	double		factor;			/* from the unit it is measured in */
	bool		immediate;		/* counts also if the transaction rolls back */
	int			family;			/* ES_NO_FAMILY before the first measurement */
	EsSeries   *series;			/* of a metric without tags */
} EsMetric;

/* What a unit is multiples of; false if it is none of ours. */
extern bool es_unit_find(const char *unit, const char **base, double *factor);
extern EsMetricKind es_metric_kind(const char *name);
extern Relation es_metric_open_definitions(LOCKMODE lockmode);

extern uint64 es_metrics_load(void);
extern List *es_metrics_of(const char *event, int length);
extern void es_metric_record(EsMetric *metric, Jsonb *measurements, Jsonb *metadata);
extern bool es_metrics_reset(const char *name);
extern bool es_metric_is_defined(const char *name);
pg_noreturn extern void es_metric_missing(const char *name);

#endif							/* ES_METRIC_H */
