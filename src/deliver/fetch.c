/*
 * fetch.c
 *		Giving events of a subscription to those who handle them.
 *
 * A fetch takes the lock of the subscription, looks at all its deliveries in
 * order, and gives to the consumer what it may have: first what is to be
 * repeated, then new events of the log.  For each key it keeps to three rules:
 *
 *	- An event is given only if no earlier one of its key waits, is parked (if
 *	  the subscription keeps keys in order then), or was given before and is not
 *	  done: not to the same consumer either, which may have been started anew and
 *	  know nothing of that.  Several events of a key come together in one fetch.
 *	- An event that may not be given now waits as a delivery, so that the reading
 *	  goes on behind it, up to buffer_size of them.
 *	- If an event is taken back, for its lease ran out, so are those after it.
 *
 * What is given is on record before the consumer sees it, with the number of
 * the attempt.  So whatever dies, the event comes again and the attempt counts.
 *
 * The checkpoint is the position before the lowest live delivery.  Nothing
 * stores a higher one: it cannot pass an event that is not done.
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "deliver/delivery.h"
#include "deliver/key.h"
#include "deliver/source.h"
#include "deliver/subscription.h"
#include "log/horizon.h"
#include "log/stream.h"
#include "log/wake.h"

#define MARK_INTERVAL	50		/* ms between looks of a reader that goes by the mark */

/*
 * ms before the next look after one that found new events and none for us,
 * doubled with each more in a row: a hundred waiting consumers with filters
 * would otherwise all run at each commit.
 */
#define RESPITE			5
#define MAX_RESPITE		80

/* Columns that fetch returns after those of recorded_event. */
enum FetchedField
{
	FETCHED_ATTEMPT = RECORDED_NFIELDS,
	FETCHED_REPLAYED,
	FETCHED_NFIELDS
};

/* What is known of a key while the deliveries are gone through in order. */
typedef struct KeyState
{
	int64		key;			/* hash key */
	bool		held;			/* an event of it is with a consumer */
	bool		waits;			/* an event of it waits */
	bool		parked;			/* an event of it is parked, and those after it have to be too */
	bool		taken_back;		/* an event of it was taken back just now */
} KeyState;

typedef struct Fetch
{
	EsDeliveryTables *tables;
	EsSubscription *subscription;
	EsEventSource *source;
	EsKeyRule  *rule;
	EsFinal		final;
	text	   *consumer;
	ReturnSetInfo *result;
	TimestampTz now;
	TimestampTz next_due;		/* when something may become free by itself */

	HTAB	   *keys;
	int64		wanted;			/* events that the consumer may still get */
	int64		room;			/* live deliveries that the buffer still has room for */
	int64		parked;			/* deliveries in the lane of parked ones */
	int64		checkpoint;		/* before the lowest live delivery met so far; PG_INT64_MAX: none */
	int64		given;
	bool		changed;		/* rows of deliveries were changed */
	bool		overflow;		/* too many are parked */

	EsDelivery *fresh;			/* of new events */
	int64		nfresh;
	int64		fresh_size;

	/* the event that give_again looks for */
	const EsDelivery *again;
} Fetch;

static KeyState *
key_state(Fetch *f, int64 key)
{
	bool		found;
	KeyState   *state = hash_search(f->keys, &key, HASH_ENTER, &found);

	if (!found)
		*state = (KeyState) {.key = key};
	return state;
}

static void
put_event(Fetch *f, text *stream, const Datum *row, const bool *row_nulls, int attempt, bool replayed)
{
	Datum		values[FETCHED_NFIELDS];
	bool		nulls[FETCHED_NFIELDS];

	es_recorded_event(f->tables->store, stream, row, row_nulls, values, nulls);
	values[FETCHED_ATTEMPT] = Int32GetDatum(attempt);
	nulls[FETCHED_ATTEMPT] = false;
	values[FETCHED_REPLAYED] = BoolGetDatum(replayed);
	nulls[FETCHED_REPLAYED] = false;
	tuplestore_putvalues(f->result->setResult, f->result->setDesc, values, nulls);
	f->given++;
	f->wanted--;
}

