/*
 * append.h
 *		Appending events to one or more streams.
 */
#ifndef ES_APPEND_H
#define ES_APPEND_H

#include "fmgr.h"

#include "log/event.h"

/* Where an append put its events. */
typedef struct EsAppended
{
	int64		first_version;
	int64		last_version;
	int64		first_position;
	int64		last_position;
} EsAppended;

/* What is to be appended to a stream, or only to be checked of it. */
typedef struct EsAppend
{
	text	   *stream;
	int64		expected;
	int			count;			/* of its events; 0: check only */
	bool		system;			/* the events are ours, and of reserved types */

	EsAppended	result;			/* if there are any */

	/* private to append.c */
	int			start;			/* of its events among those of all */
	int64		stream_id;
	int64		actual;
	bool		deleted;
} EsAppend;

extern void es_append(EsAppend *parts, int nparts, EsEvent *events, bool many);
extern Datum es_append_one(FunctionCallInfo fcinfo, EsAppend *part, EsEvent *events);

#endif							/* ES_APPEND_H */
