/*
 * tenant_limit.c
 *		What a tenant may do: the table tenant_limit.
 *
 * A row is one limit of one tenant, by the number of its store, so that it
 * outlives a rename and a restore.  Rows are written directly, as those of
 * tenant_registry are, for the owner of the database: a tenant that owns its
 * schema cannot lift its own limits.
 *
 * A session keeps the limits of a store with the store.  A change of them
 * counts as a change of tenant_registry, which makes them stale everywhere
 * (es_tenant_generation).  In a database without limits the answer to
 * everything is one comparison.
 *
 * log/admit holds appends to them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "store/tenant.h"
#include "store/tenant_limit.h"

#define MAX_DELAY	(INT64CONST(365) * SECS_PER_DAY * 1000) /* ms; nobody waits longer, and it can be reckoned with in ns */

/* Columns of tenant_limit. */
enum LimitColumn
{
	LIMIT_STORE_NUMBER,
	LIMIT_WHAT,
	LIMIT_AMOUNT,
	LIMIT_BURST,
	LIMIT_ACTION,
	LIMIT_MAX_DELAY,
	LIMIT_NCOLUMNS
};

/* The limits of a store, in its context. */
typedef struct EsLimits
{
	uint64		generation;
	bool		any;
	EsLimit		limits[ES_LIMIT_COUNT];
} EsLimits;

const char *const es_limit_names[ES_LIMIT_COUNT] = {
	[ES_LIMIT_APPENDS] = "appends_per_second",
	[ES_LIMIT_EVENTS] = "events_per_second",
	[ES_LIMIT_BYTES] = "bytes_per_second",
	[ES_LIMIT_STREAMS] = "streams",
	[ES_LIMIT_STORAGE] = "storage_bytes",
};

const char *const es_limit_actions[] = {
	[ES_LIMIT_REFUSE] = "refuse",
	[ES_LIMIT_DELAY] = "delay",
	[ES_LIMIT_WARN] = "warn",
};

static uint64 counted = 0;		/* generation of the next */
static bool any_limits = false;

static Relation
open_limits(LOCKMODE lockmode)
{
	return es_extension_open("tenant_limit", lockmode);
}

/* Has any tenant of this database a limit? */
bool
es_tenant_limits_exist(void)
{
	uint64		generation;
	Relation	rel;
	SysScanDesc scan;
	bool		found;

	if (!es_tenants_exist())
		return false;
	generation = es_tenant_generation();
	if (counted == generation)
		return any_limits;

	rel = open_limits(AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	any_limits = found;
	counted = generation;
	return found;
}

/* Begin a scan of the rows of a store, or (what not NULL) of one of them. */
static SysScanDesc
begin_scan(Relation rel, int64 store_number, const char *what)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], LIMIT_STORE_NUMBER + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(store_number));
	if (what != NULL)
		ScanKeyEntryInitialize(&keys[1], 0, LIMIT_WHAT + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, CStringGetTextDatum(what));
	return systable_beginscan(rel, es_primary_key(rel), true, NULL, what != NULL ? 2 : 1, keys);
}

/* The index of a name in a list, -1 if it is not there. */
static int
find_name(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static void
read_limits(int64 store_number, EsLimits *limits)
{
	Relation	rel = open_limits(AccessShareLock);
	SysScanDesc scan = begin_scan(rel, store_number, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[LIMIT_NCOLUMNS];
		bool		nulls[LIMIT_NCOLUMNS];
		int			kind;
		int			action;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		kind = find_name(es_limit_names, ES_LIMIT_COUNT, TextDatumGetCString(values[LIMIT_WHAT]));
		action = find_name(es_limit_actions, lengthof(es_limit_actions), TextDatumGetCString(values[LIMIT_ACTION]));
		if (kind < 0 || action < 0)
			continue;
		limits->any = true;
		limits->limits[kind] = (EsLimit) {
			.set = true,.action = action,.amount = DatumGetInt64(values[LIMIT_AMOUNT]),
			.burst = DatumGetInt64(values[LIMIT_BURST]),.max_delay = DatumGetInt64(values[LIMIT_MAX_DELAY])};
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * The limits of a store, by kind; NULL if it has none.  Good until the next
 * call for the same store, and as long as the store.
 */
const EsLimit *
es_tenant_limits(EsStore *store)
{
	uint64		generation;

	if (!es_tenant_limits_exist())
		return NULL;
	generation = es_tenant_generation();
	if (store->limits == NULL)
		store->limits = MemoryContextAllocZero(store->context, sizeof(EsLimits));
	if (store->limits->generation != generation)
	{
		EsLimits	fresh = {.generation = generation};
		EsTenant	tenant;

		/* by the number that the tenant has: that of the store is its owner's to change */
		if (es_tenant_of_schema(store->nspid, &tenant))
			read_limits(tenant.number, &fresh);
		*store->limits = fresh;
	}
	return store->limits->any ? store->limits->limits : NULL;
}

/* Delete a limit of a store, or (what NULL) all; tells how many there were. */
static int
forget(int64 store_number, const char *what)
{
	Relation	rel = open_limits(RowExclusiveLock);
	SysScanDesc scan = begin_scan(rel, store_number, what);
	HeapTuple	tuple;
	int			count = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CatalogTupleDelete(rel, &tuple->t_self);
		count++;
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	if (count > 0)
		CommandCounterIncrement();
	return count;
}

/* For a store that is dropped. */
void
es_tenant_limits_forget(int64 store_number)
{
	(void) forget(store_number, NULL);
}

/*
 * The number of the store of a tenant, for the owner of the database.  Nobody
 * else changes its limits, or the tenant, until the transaction ends.
 */
static int64
limited_tenant(const char *name, Relation *registry)
{
	EsTenant	tenant;

	es_require_writable();
	if (!es_owns_database(MyDatabaseId, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"permission denied to limit tenant \"%s\"", name),
				 errhint("This is for the owner of the database.")));
	*registry = es_tenant_open_registry(RowExclusiveLock);
	es_tenant_lock_name(*registry, es_tenant_fold(name));
	if (!es_tenant_find(name, &tenant) || !OidIsValid(tenant.nspid))
		es_tenant_get(name, &tenant);	/* raises the error */
	return tenant.number;
}

static EsLimitKind
kind_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *name;
	int			kind;

	es_require_argument(fcinfo, argument, "what");
	name = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	kind = find_name(es_limit_names, ES_LIMIT_COUNT, name);
	if (kind < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "what")),
							"\"%s\" cannot be limited", name),
				 errhint("Limit appends_per_second, events_per_second, bytes_per_second, streams or storage_bytes.")));
	return kind;
}

