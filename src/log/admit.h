/*
 * admit.h
 *		Holding appends to the limits of their tenant.
 */
#ifndef ES_ADMIT_H
#define ES_ADMIT_H

#include "store/store.h"

/* What an append is going to do to a store. */
typedef struct EsLoad
{
	int64		events;
	int64		bytes;
} EsLoad;

extern void es_admit(EsStore *store, void *load);
extern void es_admit_stream(EsStore *store);

extern void EsAdmitInit(void);

#endif							/* ES_ADMIT_H */
