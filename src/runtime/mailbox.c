/*
 * mailbox.c
 *		Sessions of the server as owners of names, and their mailboxes.
 *
 * A process number passes from one session to the next, so a session that owns
 * something gets a number that no other has had since the server started.  It
 * is written into the place of the process, and taken out when the process
 * exits; so whoever holds a pair of both can see at any time whether that
 * session lives.  A transaction is told from the next one of its session by a
 * counter.  Nothing needs to be cleaned up for a dead owner to be known as
 * dead, so nothing is done at commit but to count on.  A process that dies
 * without its exit callbacks takes the server's shared memory with it.
 *
 * A mailbox is a ring of values in the pool.  The spinlock of a place is over
 * its ring and is held alone, but for that of the pool.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shared.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "runtime/mailbox.h"

#define SAFETY_INTERVAL		1000	/* ms that a receiver sleeps at most */

typedef struct Place
{
	pg_atomic_uint64 session;	/* 0: nobody who owns anything */
	pg_atomic_uint64 xact;
	int			pid;
	slock_t		mutex;			/* over the ring */
	int			first;
	int			count;
} Place;

typedef struct MailboxShared
{
	pg_atomic_uint64 sessions;	/* numbers handed out */
	Place		places[FLEXIBLE_ARRAY_MEMBER];	/* MaxBackends */
} MailboxShared;

static MailboxShared *shared = NULL;
static EsSharedValue *rings = NULL;	/* es_mailbox_size for each place */
static uint64 my_session = 0;
static bool xact_owns = false;	/* something is owned by the transaction in progress */
static void (*exit_callback) (void);

static Size
places_size(void)
{
	return MAXALIGN(add_size(offsetof(MailboxShared, places), mul_size(MaxBackends, sizeof(Place))));
}

static Size
mailbox_size(void)
{
	return add_size(places_size(), mul_size(mul_size(MaxBackends, es_mailbox_size), sizeof(EsSharedValue)));
}

static void
mailbox_attach(void)
{
	bool		found;
	char	   *area = ShmemInitStruct("event_store mailboxes", mailbox_size(), &found);

	shared = (MailboxShared *) area;
	rings = (EsSharedValue *) (area + places_size());
	if (found)
		return;
	memset(area, 0, mailbox_size());
	pg_atomic_init_u64(&shared->sessions, 0);
	for (int i = 0; i < MaxBackends; i++)
	{
		pg_atomic_init_u64(&shared->places[i].session, 0);
		pg_atomic_init_u64(&shared->places[i].xact, 1);
		SpinLockInit(&shared->places[i].mutex);
	}
}

/* --- owners --- */

/* Take the first message out of a ring whose spinlock is held; there is one. */
static EsSharedValue
take_first(int proc)
{
	Place	   *place = &shared->places[proc];
	EsSharedValue	message = rings[proc * es_mailbox_size + place->first];

	place->first = (place->first + 1) % es_mailbox_size;
	place->count--;
	return message;
}

/* Runs when the process exits. */
static void
leave(int code, Datum argument)
{
	Place	   *place = &shared->places[ES_MY_PROC_NUMBER];

	pg_atomic_write_u64(&place->session, 0);
	exit_callback();
	for (;;)
	{
		EsSharedValue	message = ES_SHARED_EMPTY;
		bool		more;

		SpinLockAcquire(&place->mutex);
		more = place->count > 0;
		if (more)
			message = take_first(ES_MY_PROC_NUMBER);
		SpinLockRelease(&place->mutex);
		if (!more)
			break;
		es_shared_free(&message);
	}
}

/* This session as an owner, or its transaction. */
EsOwner
es_owner_me(bool transaction)
{
	Place	   *place = &shared->places[ES_MY_PROC_NUMBER];

	if (my_session == 0)
	{
		before_shmem_exit(leave, (Datum) 0);
		my_session = pg_atomic_add_fetch_u64(&shared->sessions, 1);
		place->pid = MyProcPid;
		pg_write_barrier();
		pg_atomic_write_u64(&place->session, my_session);
	}
	xact_owns = xact_owns || transaction;
	return (EsOwner) {ES_MY_PROC_NUMBER, my_session, transaction ? pg_atomic_read_u64(&place->xact) : 0};
}