static void
put_again(void *target, text *stream, const Datum *row, const bool *nulls)
{
	Fetch	   *f = target;

	put_event(f, stream, row, nulls, f->again->attempts, f->again->lane == ES_LANE_PARKED);
}

static void
park(Fetch *f, EsDelivery *d, const char *cause)
{
	d->state = ES_PARKED;
	d->due_at = f->now;
	d->consumer = NULL;
	d->cause = cause;
	if (d->lane == ES_LANE_LIVE)
	{
		d->lane = ES_LANE_PARKED;
		f->parked++;
		f->room++;
		if (f->parked > f->subscription->max_parked)
			f->overflow = true;
	}
	es_delivery_update(f->tables, d);
	f->changed = true;
}

/* Give an event once more; if it is gone from the log there is nothing left to do for it. */
static void
give_again(Fetch *f, EsDelivery *d)
{
	d->attempts++;
	d->state = ES_GIVEN;
	d->due_at = f->now + f->subscription->lease * 1000;
	d->consumer = f->consumer;
	f->again = d;
	if (es_read_position(f->tables->store, f->tables->log, d->position, f->final.snapshot, put_again, f))
		es_delivery_update(f->tables, d);
	else
	{
		(void) es_delivery_delete(f->tables, d);
		d->position = 0;
	}
	f->changed = true;
}

/* Decide what becomes of a delivery, in the order of positions. */
static void
look_at(Fetch *f, EsDelivery *d)
{
	KeyState   *key = key_state(f, d->key);
	bool		dirty = false;

	if (d->state == ES_GIVEN)
	{
		if (d->due_at > f->now && !key->taken_back)
		{
			f->next_due = Min(f->next_due, d->due_at);
			key->held = true;
			return;
		}
		/* if somebody is acknowledging it just now, it is still in use */
		if (!es_delivery_lock(f->tables, d))
		{
			key->held = true;
			return;
		}
		dirty = true;
		if (d->due_at <= f->now)
		{
			key->taken_back = true;
			if (d->attempts >= f->subscription->max_attempts)
			{
				park(f, d, "attempts");
				key->parked = f->subscription->park_key;
				return;
			}
			d->cause = "lease";
		}
		else
			d->attempts--;		/* no fault of its own */
		d->state = ES_WAITING;
		d->due_at = f->now;
		d->consumer = NULL;
	}
	if (d->state == ES_PARKED)
	{
		key->parked = f->subscription->park_key;
		return;
	}

	if (key->parked && d->lane == ES_LANE_LIVE)
		park(f, d, "behind");
	else if (key->held || key->waits || key->parked || d->due_at > f->now || f->wanted <= 0)
	{
		key->waits = true;
		if (d->due_at > f->now)
			f->next_due = Min(f->next_due, d->due_at);
		if (dirty)
		{
			es_delivery_update(f->tables, d);
			f->changed = true;
		}
	}
	else
		give_again(f, d);
}

