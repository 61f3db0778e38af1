/*
 * subscription.c
 *		Subscriptions: making and changing them.
 *
 * The order of locks is that of deliver/delivery.  Reset and delete are the
 * exception to its rule: they wait for acknowledgements in progress while they
 * hold the lock of the subscription, and may become the victim of a deadlock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "deliver/key.h"
#include "deliver/subscription.h"
#include "log/horizon.h"
#include "log/read.h"
#include "log/stream.h"
#include "log/token.h"

#define MAX_NUMBER	1000000		/* of what a subscription keeps in its tables */

bool
es_text_equal(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static EsNames
names_of(ArrayType *array)
{
	EsNames		names = {0};

	if (array != NULL)
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names.data, NULL, &names.count);
	if (array != NULL && names.data == NULL)
		names.data = palloc(sizeof(Datum));
	for (int i = 0; i < names.count; i++)
		names.data[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(names.data[i]));
	return names;
}

/* What a subscription follows, palloc'd. */
EsEventSource *
es_subscription_source(const EsSubscription *s)
{
	return es_source_make(s->stream, s->category, names_of(s->types), s->filter);
}

static void
push_member(JsonbParseState **parse, const char *name, const char *string)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	(void) pushJsonbValue(parse, WJB_KEY, &key);
	(void) pushJsonbValue(parse, WJB_VALUE, &value);
}

/* What went wrong with a subscription, palloc'd; a position of 0, and NULL, are left out. */
Jsonb *
es_subscription_problem(int64 position, const char *action, text *consumer, const char *reason, TimestampTz at)
{
	JsonbParseState *parse = NULL;

	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	push_member(&parse, "action", action);
	push_member(&parse, "at", timestamptz_to_str(at));
	if (consumer != NULL)
		push_member(&parse, "consumer", text_to_cstring(consumer));
	if (reason != NULL)
		push_member(&parse, "reason", reason);
	if (position != 0)
	{
		JsonbValue	value = {.type = jbvNumeric};

		value.val.numeric = int64_to_numeric(position);
		(void) pushJsonbValue(&parse, WJB_KEY,
							  &(JsonbValue) {.type = jbvString,.val.string = {.val = "position",.len = 8}});
		(void) pushJsonbValue(&parse, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
}

/* --- arguments --- */

text *
es_subscription_name_argument(FunctionCallInfo fcinfo, int argument)
{
	text	   *name;

	es_require_argument(fcinfo, argument, "subscription");
	name = PG_GETARG_TEXT_PP(argument);
	es_name_check(name, "subscription name", -1);
	return name;
}

text *
es_consumer_argument(FunctionCallInfo fcinfo, int argument)
{
	text	   *consumer;

	es_require_argument(fcinfo, argument, "consumer");
	consumer = PG_GETARG_TEXT_PP(argument);
	es_name_check(consumer, "consumer name", -1);
	return consumer;
}

/* A number between low and high, or what was there before if it is null. */
static int64
number_argument(FunctionCallInfo fcinfo, int argument, const char *name, int64 low, int64 high, int64 before)
{
	int64		value;

	if (PG_ARGISNULL(argument))
		return before;
	value = PG_GETARG_INT32(argument);
	if (value < low || value > high)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name), ES_INT("value", value)),
							"%s %lld is not between %lld and %lld", name, (long long) value, (long long) low, (long long) high),
				 errhint("Pass a number in that range.")));
	return value;
}

/* The numbers that create and alter take, beginning at an argument. */
static void
number_arguments(FunctionCallInfo fcinfo, int first, EsSubscription *s)
{
	s->max_attempts = number_argument(fcinfo, first, "max_attempts", 1, MAX_NUMBER, s->max_attempts);
	if (!PG_ARGISNULL(first + 1))
		s->lease = es_timeout_argument(fcinfo, first + 1, "lease");
	if (s->lease == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "lease")), "lease is zero"),
				 errhint("A lease is the time that a consumer has for the events it was given.")));
	if (!PG_ARGISNULL(first + 2))
		s->retry_delay = es_timeout_argument(fcinfo, first + 2, "retry_delay");
	s->max_in_flight = number_argument(fcinfo, first + 3, "max_in_flight", 1, MAX_NUMBER, s->max_in_flight);
	s->buffer_size = number_argument(fcinfo, first + 4, "buffer_size", 1, MAX_NUMBER, s->buffer_size);
	s->max_parked = number_argument(fcinfo, first + 5, "max_parked", 0, MAX_NUMBER, s->max_parked);
	if (!PG_ARGISNULL(first + 6))
		s->park_key = PG_GETARG_BOOL(first + 6);
}

/*
 * The position after which to begin: origin, current (what comes from now on),
 * a position, or a token of one.
 */
static int64
start_argument(FunctionCallInfo fcinfo, int argument, EsStore *store)
{
	char	   *start;
	char	   *end;
	long long	position;

	es_require_argument(fcinfo, argument, "start_from");
	start = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (strcmp(start, "origin") == 0)
		return 0;
	if (strcmp(start, "current") == 0)
	{
		EsFinal		final;

		es_final_begin(&final, store);
		es_final_end(&final);
		return final.last;
	}
	if (strchr(start, ':') != NULL)
		return es_token_position(store, start);

	errno = 0;
	position = strtoll(start, &end, 10);
	if (end == start || *end != '\0' || errno != 0 || position < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("start_from", start)),
							"start_from \"%s\" is no place in the log", start),
				 errhint("Use origin, current, a position after which to begin, or a token.")));
	if (!store->copy)
		es_position_check(store, position);
	return position;
}

/* --- making and changing --- */

