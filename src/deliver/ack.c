/*
 * ack.c
 *		What a consumer says of the events that it was given.
 *
 * To acknowledge is to delete the row of a delivery, in the transaction of the
 * effect: both are there or neither.  It takes no lock but that of the row.
 * Everything else changes more than one row of a key, and takes the lock of the
 * subscription (see deliver/delivery for what that asks for).
 *
 * An event is in the hands of a consumer as long as it has not been taken back,
 * which happens when somebody else fetches after the lease ran out.  Until then a
 * late acknowledgement is as good as one in time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "deliver/delivery.h"
#include "deliver/subscription.h"
#include "log/read.h"

#define MAX_DELAY	(SECS_PER_DAY * INT64CONST(1000))	/* of a retry by itself, ms */

typedef enum Action
{
	ACTION_RETRY,
	ACTION_PARK,
	ACTION_SKIP,
	ACTION_STOP
} Action;

static const char *const actions[] = {"retry", "park", "skip", "stop"};

/* Positions of an argument, rising and each once. */
typedef struct Positions
{
	int			count;
	int64	   *data;			/* NULL: none were given */
} Positions;

static int
compare_positions(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* palloc'd; null stands for no positions at all, where that is allowed. */
static Positions
positions_argument(FunctionCallInfo fcinfo, int argument, bool required)
{
	Positions	result = {0};
	ArrayType  *array;

	if (required)
		es_require_argument(fcinfo, argument, "positions");
	else if (PG_ARGISNULL(argument))
		return result;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "positions")),
							"positions is not a plain list of positions"),
				 errhint("Pass an array of one dimension without nulls.")));
	result.count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	result.data = palloc(Max(result.count, 1) * sizeof(int64));
	memcpy(result.data, ARR_DATA_PTR(array), result.count * sizeof(int64));
	qsort(result.data, result.count, sizeof(int64), compare_positions);
	result.count = qunique(result.data, result.count, sizeof(int64), compare_positions);
	return result;
}

/* The place of a position among those given, -1 if it is not one of them. */
static int
find(const Positions *positions, int64 position)
{
	int64	   *place = bsearch(&position, positions->data, positions->count, sizeof(int64), compare_positions);

	return place != NULL ? place - positions->data : -1;
}

static void
not_held(const EsSubscription *s, text *consumer, int64 position)
{
	char	   *name = text_to_cstring(s->name);

	ereport(ERROR,
			(es_problem(ERRCODE_ES_DELIVERY_NOT_HELD,
						ES_MEMBERS(ES_TEXT("subscription", name), ES_TEXT("consumer", text_to_cstring(consumer)),
								   ES_INT("position", position)),
						"event %lld of subscription \"%s\" is not in the hands of consumer \"%s\"",
						(long long) position, name, text_to_cstring(consumer)),
			 errhint("It was not fetched, or is done already, or was taken back after its lease: roll back what was made of it.")));
}

/* An error unless each of the positions has been met. */
static void
require_all(const EsSubscription *s, text *consumer, const Positions *positions, const bool *met)
{
	for (int i = 0; i < positions->count; i++)
		if (!met[i])
			not_held(s, consumer, positions->data[i]);
}

static bool
is_held_by(const EsDelivery *d, text *consumer)
{
	return d->state == ES_GIVEN && es_text_equal(d->consumer, consumer);
}

/* The deliveries of both lanes, those that were parked first; palloc'd. */
static EsDelivery *
load_all(EsDeliveryTables *tables, const EsSubscription *s, int *count)
{
	int			nlive;
	int			nparked;
	EsDelivery *parked = es_deliveries_load(tables, s, ES_LANE_PARKED, &nparked);
	EsDelivery *live = es_deliveries_load(tables, s, ES_LANE_LIVE, &nlive);

	*count = nparked + nlive;
	parked = repalloc_huge(parked, Max(*count, 1) * sizeof(EsDelivery));
	memcpy(parked + nparked, live, nlive * sizeof(EsDelivery));
	return parked;
}