/* Is it this session, or a transaction of it? */
bool
es_owner_is_me(const EsOwner *owner)
{
	return my_session != 0 && owner->session == my_session;
}

bool
es_owner_is_live(const EsOwner *owner)
{
	Place	   *place = &shared->places[owner->proc];

	return pg_atomic_read_u64(&place->session) == owner->session &&
		(owner->xact == 0 || pg_atomic_read_u64(&place->xact) == owner->xact);
}

/* The process of an owner that lives. */
int
es_owner_pid(const EsOwner *owner)
{
	return shared->places[owner->proc].pid;
}

/* What the transaction has owned is nobody's now. */
static void
transaction_ended(bool committed)
{
	Place	   *place;

	if (!xact_owns)
		return;
	xact_owns = false;
	place = &shared->places[ES_MY_PROC_NUMBER];
	pg_atomic_write_u64(&place->xact, pg_atomic_read_u64(&place->xact) + 1);
}

static void
transaction_prepared(void)
{
	transaction_ended(true);
}

/* --- mailboxes --- */

/* Put a message into the mailbox of an owner. */
EsSent
es_mailbox_send(const EsOwner *to, const Jsonb *payload)
{
	Place	   *place = &shared->places[to->proc];
	EsSharedValue	message;
	EsSent		result = ES_SENT;

	if (!es_shared_put(&message, payload, VARSIZE(payload)))
		return ES_SENT_POOL_FULL;
	SpinLockAcquire(&place->mutex);
	if (pg_atomic_read_u64(&place->session) != to->session)
		result = ES_SENT_GONE;
	else if (place->count == es_mailbox_size)
		result = ES_SENT_MAILBOX_FULL;
	else
		rings[to->proc * es_mailbox_size + (place->first + place->count++) % es_mailbox_size] = message;
	SpinLockRelease(&place->mutex);
	if (result == ES_SENT)
		SetLatch(&GetPGProcByNumber(to->proc)->procLatch);
	else
		es_shared_free(&message);
	return result;
}

/* Take the oldest message, palloc'd; NULL if there is none.  Nobody else takes any, so it stays the first. */
static Jsonb *
take(void)
{
	int			proc = ES_MY_PROC_NUMBER;
	Place	   *place = &shared->places[proc];
	EsSharedValue	message = ES_SHARED_EMPTY;
	Jsonb	   *payload;

	SpinLockAcquire(&place->mutex);
	if (place->count > 0)
		message = rings[proc * es_mailbox_size + place->first];
	SpinLockRelease(&place->mutex);
	if (message.head == ES_SHARED_NONE)
		return NULL;
	payload = palloc(message.length);
	es_shared_get(&message, payload);

	SpinLockAcquire(&place->mutex);
	(void) take_first(proc);
	SpinLockRelease(&place->mutex);
	es_shared_free(&message);
	return payload;
}

/*
 * The oldest message of this session's mailbox, palloc'd; waits for one up to
 * timeout (in ms), then NULL.
 */
Jsonb *
es_mailbox_receive(int64 timeout)
{
	static uint32 wait_event = 0;
	TimestampTz start = GetCurrentTimestamp();
	Jsonb	   *payload;

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreMailbox");
	(void) es_owner_me(false);
	while ((payload = take()) == NULL)
	{
		int64		left = timeout - TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());

		if (left <= 0)
			return NULL;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) Min(left, SAFETY_INTERVAL), wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return payload;
}

/* at_exit runs when a session ends that has owned something, which nobody takes for alive any more. */
void
EsMailboxInit(void (*at_exit) (void))
{
	static const EsShmemPart part = {mailbox_size, mailbox_attach};
	static const EsXactHook hook = {.end = transaction_ended, .prepared = transaction_prepared};

	exit_callback = at_exit;
	es_shmem_register(&part);
	es_xact_register(&hook);
}
