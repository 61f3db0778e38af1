/*
 * append.h
 *		Appending events to one or more streams.
 */
#ifndef ES_APPEND_H
#define ES_APPEND_H

#include "fmgr.h"

#include "log/condition.h"
#include "log/event.h"
#include "store/store.h"

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

/*
 * The order in which the events of several parts get their positions, if it is
 * not that of the parts.  A row is the place in that order, from 0.
 */
typedef struct EsOrder
{
	const int  *event;			/* of each row, among the events of all parts */
	const int  *part;			/* of each row */
	const int  *row;			/* of each event */
	const int64 *line;			/* of each event: what errors name ... */
	const char *source;			/* ... and of what it is a line */
	int64		bytes;			/* of all events, as es_events_check counts them */
} EsOrder;

/* For a floor above: an append of this transaction has written events at count positions from first on. */
typedef void (*EsAppendHook) (EsStore *store, int64 first, int count);

extern EsAppendHook es_append_hook;

extern void es_append(EsAppend *parts, int nparts, EsEvent *events, bool many);
extern void es_append_if(EsAppend *parts, int nparts, EsEvent *events, bool many, const EsCondition *condition);
extern void es_append_lines(EsAppend *parts, int nparts, EsEvent *events, const EsOrder *order);
extern EsPayload es_append_payload(void);
extern Datum es_append_one(FunctionCallInfo fcinfo, EsAppend *part, EsEvent *events, const EsCondition *condition);

#endif							/* ES_APPEND_H */