/* Acknowledge one delivery; false if it is not the consumer's. */
static bool
acknowledge(EsDeliveryTables *tables, const EsSubscription *s, text *consumer, int64 position)
{
	EsDelivery	d;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!es_delivery_find(tables, s->id, position, &d) || !is_held_by(&d, consumer))
			return false;
	} while (!es_delivery_delete(tables, &d));
	return true;
}

/* --- nack --- */

typedef struct Nack
{
	EsDeliveryTables *tables;
	EsSubscription *subscription;
	Action		action;
	text	   *reason;
	int64		delay;			/* ms, -1: as the subscription says */
	TimestampTz now;
	ReturnSetInfo *result;
	bool		problem;		/* the subscription has one more */
} Nack;

/* What of a key was given back. */
typedef struct GivenBack
{
	int64		key;			/* hash key */
	bool		parked;			/* and those after it are to be parked behind it */
} GivenBack;

static void
put_outcome(Nack *n, int64 position, const char *outcome)
{
	Datum		values[] = {Int64GetDatum(position), CStringGetTextDatum(outcome)};
	bool		nulls[] = {false, false};

	tuplestore_putvalues(n->result->setResult, n->result->setDesc, values, nulls);
}

/* Doubled with each attempt, unless the consumer knows better. */
static int64
retry_delay(const Nack *n, int attempts)
{
	int64		delay = n->subscription->retry_delay;

	if (n->delay >= 0)
		return n->delay;
	for (int i = 1; i < attempts && delay < MAX_DELAY; i++)
		delay *= 2;
	return Min(delay, MAX_DELAY);
}

static void
wait_again(Nack *n, EsDelivery *d, const char *cause, int64 delay)
{
	d->state = ES_WAITING;
	d->due_at = n->now + delay * 1000;
	d->consumer = NULL;
	d->cause = cause;
	es_delivery_update(n->tables, d);
}

static void
park(Nack *n, EsDelivery *d, const char *cause)
{
	d->state = ES_PARKED;
	d->lane = ES_LANE_PARKED;
	d->due_at = n->now;
	d->consumer = NULL;
	d->cause = cause;
	es_delivery_update(n->tables, d);
}

/* Do what the consumer wants with an event that it holds.  Tells whether those after it have to wait for it. */
static bool
refuse(Nack *n, EsDelivery *d, text *consumer)
{
	EsSubscription *s = n->subscription;
	Action		action = n->action;

	d->reason = n->reason;
	if (action == ACTION_SKIP)
	{
		(void) es_delivery_delete(n->tables, d);
		put_outcome(n, d->position, "skipped");
		return false;
	}
	if (action == ACTION_RETRY && d->attempts >= s->max_attempts)
		action = ACTION_PARK;
	n->problem = n->problem || action != ACTION_RETRY;
	if (action != ACTION_RETRY)
		s->last_problem = es_subscription_problem(d->position, actions[action], consumer,
												  n->reason != NULL ? text_to_cstring(n->reason) : NULL, n->now);
	if (action == ACTION_PARK)
	{
		park(n, d, n->action == ACTION_PARK ? "nack" : "attempts");
		put_outcome(n, d->position, "parked");
		return s->park_key;
	}
	wait_again(n, d, "nack", action == ACTION_STOP ? 0 : retry_delay(n, d->attempts));
	s->stopped = s->stopped || action == ACTION_STOP;
	put_outcome(n, d->position, "waiting");
	return true;
}

/* Take back an event whose key has an earlier one that was given back. */
static void
withdraw(Nack *n, EsDelivery *d, bool behind_parked)
{
	/* somebody may be acknowledging it just now */
	if (d->state != ES_GIVEN || !es_delivery_lock(n->tables, d))
		return;
	d->attempts--;				/* no fault of its own */
	if (behind_parked)
		park(n, d, "behind");
	else
		wait_again(n, d, "behind", 0);
	put_outcome(n, d->position, "withdrawn");
}

/* --- wrappers --- */

