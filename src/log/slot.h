/*
 * slot.h
 *		The shared memory of stores in use.
 */
#ifndef ES_SLOT_H
#define ES_SLOT_H

#include "access/xlogdefs.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "store/store.h"

#define ES_NONE		(-1)		/* no slot, no entry */

/* A store in use. */
typedef struct EsStoreSlot
{
	slock_t		mutex;			/* over everything below */
	Oid			dbid;			/* InvalidOid: slot is free */
	Oid			log;
	int			first;			/* in-flight list, numbers of entries */
	int			last;
	int64		next;			/* next position; 0: not yet known */
	int64		end;			/* end of the reserved block, exclusive */
	int64		kept_next;		/* the same when the server was last shut down, 0: not known */
	int64		kept_end;
	XLogRecPtr	released;		/* end of the latest commit record that left the list */
	int			series;			/* that counts for the store (log/meter) */
	uint64		series_generation;	/* 0: not yet known */
} EsStoreSlot;

/* A transaction in flight in a store. */
typedef struct EsInFlight
{
	int64		position;		/* the first that it got in this store */
	int			previous;
	int			following;		/* also links the free entries of the pool */
	int			pid;
	TimestampTz since;			/* when it got the first position */
} EsInFlight;

extern EsInFlight *es_in_flight;

extern void es_slot_find(EsStore *store);
extern bool es_slot_kept_here(void);
extern int	es_slot_number(const EsStoreSlot *slot);
extern EsStoreSlot *es_slot(int number);
extern int	es_slots_used(void);
extern int	es_slot_next_in_use(int after, Oid dbid, Oid *log);

extern int	es_in_flight_take(bool own);
extern void es_in_flight_give(int entry);

extern void EsSlotInit(void);

/* Is the slot still the store's?  The caller holds the spinlock. */
static inline bool
es_slot_is(const EsStoreSlot *slot, const EsStore *store)
{
	return slot->dbid == MyDatabaseId && slot->log == store->log;
}

#endif							/* ES_SLOT_H */
