/*
 * append.h
 *		Appending events to a stream.
 */
#ifndef ES_APPEND_H
#define ES_APPEND_H

#include "log/event.h"

/* Where an append put its events. */
typedef struct EsAppended
{
	int64		first_version;
	int64		last_version;
	int64		first_position;
	int64		last_position;
} EsAppended;

extern void es_append(text *stream, EsEvent *events, int count, int64 expected, EsAppended *result);

#endif							/* ES_APPEND_H */
