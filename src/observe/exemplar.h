/*
 * exemplar.h
 *		A trace for each bucket of the server's own histograms.
 */
#ifndef ES_EXEMPLAR_H
#define ES_EXEMPLAR_H

#include "utils/timestamp.h"

#define ES_TRACE_ID_LENGTH	32	/* hexadecimal digits */
#define ES_SPAN_ID_LENGTH	16

/* The latest value of a bucket that was measured in a trace. */
typedef struct EsExemplar
{
	double		value;
	TimestampTz at;				/* 0: none */
	char		trace_id[ES_TRACE_ID_LENGTH + 1];
	char		span_id[ES_SPAN_ID_LENGTH + 1];
} EsExemplar;

extern void es_exemplar_put(int histogram, double value);
extern EsExemplar *es_exemplars_copy(int histogram, int nbuckets, TimestampTz since);

extern void EsExemplarInit(void);

#endif							/* ES_EXEMPLAR_H */