PG_FUNCTION_INFO_V1(event_store_ack);
PG_FUNCTION_INFO_V1(event_store_ack_to);
PG_FUNCTION_INFO_V1(event_store_nack);
PG_FUNCTION_INFO_V1(event_store_extend);
PG_FUNCTION_INFO_V1(event_store_release);
PG_FUNCTION_INFO_V1(event_store_replay_parked);
PG_FUNCTION_INFO_V1(event_store_discard_parked);

Datum
event_store_ack(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	Positions	positions = positions_argument(fcinfo, 2, true);
	EsDeliveryTables tables;
	EsSubscription s;

	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_get(&tables, name, &s);
	for (int i = 0; i < positions.count; i++)
		if (!acknowledge(&tables, &s, consumer, positions.data[i]))
			not_held(&s, consumer, positions.data[i]);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_INT64(positions.count);
}

Datum
event_store_ack_to(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	int64		position;
	EsDeliveryTables tables;
	EsSubscription s;
	EsDelivery *deliveries;
	int			count;
	bool		held = false;
	int64		done = 0;

	es_require_argument(fcinfo, 2, "position");
	position = PG_GETARG_INT64(2);
	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_get(&tables, name, &s);
	deliveries = load_all(&tables, &s, &count);
	for (int i = 0; i < count; i++)
		held = held || (deliveries[i].position == position && is_held_by(&deliveries[i], consumer));
	if (!held)
		not_held(&s, consumer, position);
	for (int i = 0; i < count; i++)
	{
		if (deliveries[i].position > position || !is_held_by(&deliveries[i], consumer))
			continue;
		if (!acknowledge(&tables, &s, consumer, deliveries[i].position))
			not_held(&s, consumer, deliveries[i].position);
		done++;
	}
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_INT64(done);
}

static Action
action_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *action;

	es_require_argument(fcinfo, argument, "action");
	action = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; i < lengthof(actions); i++)
		if (strcmp(action, actions[i]) == 0)
			return i;
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("action", action)),
						"action \"%s\" is unknown", action),
			 errhint("Use retry, park, skip or stop.")));
}

Datum
event_store_nack(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	Positions	positions = positions_argument(fcinfo, 2, true);
	EsDeliveryTables tables;
	EsSubscription s;
	Nack		n = {.tables = &tables,.subscription = &s,.result = (ReturnSetInfo *) fcinfo->resultinfo,.delay = -1};
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(GivenBack),.hcxt = CurrentMemoryContext};
	HTAB	   *keys;
	EsDelivery *deliveries;
	int			count;
	bool	   *met = palloc0(Max(positions.count, 1) * sizeof(bool));

	n.action = action_argument(fcinfo, 3);
	if (!PG_ARGISNULL(4))
		n.reason = cstring_to_text(es_problem_cut(text_to_cstring(PG_GETARG_TEXT_PP(4))));
	if (!PG_ARGISNULL(5))
		n.delay = es_timeout_argument(fcinfo, 5, "delay");
	n.now = GetCurrentTimestamp();

	InitMaterializedSRF(fcinfo, 0);
	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_take(&tables, name, &s);
	keys = hash_create("event_store keys", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	deliveries = load_all(&tables, &s, &count);
	for (int i = 0; i < count; i++)
	{
		EsDelivery *d = &deliveries[i];
		int64		key = d->key;
		GivenBack  *back = hash_search(keys, &key, HASH_FIND, NULL);

		int			place = find(&positions, d->position);

		if (place < 0)
		{
			if (back != NULL)
				withdraw(&n, d, back->parked);
			continue;
		}
		if (!is_held_by(d, consumer) || !es_delivery_lock(&tables, d))
			not_held(&s, consumer, d->position);
		met[place] = true;
		if (back != NULL && back->parked && n.action == ACTION_RETRY)
		{
			park(&n, d, "behind");
			put_outcome(&n, d->position, "parked");
		}
		else if (refuse(&n, d, consumer))
		{
			back = hash_search(keys, &key, HASH_ENTER, NULL);
			back->parked = d->state == ES_PARKED;
		}
	}
	require_all(&s, consumer, &positions, met);
	if (n.problem)
		es_subscription_save(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	return (Datum) 0;
}

/* Let the leases of a consumer end in so many ms, -1: as the subscription says. */
static int64
set_leases(text *name, text *consumer, int64 lease, const Positions *positions)
{
	EsDeliveryTables tables;
	EsSubscription s;
	EsDelivery *deliveries;
	int			count;
	bool	   *met = palloc0(Max(positions->count, 1) * sizeof(bool));
	int64		done = 0;
	TimestampTz until;

	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_get(&tables, name, &s);
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), lease >= 0 ? lease : s.lease);
	deliveries = load_all(&tables, &s, &count);
	for (int i = 0; i < count; i++)
	{
		EsDelivery *d = &deliveries[i];

		if (!is_held_by(d, consumer) || (positions->data != NULL && find(positions, d->position) < 0) ||
			!es_delivery_lock(&tables, d))
			continue;
		d->due_at = until;
		es_delivery_update(&tables, d);
		done++;
		if (positions->data != NULL)
			met[find(positions, d->position)] = true;
	}
	require_all(&s, consumer, positions, met);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	return done;
}

