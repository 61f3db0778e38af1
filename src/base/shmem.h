/*
 * shmem.h
 *		Shared memory: who has how much, and the locks over it.
 */
#ifndef ES_SHMEM_H
#define ES_SHMEM_H

#include "storage/lwlock.h"

typedef enum EsLWLock
{
	ES_LWLOCK_PROBLEMS,			/* the log of problems (observe/problem_log) */
	ES_LWLOCK_CHILDREN,			/* children of supervisors (runtime/child_table) */
	ES_LWLOCK_NAMES,			/* names in registries (runtime/names) */
	ES_LWLOCK_SESSIONS,			/* sessions of applications (runtime/session_table) */
	ES_LWLOCK_STORES,			/* which store has which slot (log/horizon) */
	ES_LWLOCK_WORKERS,			/* the schedulers of the databases (runtime) */
	ES_LWLOCK_COUNTERS,			/* what is added to counters (observe/counters) */
	ES_LWLOCK_SERIES,			/* which series is whose (observe/series) */
	ES_LWLOCK_TASKS,			/* tasks and the workers that run them (runtime/board, pool) */
	ES_LWLOCK_COUNT
} EsLWLock;

/* A part of shared memory that a module owns. */
typedef struct EsShmemPart
{
	Size		(*size) (void); /* of all that attach makes */
	void		(*attach) (void);	/* ShmemInitStruct and ShmemInitHash */
} EsShmemPart;

extern void es_shmem_register(const EsShmemPart *part);
extern LWLock *es_lwlock(EsLWLock which);

extern void EsShmemInit(void);

#endif							/* ES_SHMEM_H */
