/*
 * merge.h
 *		The rows that a reader in order wants, from one index or several.
 */
#ifndef ES_MERGE_H
#define ES_MERGE_H

#include "log/read.h"
#include "log/scan.h"

/* One scan, and its row that comes next. */
typedef struct EsSource
{
	EsScan		scan;
	Datum	   *values;			/* NULL at the end */
	bool	   *nulls;
} EsSource;

/* The members are private to merge.c. */
typedef struct EsMerge
{
	bool		backward;
	int			count;
	EsSource   *sources;
	EsSource   *given;			/* the one whose row was given out last */
	EsSource	single;
} EsMerge;

extern void es_merge_begin(EsMerge *merge, EsStore *store, Relation log, const EsReadQuery *query,
						   int64 low, int64 high, Snapshot snapshot);
extern bool es_merge_least(EsMerge *merge, Datum **values, bool **nulls);
extern void es_merge_end(EsMerge *merge);

/* As es_scan_next; in one scan there is nothing to choose. */
static inline bool
es_merge_next(EsMerge *merge, Datum **values, bool **nulls)
{
	if (merge->count == 1)
		return es_scan_next(&merge->sources->scan, values, nulls);
	return es_merge_least(merge, values, nulls);
}

#endif							/* ES_MERGE_H */