static int64
positive(int64 value, const char *what)
{
	if (value < 1)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", what), ES_INT("value", value)),
							"%s must be positive", what),
				 errhint("To refuse every append use event_store.suspend_tenant().")));
	return value;
}

PG_FUNCTION_INFO_V1(event_store_set_tenant_limit);
PG_FUNCTION_INFO_V1(event_store_clear_tenant_limit);

/* set_tenant_limit(name, what, amount, burst, action, max_delay) */
Datum
event_store_set_tenant_limit(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	EsLimitKind kind = kind_argument(fcinfo, 1);
	bool		is_rate = kind <= ES_LIMIT_LAST_RATE;
	Datum		values[LIMIT_NCOLUMNS];
	bool		nulls[LIMIT_NCOLUMNS] = {0};
	char	   *action_name;
	int			action;
	int64		max_delay;
	Relation	registry;
	Relation	rel;
	int64		number;

	es_require_argument(fcinfo, 2, "amount");
	es_require_argument(fcinfo, 4, "action");
	es_require_argument(fcinfo, 5, "max_delay");
	action_name = text_to_cstring(PG_GETARG_TEXT_PP(4));
	action = find_name(es_limit_actions, lengthof(es_limit_actions), action_name);
	if (action < 0 || (action == ES_LIMIT_DELAY && !is_rate))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "action")),
							"action \"%s\" is not known for %s", action_name, es_limit_names[kind]),
				 errhint("Use refuse or warn, or delay for what is limited by the second.")));
	max_delay = es_interval_ms(PG_GETARG_INTERVAL_P(5));
	if (max_delay < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "max_delay")),
							"max_delay is negative"),
				 errhint("Pass the longest time that an append may have to wait.")));
	if (!PG_ARGISNULL(3) && !is_rate)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "burst")),
							"%s has no burst", es_limit_names[kind]),
				 errhint("Leave burst out.")));

	values[LIMIT_WHAT] = CStringGetTextDatum(es_limit_names[kind]);
	values[LIMIT_AMOUNT] = Int64GetDatum(positive(PG_GETARG_INT64(2), "amount"));
	values[LIMIT_BURST] = Int64GetDatum(positive(PG_ARGISNULL(3) ? PG_GETARG_INT64(2) : PG_GETARG_INT64(3), "burst"));
	values[LIMIT_ACTION] = CStringGetTextDatum(es_limit_actions[action]);
	values[LIMIT_MAX_DELAY] = Int64GetDatum(Min(max_delay, MAX_DELAY));

	number = limited_tenant(name, &registry);
	(void) forget(number, es_limit_names[kind]);
	values[LIMIT_STORE_NUMBER] = Int64GetDatum(number);
	rel = open_limits(RowExclusiveLock);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	CacheInvalidateRelcache(registry);
	CommandCounterIncrement();
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

/* clear_tenant_limit(name, what) */
Datum
event_store_clear_tenant_limit(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	const char *what = PG_ARGISNULL(1) ? NULL : es_limit_names[kind_argument(fcinfo, 1)];
	Relation	registry;
	int			count = forget(limited_tenant(name, &registry), what);

	CacheInvalidateRelcache(registry);
	CommandCounterIncrement();
	table_close(registry, NoLock);
	PG_RETURN_INT32(count);
}
