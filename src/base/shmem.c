/*
 * shmem.c
 *		Shared memory: the parts that the modules register, and the locks.
 *
 * A module registers its part from its XxxInit(); the parts are requested and
 * attached here, in the order of registration.  The postmaster runs the
 * startup hook again after a crash, so an attach function must set every
 * pointer anew and initialise what it finds uninitialised.
 *
 * Lock order, outermost first.  Nobody takes an earlier one while holding a
 * later one:
 *
 *	1. heavyweight locks: relations, then streams, then the refill of a store
 *	2. ES_LWLOCK_WORKERS
 *	3. ES_LWLOCK_STORES
 *	4. the spinlock of a store's slot (log/horizon)
 *	5. the spinlock of a store's waiters (log/wake), the spinlock of the pool
 *	   of in-flight entries (log/horizon); never two of these at once
 *
 * The spinlock of a store's usage (log/admit) is taken while holding a
 * heavyweight lock or none, and nothing is taken under it.
 *
 * ES_LWLOCK_CHILDREN, ES_LWLOCK_NAMES and ES_LWLOCK_SESSIONS stand alone but
 * for the spinlocks of the pool (base/shared), which may be taken under
 * anything, and of mailboxes, under nothing.
 *
 * ES_LWLOCK_PROBLEMS stands alone: it is taken while an error is reported, when
 * whoever raised it holds none of the others.
 *
 * So does ES_LWLOCK_TASKS: it is taken while holding a heavyweight lock or none,
 * and nothing is taken under it.
 *
 * Those of telemetry (ES_LWLOCK_COUNTERS; ES_LWLOCK_SERIES, then the spinlock
 * of a series) are taken while holding a heavyweight lock or none, and nothing
 * is taken under them.
 *
 * Under an LWLock or a spinlock nothing allocates, raises an error or runs a
 * query.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/shmem.h"

#define MAX_PARTS	32
#define TRANCHE		"event_store"

static const EsShmemPart *parts[MAX_PARTS];
static int	nparts = 0;
static LWLockPadded *lwlocks = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* Add a part; only while _PG_init runs.  part must live as long as the process. */
void
es_shmem_register(const EsShmemPart *part)
{
	Assert(nparts < MAX_PARTS);
	parts[nparts++] = part;
}

LWLock *
es_lwlock(EsLWLock which)
{
	Assert(lwlocks != NULL);
	return &lwlocks[which].lock;
}

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	for (int i = 0; i < nparts; i++)
		RequestAddinShmemSpace(parts[i]->size());
	RequestNamedLWLockTranche(TRANCHE, ES_LWLOCK_COUNT);
}

static void
shmem_startup(void)
{
	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nparts; i++)
		parts[i]->attach();
	lwlocks = GetNamedLWLockTranche(TRANCHE);
	LWLockRelease(AddinShmemInitLock);
}

void
EsShmemInit(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}
