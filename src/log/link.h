/*
 * link.h
 *		Events of a stream that point to events elsewhere.
 */
#ifndef ES_LINK_H
#define ES_LINK_H

#include "log/read.h"

extern bool es_link_resolve(EsStore *store, Relation log, const Datum *row, Snapshot snapshot,
							EsEventSink sink, void *target);

#endif							/* ES_LINK_H */
