/*
 * retention.h
 *		Limits of a stream: how far back it is read.
 */
#ifndef ES_RETENTION_H
#define ES_RETENTION_H

#include "log/stream.h"

extern int64 es_stream_first_version(EsStore *store, Relation log, const EsStream *stream, Snapshot snapshot);
extern int64 es_stream_first_stored(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot);

#endif							/* ES_RETENTION_H */
