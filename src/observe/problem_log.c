/*
 * problem_log.c
 *		The log of problems: the newest ones of the whole server, in shared memory.
 *
 * A problem that was chosen when it was raised (event_store.problem_log_rate)
 * carries an instance.  It enters the log when its line is written to the
 * server's log, which is what the instance is there to find: so an error that
 * was caught enters neither, and try() writes a line for those it answers with.
 * Shared memory holds them because a row of a table would be undone together
 * with the transaction that failed.
 *
 * The log is a ring of bytes.  Records lie one after the other, whole; one
 * that does not fit before the end goes to the beginning, and the oldest make
 * room.  `head` and `tail` count all bytes ever used, so they never wrap and
 * their difference is what is in use.  All of it is under ES_LWLOCK_PROBLEMS.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "observe/problem.h"

typedef struct Record
{
	uint32		size;			/* of the whole record, aligned */
	bool		filler;			/* nothing up to the end of the ring */
	Oid			database;
	Oid			role;
	int			pid;
	int			sqlstate;
	TimestampTz logged_at;
	char		document[FLEXIBLE_ARRAY_MEMBER];
} Record;

#define HEADER	MAXALIGN(offsetof(Record, document))

typedef struct Ring
{
	uint64		head;			/* where the next record goes */
	uint64		tail;			/* the oldest record */
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} Ring;

static Ring *ring = NULL;
static emit_log_hook_type prev_emit_log_hook = NULL;

static uint64
ring_size(void)
{
	return (uint64) es_problem_log_size * 1024;
}

static Record *
record_at(uint64 place)
{
	return (Record *) (ring->bytes + place % ring_size());
}

/* Make room and return a record of this size at the head; the caller holds the lock. */
static Record *
reserve(uint64 size)
{
	Record	   *record;

	while (ring->head + size - ring->tail > ring_size())
		ring->tail += record_at(ring->tail)->size;
	record = record_at(ring->head);
	record->size = size;
	ring->head += size;
	return record;
}

/*
 * Add the last problem of this session.  A document larger than a quarter of
 * the ring would push out too many others: it is in the server's log only.
 */
static void
add_last_problem(void)
{
	EsLastProblem *last = es_last_problem();
	Size		length = strlen(last->document) + 1;
	uint64		size = MAXALIGN(HEADER + length);
	uint64		left;
	Record	   *record;

	last->logged = false;
	if (size > ring_size() / 4)
		return;

	LWLockAcquire(es_lwlock(ES_LWLOCK_PROBLEMS), LW_EXCLUSIVE);
	left = ring_size() - ring->head % ring_size();
	if (left < size)
		reserve(left)->filler = true;
	record = reserve(size);
	record->filler = false;
	record->database = MyDatabaseId;
	record->role = last->role;
	record->pid = MyProcPid;
	record->sqlstate = last->sqlstate;
	record->logged_at = GetCurrentTimestamp();
	memcpy(record->document, last->document, length);
	LWLockRelease(es_lwlock(ES_LWLOCK_PROBLEMS));
}

/*
 * A line is about to be written to the server's log.  Errors inside of this
 * would be reported through it again: nothing here allocates.
 */
static void
emit_log(ErrorData *error)
{
	if (MyProc != NULL && OidIsValid(MyDatabaseId) && CritSectionCount == 0 &&
		es_last_problem_is_logged(error->detail_log != NULL ? error->detail_log : error->detail))
		add_last_problem();
	if (prev_emit_log_hook)
		prev_emit_log_hook(error);
}

static Size
shmem_size(void)
{
	return add_size(offsetof(Ring, bytes), ring_size());
}

static void
attach(void)
{
	bool		found;

	ring = ShmemInitStruct("event_store problems", shmem_size(), &found);
	if (!found)
		ring->head = ring->tail = 0;
}

void
EsProblemLogInit(void)
{
	static const EsShmemPart part = {.size = shmem_size, .attach = attach};

	es_shmem_register(&part);
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = emit_log;
}

PG_FUNCTION_INFO_V1(event_store_problem_log);

/* problem_log(): what is in the log of this database, oldest first */
Datum
event_store_problem_log(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *copy = palloc_extended(ring_size(), MCXT_ALLOC_HUGE);
	Size		used = 0;

	/* rendered outside of the lock */
	LWLockAcquire(es_lwlock(ES_LWLOCK_PROBLEMS), LW_SHARED);
	for (uint64 place = ring->tail; place < ring->head; place += record_at(place)->size)
	{
		Record	   *record = record_at(place);

		if (!record->filler && record->database == MyDatabaseId)
		{
			memcpy(copy + used, record, record->size);
			used += record->size;
		}
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_PROBLEMS));

	InitMaterializedSRF(fcinfo, 0);
	for (Size at = 0; at < used; at += ((Record *) (copy + at))->size)
	{
		Record	   *record = (Record *) (copy + at);
		char	   *role = GetUserNameFromId(record->role, true);
		Jsonb	   *document = DatumGetJsonbP(es_document_jsonb(record->document));
		JsonbValue *instance = getKeyJsonValueFromContainer(&document->root, "instance", strlen("instance"), NULL);
		Datum		values[6];
		bool		nulls[6] = {0};

		CHECK_FOR_INTERRUPTS();
		values[0] = TimestampTzGetDatum(record->logged_at);
		nulls[1] = instance == NULL;
		if (instance != NULL)
			values[1] = PointerGetDatum(cstring_to_text_with_len(instance->val.string.val, instance->val.string.len));
		values[2] = CStringGetTextDatum(unpack_sql_state(record->sqlstate));
		nulls[3] = role == NULL;
		if (role != NULL)
			values[3] = CStringGetTextDatum(role);
		values[4] = Int32GetDatum(record->pid);
		values[5] = JsonbPGetDatum(document);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
