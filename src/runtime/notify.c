/*
 * notify.c
 *		The bridge from the horizon of stores to LISTEN, for clients that do
 *		nothing but listen.
 *
 * The scheduler of a database notifies the channel "event_store" once the
 * horizon of a store has moved, at most once an interval a store
 * (event_store.notify_interval).  An append does nothing for that: a
 * transaction that notifies takes a lock at its commit that all such
 * transactions of the server wait for, and here only the scheduler does.
 *
 * A notification is a hint.  Whoever was not connected has missed it, and one
 * comes for each store in use when a scheduler starts, moved or not.
 */
#include "postgres.h"

#include "commands/async.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "base/settings.h"
#include "log/horizon.h"
#include "log/slot.h"
#include "runtime/notify.h"
#include "runtime/transact.h"

#define CHANNEL				"event_store"
#define FAILURE_INTERVAL	10000	/* ms before a notification that failed is tried again */

/* What was told of a store. */
typedef struct Told
{
	int			slot;			/* hash key */
	Oid			log;
	int64		position;		/* the last one */
	TimestampTz at;				/* when that was, or when it failed */
	bool		failed;
} Told;

static HTAB *told = NULL;		/* of this scheduler */
static TimestampTz next_time = DT_NOEND;

/* In a transaction, for which Async_Notify copies what it is given. */
static void
tell(void *argument)
{
	const Told *t = argument;
	char	   *schema = get_namespace_name(get_rel_namespace(t->log));
	StringInfoData payload;

	/* a store that is being dropped */
	if (schema == NULL)
		return;
	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"schema\": ");
	escape_json(&payload, schema);
	appendStringInfo(&payload, ", \"position\": " INT64_FORMAT "}", t->position);
	Async_Notify(CHANNEL, payload.data);
}

/* Notify of the stores whose horizon has moved and whose interval is over; to be called outside of a transaction. */
void
es_notify_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Oid			log;

	next_time = DT_NOEND;
	if (es_notify_interval == 0)
		return;
	if (told == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int), .entrysize = sizeof(Told)};

		told = hash_create("event_store notifications", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
	{
		int64		position = es_slot_horizon(slot, log) - 1;
		Told	   *t;
		bool		found;
		TimestampTz next;

		CHECK_FOR_INTERRUPTS();
		t = hash_search(told, &slot, HASH_ENTER, &found);
		if (!found || t->log != log)
			*t = (Told) {.slot = slot, .log = log};
		if (position <= 0 || (position == t->position && !t->failed))
			continue;
		next = TimestampTzPlusMilliseconds(t->at, t->failed ? Max(es_notify_interval, FAILURE_INTERVAL) : es_notify_interval);
		if (next <= now)
		{
			t->position = position;
			t->at = now;
			t->failed = es_transact(tell, t) != ES_TRANSACT_DONE;
			if (t->failed)
				next_time = Min(next_time, TimestampTzPlusMilliseconds(now, FAILURE_INTERVAL));
		}
		else
			next_time = Min(next_time, next);
	}
}

/* When a notification is due that waits for its interval; DT_NOEND: none does. */
TimestampTz
es_notify_next_time(void)
{
	return next_time;
}