/* The EsTake for new events of the source. */
static bool
take_new(void *target, text *stream, const Datum *row, const bool *nulls)
{
	Fetch	   *f = target;
	EsDelivery *d;
	KeyState   *key;

	if (f->wanted <= 0 || f->room <= 0 || f->overflow)
		return false;
	if (f->nfresh == f->fresh_size)
	{
		f->fresh_size *= 2;
		f->fresh = repalloc_huge(f->fresh, f->fresh_size * sizeof(EsDelivery));
	}
	d = &f->fresh[f->nfresh];
	*d = (EsDelivery) {.subscription = f->subscription->id,.position = DatumGetInt64(row[LOG_POSITION]),
		.due_at = f->now,.lane = ES_LANE_LIVE,.state = ES_WAITING};
	d->key = es_key_of(f->rule, f->tables->store->payload, stream, row, nulls);
	key = key_state(f, d->key);
	if (key->parked)
	{
		if (f->parked >= f->subscription->max_parked)
		{
			f->overflow = true;
			return false;
		}
		d->lane = ES_LANE_PARKED;
		d->state = ES_PARKED;
		d->cause = "behind";
		f->parked++;
	}
	else
	{
		f->room--;
		f->checkpoint = Min(f->checkpoint, d->position - 1);
		if (key->held || key->waits)
			key->waits = true;
		else
		{
			d->state = ES_GIVEN;
			d->attempts = 1;
			d->due_at = f->now + f->subscription->lease * 1000;
			d->consumer = f->consumer;
			put_event(f, stream, row, nulls, d->attempts, false);
		}
	}
	f->nfresh++;
	return true;
}

/*
 * Go through what there is and give what can be given.  The rows of new events
 * are not written yet, nor is the subscription.  Returns how far the log has
 * been read.
 */
static int64
look(Fetch *f, int64 max_count, int64 after)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(KeyState),.hcxt = CurrentMemoryContext};
	EsDelivery *lanes[ES_LANE_PARKED + 1];
	int			counts[ES_LANE_PARKED + 1];
	int64		mine = 0;
	int64		passed;

	f->keys = hash_create("event_store keys", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	f->given = f->nfresh = 0;
	f->changed = f->overflow = false;
	f->checkpoint = PG_INT64_MAX;
	f->next_due = DT_NOEND;
	for (int lane = ES_LANE_LIVE; lane <= ES_LANE_PARKED; lane++)
	{
		lanes[lane] = es_deliveries_load(f->tables, f->subscription, lane, &counts[lane]);
		for (int i = 0; i < counts[lane]; i++)
			if (lanes[lane][i].state == ES_GIVEN && lanes[lane][i].due_at > f->now &&
				es_text_equal(lanes[lane][i].consumer, f->consumer))
				mine++;
	}
	f->wanted = Min(max_count, f->subscription->max_in_flight - mine);
	f->room = f->subscription->buffer_size - counts[ES_LANE_LIVE];
	f->parked = counts[ES_LANE_PARKED];

	/* of a key, what was parked comes before what is live */
	for (int i = 0; i < counts[ES_LANE_PARKED]; i++)
		look_at(f, &lanes[ES_LANE_PARKED][i]);
	for (int i = 0; i < counts[ES_LANE_LIVE]; i++)
	{
		EsDelivery *d = &lanes[ES_LANE_LIVE][i];

		look_at(f, d);
		if (d->lane == ES_LANE_LIVE && d->position != 0)
			f->checkpoint = Min(f->checkpoint, d->position - 1);
	}

	passed = es_source_read(f->source, f->tables->store, f->tables->log, &f->final, after,
							ES_SOURCE_STEP, take_new, f);
	hash_destroy(f->keys);
	return passed;
}

/* Put on record what was looked at. */
static void
keep(Fetch *f, int64 passed)
{
	EsSubscription *s = f->subscription;

	if (f->nfresh > 0)
		es_deliveries_insert(f->tables, f->fresh, f->nfresh);
	s->read_position = passed;
	s->checkpoint = Min(f->checkpoint, passed);
	s->taken += f->nfresh;
	s->given += f->given;
	s->changed_at = f->now;
	if (f->overflow)
	{
		s->stopped = true;
		s->last_problem = es_subscription_problem(s->read_position, "stop", NULL,
												  psprintf("more than %d events are parked", s->max_parked), f->now);
	}
	es_subscription_save(f->tables, s);
	es_delivery_changed(f->tables);
}

static void
refuse_stopped(const EsSubscription *s)
{
	char	   *name = text_to_cstring(s->name);

	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						s->last_problem != NULL ?
						ES_MEMBERS(ES_TEXT("subscription", name),
								   ES_JSON("last_problem", JsonbToCString(NULL, &s->last_problem->root, 0))) :
						ES_MEMBERS(ES_TEXT("subscription", name)),
						"subscription \"%s\" is stopped", name),
			 errhint("When the cause is removed, call event_store.resume_subscription().")));
}

