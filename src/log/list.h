/*
 * list.h
 *		Going through the streams of a store by name.
 */
#ifndef ES_LIST_H
#define ES_LIST_H

#include "utils/snapshot.h"

#include "store/store.h"

/* Takes one row of event_streams; false: enough. */
typedef bool (*EsStreamSink) (void *target, const Datum *row, const bool *nulls);

extern void es_streams_scan(EsStore *store, text *start, bool exactly, const text *after, Snapshot snapshot,
							EsStreamSink sink, void *target);

#endif							/* ES_LIST_H */
