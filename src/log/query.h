/*
 * query.h
 *		Queries over the types and tags of events: their form, and the events that match.
 */
#ifndef ES_QUERY_H
#define ES_QUERY_H

#include "utils/jsonb.h"

#include "log/scan.h"

/* An event matches if it has one of the types, unless there are none, and all of the tags. */
typedef struct EsQueryItem
{
	int			ntypes;
	text	  **types;
	int			ntags;
	text	  **tags;
} EsQueryItem;

/* An event matches if it matches any of the items, of which there is at least one. */
typedef struct EsQuery
{
	int			nitems;
	EsQueryItem *items;
	bool		tagged;			/* every item has tags */
} EsQuery;

/* The events with a tag, and how far along them a scan has come.  Private to query.c, like what follows. */
typedef struct EsTagCursor
{
	text	   *tag;
	IndexScanDesc desc;
	TupleTableSlot *slot;
	int64		position;		/* 0: not begun, PG_INT64_MAX: at the end */
} EsTagCursor;

typedef struct EsQueryScan
{
	const EsQuery *query;
	EsStore    *store;
	Relation	log;
	Snapshot	snapshot;
	int64		low;
	int64		high;
	EsScan		events;
	bool		looking;		/* it has begun */
	Relation	tags;			/* NULL: all events between low and high are looked at */
	Relation	by_tag;
	EsTagCursor **cursors;		/* for each item one for each of its tags */
	int64	   *next;			/* for each item, where it may match next */
} EsQueryScan;

extern EsQuery *es_query_from_jsonb(Jsonb *json, const char *argument);
extern void es_query_scan_begin(EsQueryScan *scan, const EsQuery *query, EsStore *store, Relation log,
								int64 low, int64 high, Snapshot snapshot);
extern bool es_query_scan_next(EsQueryScan *scan, Datum **values, bool **nulls);
extern void es_query_scan_end(EsQueryScan *scan);

#endif							/* ES_QUERY_H */
