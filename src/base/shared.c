/*
 * shared.c
 *		A bounded pool of shared memory for values of any size.
 *
 * Values of registries, messages and sessions lie in chunks of one size, of
 * which there are as many as event_store.shared_pool_size has room for.  A
 * chunk that was never used is not touched, so a large pool costs address
 * space only.
 *
 * The spinlock is over the list of free chunks alone and may be taken under
 * any other lock: a value belongs to one struct of its owner's, whose lock
 * covers what is in the chunks.  Nothing here fails or allocates.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/shared.h"
#include "base/settings.h"
#include "base/shmem.h"

#define CHUNK_BYTES		124

typedef struct Chunk
{
	int			next;
	char		data[CHUNK_BYTES];
} Chunk;

typedef struct PoolShared
{
	slock_t		mutex;
	TimestampTz made_at;
	int			free;			/* list of chunks that were used before */
	int			nfree;
	int			touched;		/* chunks from here on were never used */
	Chunk		chunks[FLEXIBLE_ARRAY_MEMBER];
} PoolShared;

static PoolShared *pool = NULL;

static int
chunk_count(void)
{
	return (int) ((Size) es_shared_pool_size * 1024 / sizeof(Chunk));
}

static Size
pool_size(void)
{
	return add_size(offsetof(PoolShared, chunks), mul_size(chunk_count(), sizeof(Chunk)));
}

static void
pool_attach(void)
{
	bool		found;

	pool = ShmemInitStruct("event_store pool", pool_size(), &found);
	if (found)
		return;
	SpinLockInit(&pool->mutex);
	pool->made_at = GetCurrentTimestamp();
	pool->free = ES_SHARED_NONE;
	pool->nfree = 0;
	pool->touched = 0;
}

/* Take n chunks, n > 0, as a list; ES_SHARED_NONE if there are not as many. */
static int
take_chunks(int n)
{
	int			head = ES_SHARED_NONE;

	SpinLockAcquire(&pool->mutex);
	if (pool->nfree + (chunk_count() - pool->touched) >= n)
		while (n-- > 0)
		{
			int			chunk = pool->free;

			if (chunk != ES_SHARED_NONE)
			{
				pool->free = pool->chunks[chunk].next;
				pool->nfree--;
			}
			else
				chunk = pool->touched++;
			pool->chunks[chunk].next = head;
			head = chunk;
		}
	SpinLockRelease(&pool->mutex);
	return head;
}

/* Put a copy of data into the pool; false if there is no room. */
bool
es_shared_put(EsSharedValue *value, const void *data, int length)
{
	*value = (EsSharedValue) {ES_SHARED_NONE, length};
	if (length == 0)
		return true;
	value->head = take_chunks((length + CHUNK_BYTES - 1) / CHUNK_BYTES);
	if (value->head == ES_SHARED_NONE)
		return false;
	for (int chunk = value->head; length > 0; chunk = pool->chunks[chunk].next)
	{
		int			n = Min(length, CHUNK_BYTES);

		memcpy(pool->chunks[chunk].data, data, n);
		data = (const char *) data + n;
		length -= n;
	}
	return true;
}

/* Copy a value out, all of its length. */
void
es_shared_get(const EsSharedValue *value, void *data)
{
	int			length = value->length;

	for (int chunk = value->head; length > 0; chunk = pool->chunks[chunk].next)
	{
		int			n = Min(length, CHUNK_BYTES);

		memcpy(data, pool->chunks[chunk].data, n);
		data = (char *) data + n;
		length -= n;
	}
}

/* Give the chunks of a value back, if it has any. */
void
es_shared_free(EsSharedValue *value)
{
	int			last = value->head;
	int			n = 1;

	if (value->head == ES_SHARED_NONE)
		return;
	for (; n * CHUNK_BYTES < value->length; n++)
		last = pool->chunks[last].next;
	SpinLockAcquire(&pool->mutex);
	pool->chunks[last].next = pool->free;
	pool->free = value->head;
	pool->nfree += n;
	SpinLockRelease(&pool->mutex);
	*value = ES_SHARED_EMPTY;
}

/* Raise the error that the pool has no room for something. */
void
es_shared_full(const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("size_kb", es_shared_pool_size)),
						"no shared memory is left for %s", what),
			 errhint("Raise event_store.shared_pool_size, now %d kB, and restart the server, or keep less there.",
					 es_shared_pool_size)));
}

/* Bytes of the chunks in use. */
int64
es_shared_bytes_used(void)
{
	int64		chunks;

	SpinLockAcquire(&pool->mutex);
	chunks = pool->touched - pool->nfree;
	SpinLockRelease(&pool->mutex);
	return chunks * (int64) sizeof(Chunk);
}

/* When the server's shared memory was made: at its start, or after the last crash. */
TimestampTz
es_shared_made_at(void)
{
	return pool->made_at;
}

void
EsSharedInit(void)
{
	static const EsShmemPart part = {pool_size, pool_attach};

	es_shmem_register(&part);
}
