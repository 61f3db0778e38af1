/*
 * progress.h
 *		How far imports have come: the table import_progress.
 */
#ifndef ES_PROGRESS_H
#define ES_PROGRESS_H

#include "datatype/timestamp.h"
#include "utils/rel.h"

/* An import: a row of import_progress. */
typedef struct EsProgress
{
	int64		store_number;
	text	   *name;
	text	   *source;			/* what the last call read */
	int64		last_line;		/* 0: nothing yet */
	int64		last_hash;		/* of what stood in that line */
	int64		events;			/* appended by all calls */
	int64		remaining;
	int64		call_events;	/* appended by the last call */
	TimestampTz started_at;
	TimestampTz called_at;
	TimestampTz changed_at;
} EsProgress;

extern void es_progress_lock(int64 store_number, text *name);
extern bool es_progress_find(int64 store_number, text *name, EsProgress *progress);
extern void es_progress_save(const EsProgress *progress);
extern bool es_progress_forget(int64 store_number, text *name);
extern void es_progress_forget_all(int64 store_number);

#endif							/* ES_PROGRESS_H */
