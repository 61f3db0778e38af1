/*
 * telemetry.h
 *		What modules count and measure, as a whole.
 */
#ifndef ES_TELEMETRY_H
#define ES_TELEMETRY_H

#include "observe/collect.h"
#include "observe/counters.h"
#include "observe/series.h"

typedef struct EsGauges EsGauges;

/* Puts the gauges of a module; reads shared memory only. */
typedef void (*EsGaugeSource) (EsGauges *gauges);

extern void es_gauge_source(EsGaugeSource source);
extern void es_gauge_put(EsGauges *gauges, int family, Oid dbid, double value, int nlabels, const EsLabel *labels);

extern EsFamily *es_metrics_collect_for(Oid dbid, bool fine, int *count);
extern char *es_metric_exported_name(const char *name, bool counter);
extern int	es_builtin_find(const char *name);
extern void es_builtin_reset(int family, Oid dbid);

#endif							/* ES_TELEMETRY_H */
