/*
 * prometheus.h
 *		All metrics as text that Prometheus and its kin read.
 */
#ifndef ES_PROMETHEUS_H
#define ES_PROMETHEUS_H

#include "observe/collect.h"

typedef enum EsTextFormat
{
	ES_FORMAT_PROMETHEUS,		/* text exposition format 0.0.4 */
	ES_FORMAT_OPENMETRICS		/* OpenMetrics 1.0 */
} EsTextFormat;

extern char *es_prometheus_text(EsTextFormat format);
extern char *es_prometheus_render(const EsFamily *families, int count, EsTextFormat format, bool ascii);

#endif							/* ES_PROMETHEUS_H */
