/*
 * worker.h
 *		Workers: what they are told when they start.
 */
#ifndef ES_WORKER_H
#define ES_WORKER_H

#include "postmaster/bgworker.h"

typedef struct EsWorkerStart
{
	int			place;			/* in the pool */
	uint64		generation;		/* of the place */
	Oid			dbid;
} EsWorkerStart;

extern bool es_worker_register(const EsWorkerStart *start, BackgroundWorkerHandle **handle);

#endif							/* ES_WORKER_H */