Datum
event_store_extend(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	int64		lease = PG_ARGISNULL(2) ? -1 : es_timeout_argument(fcinfo, 2, "lease");
	Positions	positions = positions_argument(fcinfo, 3, false);

	PG_RETURN_INT64(set_leases(name, consumer, lease, &positions));
}

Datum
event_store_release(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	text	   *consumer = es_consumer_argument(fcinfo, 1);
	Positions	all = {0};

	PG_RETURN_INT64(set_leases(name, consumer, 0, &all));
}

static void
not_parked(const EsSubscription *s, int64 position)
{
	char	   *name = text_to_cstring(s->name);

	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT,
						ES_MEMBERS(ES_TEXT("subscription", name), ES_INT("position", position)),
						"event %lld of subscription \"%s\" is not parked", (long long) position, name),
			 errhint("event_store.parked_events() lists those that are.")));
}

/* Do something with events that are parked: with all of them if no positions are given. */
static int64
for_parked(EsDeliveryTables *tables, const EsSubscription *s, const Positions *positions, bool discard)
{
	TimestampTz now = GetCurrentTimestamp();
	int			count;
	EsDelivery *deliveries = es_deliveries_load(tables, s, ES_LANE_PARKED, &count);
	int64		done = 0;
	int			met = 0;

	for (int i = 0; i < count; i++)
	{
		EsDelivery *d = &deliveries[i];

		if (d->state != ES_PARKED)
			continue;
		if (positions->data != NULL)
		{
			while (met < positions->count && positions->data[met] < d->position)
				not_parked(s, positions->data[met]);
			if (met == positions->count || positions->data[met] != d->position)
				continue;
			met++;
		}
		if (discard)
			(void) es_delivery_delete(tables, d);
		else
		{
			d->state = ES_WAITING;
			d->due_at = now;
			d->attempts = 0;
			d->cause = "replay";
			es_delivery_update(tables, d);
		}
		done++;
	}
	if (met < positions->count)
		not_parked(s, positions->data[met]);
	es_delivery_changed(tables);
	return done;
}

Datum
event_store_replay_parked(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	Positions	positions = positions_argument(fcinfo, 1, false);
	EsDeliveryTables tables;
	EsSubscription s;
	int64		count;

	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_take(&tables, name, &s);
	count = for_parked(&tables, &s, &positions, false);
	es_delivery_close(&tables);
	PG_RETURN_INT64(count);
}

Datum
event_store_discard_parked(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	Positions	positions = positions_argument(fcinfo, 1, true);
	EsDeliveryTables tables;
	EsSubscription s;
	int64		count;

	es_delivery_open(&tables, ES_USE_CONSUME);
	es_subscription_take(&tables, name, &s);
	count = for_parked(&tables, &s, &positions, true);
	es_delivery_close(&tables);
	PG_RETURN_INT64(count);
}