/* What waiting for new events needs: a snapshot that moves, and nothing of our own in the way. */
static void
require_wait(EsStore *store)
{
	if (es_position_held(store))
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for new events in a transaction that has appended to the same store"),
				 errhint("Commit first, or pass timeout => '0' to take what is there.")));
}

PG_FUNCTION_INFO_V1(event_store_fetch);

Datum
event_store_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsDeliveryTables tables;
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	int64		max_count = es_count_argument(fcinfo, 2);
	int64		timeout = es_timeout_argument(fcinfo, 3, "timeout");
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext round;
	int64		respite = RESPITE;
	TransactionId seen_xmin = InvalidTransactionId;
	ItemPointerData seen_tid;
	int64		passed = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot fetch events in a transaction whose snapshot is fixed"),
				 errhint("Call event_store.fetch() in a READ COMMITTED transaction; the events may be handled and acknowledged in any.")));
	es_delivery_open(&tables, ES_USE_CONSUME);
	if (timeout > 0)
		require_wait(tables.store);
	ItemPointerSetInvalid(&seen_tid);
	round = AllocSetContextCreate(caller, "event_store fetch", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		EsSubscription subscription;
		Fetch		fetch = {.tables = &tables,.subscription = &subscription,.consumer = consumer,.result = result};
		bool		last = GetCurrentTimestamp() >= deadline;
		TransactionId xmin;
		int64		before;
		int64		wait;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		if (!last && !tables.store->copy)
			es_wake_prepare(es_store_slot(tables.store));
		es_subscription_take(&tables, name, &subscription);
		if (subscription.stopped)
			refuse_stopped(&subscription);

		/* what was read in vain needs no second look, unless the subscription has changed since */
		xmin = HeapTupleHeaderGetXmin(subscription.row->t_data);
		if (xmin != seen_xmin || !ItemPointerEquals(&seen_tid, &subscription.row->t_self))
			passed = subscription.read_position;
		seen_xmin = xmin;
		seen_tid = subscription.row->t_self;

		fetch.source = es_subscription_source(&subscription);
		fetch.rule = es_key_parse(text_to_cstring(subscription.partition_by));
		fetch.now = GetCurrentTimestamp();
		fetch.fresh_size = 64;
		fetch.fresh = palloc(fetch.fresh_size * sizeof(EsDelivery));
		es_final_begin(&fetch.final, tables.store);
		es_source_check(fetch.source, tables.store, fetch.final.snapshot);
		before = passed;
		passed = look(&fetch, max_count, passed);
		es_final_end(&fetch.final);

		/*
		 * Nothing to give: the lock is let go and nothing is on record, as if
		 * this had not been.  But a long way that was read in vain is kept, in
		 * case that the caller's patience is shorter than the rest of it.
		 */
		if (fetch.given > 0 || fetch.changed || fetch.overflow ||
			passed - subscription.read_position >= ES_SOURCE_STEP ||
			(last && passed > subscription.read_position))
		{
			keep(&fetch, passed);
			break;
		}
		es_subscription_release(&tables, &subscription);
		if (fetch.nfresh > 0)
			passed = subscription.read_position;
		if (last || max_count == 0)
			break;
		wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), Min(deadline, fetch.next_due));
		if (tables.store->copy)
			wait = Min(wait, MARK_INTERVAL);
		else if (passed > before)
		{
			es_wake_cancel();
			wait = Min(wait, respite);
			respite = Min(respite * 2, MAX_RESPITE);
		}
		else
			respite = RESPITE;
		es_wake_sleep(wait);
	}
	es_wake_cancel();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(round);
	es_delivery_close(&tables);
	return (Datum) 0;
}
