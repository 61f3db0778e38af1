/*
 * source.h
 *		What a subscriber follows: some of the events of a store, in order.
 */
#ifndef ES_SOURCE_H
#define ES_SOURCE_H

#include "deliver/path.h"
#include "log/read.h"

typedef struct EsEventSource
{
	text	   *stream;			/* of this stream; NULL: of any */
	text	   *category;		/* of the streams of this category; NULL: of any */
	EsNames		types;			/* of these types; NULL data: of any */
	EsPath	   *filter;			/* for which this holds; NULL: for all */
} EsEventSource;

/*
 * Takes an event, a row of event_log.  Returns false to leave it and to end the
 * reading before it.  Runs in a memory context that is reset after each event.
 */
typedef bool (*EsTake) (void *target, text *stream, const Datum *row, const bool *nulls);

#define ES_SOURCE_STEP	100000	/* rows to look at in one go, so that progress can be kept */

extern EsEventSource *es_source_make(text *stream, text *category, EsNames types, JsonPath *filter);
extern void es_source_check(const EsEventSource *source, EsStore *store, Snapshot snapshot);
extern int64 es_source_read(const EsEventSource *source, EsStore *store, Relation log, const EsFinal *final,
							int64 after, int64 max_rows, EsTake take, void *target);

#endif							/* ES_SOURCE_H */
