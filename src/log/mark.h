/*
 * mark.h
 *		The durable mark: the horizon as a table row.
 */
#ifndef ES_MARK_H
#define ES_MARK_H

#include "store/store.h"
#include "utils/snapshot.h"

extern int64 es_mark_read(EsStore *store, Snapshot snapshot);
extern bool es_mark_advance(EsStore *store);

/*
 * A stretch of a store's history that one server wrote.  What is above `after`
 * when the next one begins may be lost: it is the mark as the next one found it.
 */
typedef struct EsEpoch
{
	int64		system;			/* system identifier */
	int64		timeline;
	int64		place;			/* OIDs of database and event_mark: other ones after a restore or a copy */
	int64		after;			/* the mark when it began */
} EsEpoch;

extern void es_epoch_here(const EsStore *store, EsEpoch *epoch);
extern bool es_epoch_equal(const EsEpoch *a, const EsEpoch *b);
extern List *es_mark_epochs(EsStore *store);
extern Datum es_epochs_array(List *epochs);

#endif							/* ES_MARK_H */