PG_FUNCTION_INFO_V1(event_store_create_subscription);
PG_FUNCTION_INFO_V1(event_store_alter_subscription);
PG_FUNCTION_INFO_V1(event_store_reset_subscription);
PG_FUNCTION_INFO_V1(event_store_delete_subscription);
PG_FUNCTION_INFO_V1(event_store_stop_subscription);
PG_FUNCTION_INFO_V1(event_store_resume_subscription);

Datum
event_store_create_subscription(PG_FUNCTION_ARGS)
{
	static const char *const settings[] = {
		"max_attempts", "lease", "retry_delay", "max_in_flight", "buffer_size", "max_parked", "park_key"
	};
	EsDeliveryTables tables;
	EsSubscription s = {.created_at = GetCurrentTimestamp()};
	EsSubscription there;
	EsEventSource *source;
	Snapshot	snapshot;
	bool		if_not_exists;
	LOCKTAG		tag;

	s.changed_at = s.created_at;
	s.name = es_subscription_name_argument(fcinfo, 0);
	s.stream = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	s.category = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	(void) es_names_argument(fcinfo, 3, "types");
	s.types = PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3);
	s.filter = PG_ARGISNULL(4) ? NULL : DatumGetJsonPathP(PG_GETARG_DATUM(4));
	source = es_subscription_source(&s);
	es_require_argument(fcinfo, 6, "partition_by");
	s.partition_by = PG_GETARG_TEXT_PP(6);
	(void) es_key_parse(text_to_cstring(s.partition_by));
	for (int i = 0; i < lengthof(settings); i++)
		es_require_argument(fcinfo, 7 + i, settings[i]);
	number_arguments(fcinfo, 7, &s);
	es_require_argument(fcinfo, 14, "if_not_exists");
	if_not_exists = PG_GETARG_BOOL(14);

	es_delivery_open(&tables, ES_USE_MANAGE);
	es_delivery_create_tables(&tables);

	/* one at a time, so that each finds what the others have made */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RelationGetRelid(tables.subscriptions), 0, 0);
	tag.locktag_type = LOCKTAG_USERLOCK;
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	if (es_subscription_find(&tables, s.name, &there))
	{
		char	   *name = text_to_cstring(s.name);

		if (!if_not_exists)
			ereport(ERROR,
					(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("subscription", name)),
								"subscription \"%s\" exists already", name),
					 errhint("Pass if_not_exists => true to go on with the one there is, or reset or delete that one.")));
		ereport(NOTICE, (errmsg("subscription \"%s\" exists already, skipping", name)));
		es_delivery_close(&tables);
		PG_RETURN_VOID();
	}

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_source_check(source, tables.store, snapshot);
	UnregisterSnapshot(snapshot);
	s.read_position = s.checkpoint = start_argument(fcinfo, 5, tables.store);
	es_subscription_insert(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_VOID();
}

Datum
event_store_alter_subscription(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	EsDeliveryTables tables;
	EsSubscription s;

	es_delivery_open(&tables, ES_USE_MANAGE);
	es_subscription_take(&tables, name, &s);
	number_arguments(fcinfo, 1, &s);
	es_subscription_save(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_VOID();
}

/* Forget the deliveries in a lane that are above a position; returns their number. */
static int64
forget(EsDeliveryTables *tables, const EsSubscription *s, int lane, int64 above)
{
	int			count;
	EsDelivery *deliveries = es_deliveries_load(tables, s, lane, &count);
	int64		forgotten = 0;

	for (int i = 0; i < count; i++)
	{
		EsDelivery	d = deliveries[i];
		bool		found = d.position > above;

		/* if somebody is acknowledging it, it is gone or as it was when that is over */
		while (found && !es_delivery_delete(tables, &d))
			found = es_delivery_find(tables, s->id, deliveries[i].position, &d);
		if (found)
			forgotten++;
	}
	return forgotten;
}

Datum
event_store_reset_subscription(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	EsDeliveryTables tables;
	EsSubscription s;
	int64		start;

	es_delivery_open(&tables, ES_USE_MANAGE);
	start = start_argument(fcinfo, 1, tables.store);
	es_subscription_take(&tables, name, &s);
	s.taken -= forget(&tables, &s, ES_LANE_LIVE, 0) + forget(&tables, &s, ES_LANE_PARKED, start);
	s.read_position = s.checkpoint = start;
	s.changed_at = GetCurrentTimestamp();
	es_subscription_save(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_VOID();
}

Datum
event_store_delete_subscription(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	EsDeliveryTables tables;
	EsSubscription s;

	es_delivery_open(&tables, ES_USE_MANAGE);
	es_subscription_take(&tables, name, &s);
	(void) forget(&tables, &s, ES_LANE_LIVE, 0);
	(void) forget(&tables, &s, ES_LANE_PARKED, 0);
	es_subscription_delete(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
	PG_RETURN_VOID();
}

static void
set_stopped(FunctionCallInfo fcinfo, bool stopped)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	EsDeliveryTables tables;
	EsSubscription s;

	es_delivery_open(&tables, ES_USE_MANAGE);
	es_subscription_take(&tables, name, &s);
	s.stopped = stopped;
	if (stopped)
		s.last_problem = es_subscription_problem(0, "stop", NULL,
												 PG_ARGISNULL(1) ? NULL : es_problem_cut(text_to_cstring(PG_GETARG_TEXT_PP(1))),
												 GetCurrentTimestamp());
	es_subscription_save(&tables, &s);
	es_delivery_changed(&tables);
	es_delivery_close(&tables);
}

Datum
event_store_stop_subscription(PG_FUNCTION_ARGS)
{
	set_stopped(fcinfo, true);
	PG_RETURN_VOID();
}

Datum
event_store_resume_subscription(PG_FUNCTION_ARGS)
{
	set_stopped(fcinfo, false);
	PG_RETURN_VOID();
}
