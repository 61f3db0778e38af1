/*
 * tenant_life.c
 *		How tenants come into being from others, and how they go in peace.
 *
 * The schema of a new tenant is made empty, or like that of a template, or it
 * is there already: the pool holds schemas that were made before, which need no
 * more than a name.  One in the pool is a store and no tenant; it has the
 * migrations that there were, recorded under the name of its schema.  Whoever
 * takes one locks its row of tenant_pool; who comes at the same time takes
 * another one.
 *
 * A tenant that is dropped with a time to keep it stays as it is, but refuses
 * every call.  purge_tenants removes it then, a few tables in one transaction:
 * the locks of one transaction are few however much there is to remove, and a
 * purge that is interrupted is gone on with by the next.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/commit.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "store/count.h"
#include "store/manage.h"
#include "store/migration.h"
#include "store/payload.h"
#include "store/statement.h"
#include "store/store.h"
#include "store/tenant_clone.h"
#include "store/tenant_life.h"
#include "store/tenant_records.h"
#include "store/upkeep.h"

#define MAX_POOL		10000
#define MAX_RELATIONS	5		/* that a step of a purge drops */
#define BUSY_INTERVAL	10000	/* ms until a tenant that was in use is tried again */

const EsUpkeepHooks *es_upkeep_hooks = NULL;

/*
 * If no tenant has this name, but a schema that is a tenant's: the name of that
 * tenant, palloc'd; otherwise the name.
 */
static const char *
tenant_of_template(const char *name)
{
	EsTenant	tenant;
	Oid			nspid;

	if (es_tenant_find(name, &tenant))
		return name;
	nspid = get_namespace_oid(name, true);
	return OidIsValid(nspid) && es_tenant_of_schema(nspid, &tenant) ? pstrdup(NameStr(tenant.name)) : name;
}

/*
 * The schema of a template, a tenant's or any other, which must be the
 * caller's.  A tenant is locked, so that nobody migrates it meanwhile, and
 * *template becomes its name if it was that of its schema.
 */
Oid
es_tenant_template_schema(const char **template)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	const char *name;
	EsTenant	tenant;
	Oid			nspid;

	/* whoever renames it meanwhile has the lock, and then it is called otherwise */
	do
	{
		name = tenant_of_template(*template);
		es_tenant_share_name(registry, es_tenant_fold(name));
	} while (strcmp(name, tenant_of_template(*template)) != 0);
	*template = name;
	table_close(registry, AccessShareLock);
	if (es_tenant_find(name, &tenant))
	{
		es_tenant_get(name, &tenant);
		if (tenant.dropping)
			es_tenant_require_state(&tenant, false);
		nspid = tenant.nspid;
	}
	else
		nspid = get_namespace_oid(name, true);
	if (!OidIsValid(nspid))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_NOT_FOUND, ES_MEMBERS(ES_TEXT("template", name)),
							"there is no tenant and no schema \"%s\" to take as a template", name),
				 errhint("Name a tenant, or a schema.")));
	if (!es_owns_schema(nspid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("template", name)),
							"must be owner of the template \"%s\"", name),
				 errhint("Ask the owner of its schema, or become a member of the owning role.")));
	return nspid;
}

/*
 * What the store of a new schema is to keep: what was asked for, NULL for what
 * the template's store keeps, or jsonb.
 */
static EsPayload
choose_payload(const char **template, const EsPayload *asked)
{
	EsStore    *store = *template == NULL ? NULL : es_store_of_schema(es_tenant_template_schema(template));

	if (asked != NULL && store != NULL && store->payload != *asked)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("template", *template), ES_TEXT("payload", es_payload_name(*asked)),
									   ES_TEXT("kept", es_payload_name(store->payload))),
							"payload is %s, but the template \"%s\" keeps %s", es_payload_name(*asked), *template,
							es_payload_name(store->payload)),
				 errhint("Leave payload out, or make the tenant without a template.")));
	return asked != NULL ? *asked : store != NULL ? store->payload : ES_PAYLOAD_JSONB;
}

/* Make a schema with a store, like a template if it is not NULL; returns the number of the store. */
static int64
make_schema(const char *schema, const char *template, EsPayload payload, bool with_data, bool with_grants)
{
	int64		number;

	if (template == NULL)
		return es_store_create(schema, payload);
	number = es_tenant_clone_schema(es_tenant_template_schema(&template), schema, payload, with_data, with_grants);
	es_tenant_records_copy(template, schema);
	return number;
}

/*
 * Whose the schemas are that are made from a template, which may be NULL: the
 * owner's of the template.  If that is gone, the caller is whose are asked for.
 */
static Oid
pool_owner(const char *template)
{
	Oid			nspid = InvalidOid;
	EsTenant	tenant;

	if (template != NULL)
		nspid = es_tenant_find(template, &tenant) ? tenant.nspid : get_namespace_oid(template, true);
	return OidIsValid(nspid) ? es_schema_owner(nspid) : GetUserId();
}

static void
pool_parameters(Datum *values, char *nulls, const char *template, bool with_data)
{
	nulls[0] = template == NULL ? 'n' : ' ';
	values[0] = template == NULL ? (Datum) 0 : CStringGetTextDatum(template);
	values[1] = BoolGetDatum(with_data);
	values[2] = ObjectIdGetDatum(pool_owner(template));
}

/* Take a schema from the pool; palloc'd, NULL if there is none like that.  Who may have the template, the callers check. */
static char *
take_from_pool(const char *template, bool with_data)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *schema = NULL;
	Datum		values[3];
	char		nulls[] = "   ";

	pool_parameters(values, nulls, template, with_data);
	SPI_connect();
	if (es_record(ES_RECORD_POOL_TAKE, values, nulls) > 0)
		schema = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return schema;
}

static void
drop_schema(const char *schema)
{
	EsStore    *store = es_store_of_schema(get_namespace_oid(schema, false));
	int			level;

	if (store != NULL)
		es_store_unregister(store->number);
	es_tenant_records_forget(schema);
	level = es_tenant_lift_guard();
	es_statement_drop_schema(schema);
	AtEOXact_GUC(true, level);
}

/* A schema becomes a tenant's: if it is in the pool it is so no longer, and what is recorded of it is the tenant's. */
void
es_tenant_leave_pool(const char *schema, const char *name)
{
	Datum		value = CStringGetTextDatum(schema);
	uint64		count;

	SPI_connect();
	count = es_record(ES_RECORD_POOL_LEAVE, &value, NULL);
	SPI_finish();
	if (count > 0 && strcmp(schema, name) != 0)
		es_tenant_records_rename(schema, name);
}

/*
 * Refuse to drop a tenant that schemas in the pool were made from: who makes
 * another one of this name would get them.
 */
void
es_tenant_require_no_pool(const char *name)
{
	Datum		value = CStringGetTextDatum(name);
	bool		with_data;
	bool		isnull;

	SPI_connect();
	if (es_record(ES_RECORD_POOL_OF_TEMPLATE, &value, NULL) > 0)
	{
		with_data = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_IN_USE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"tenant \"%s\" is the template of schemas in the pool", name),
				 errhint("Drop those first with CALL event_store.fill_tenant_pool(0, %s, with_data => %s).",
						 quote_literal_cstr(name), with_data ? "true" : "false")));
	}
	SPI_finish();
}

/*
 * The schema for a new tenant, from the pool if that has one; returns the
 * number of its store.  asked is what it is to keep, NULL if that was not said.
 */
int64
es_tenant_make_schema(const char *name, const char *template, const EsPayload *asked, bool with_data, bool with_grants)
{
	/* who may not have the template gets nothing that was made from it */
	EsPayload	payload = choose_payload(&template, asked);
	bool		from_pool = !with_grants && (template != NULL || payload == ES_PAYLOAD_JSONB);
	char	   *schema;
	EsStore    *store;

	while (from_pool && (schema = take_from_pool(template, with_data)) != NULL)
	{
		store = es_store_of_schema(get_namespace_oid(schema, false));
		if (store == NULL)
			continue;			/* somebody has broken it */
		if (store->payload != payload)
		{
			/* it was made from another template of this name */
			drop_schema(schema);
			continue;
		}
		es_statement_rename_schema(schema, name);
		es_tenant_records_rename(schema, name);
		es_upkeep_hooks->pool_taken(template, with_data);
		return store->number;
	}
	return make_schema(name, template, payload, with_data, with_grants);
}

static void
set_state(Relation registry, HeapTuple row, const char *state, TimestampTz purge_after)
{
	Datum		values[TENANT_NCOLUMNS] = {0};
	bool		nulls[TENANT_NCOLUMNS] = {0};
	bool		replace[TENANT_NCOLUMNS] = {0};

	values[TENANT_STATE] = CStringGetTextDatum(state);
	values[TENANT_PURGE_AFTER] = TimestampTzGetDatum(purge_after);
	nulls[TENANT_PURGE_AFTER] = purge_after == 0;
	replace[TENANT_STATE] = true;
	replace[TENANT_PURGE_AFTER] = strcmp(state, "purging") != 0;
	es_tenant_update_row(registry, row, values, nulls, replace);
}

/* Drop a tenant, the caller's, so that it is not purged before a time has passed. */
void
es_tenant_drop_later(Relation registry, HeapTuple row, const EsTenant *tenant, const Interval *keep)
{
	Datum		name = CStringGetTextDatum(NameStr(tenant->name));

	if (es_interval_ms(keep) < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "keep")), "keep is negative"),
				 errhint("Say how long it can still be restored, or leave keep away to drop it at once.")));
	if (!OidIsValid(tenant->nspid))
		es_tenant_broken(tenant);
	if (tenant->dropping)
		es_tenant_require_state(tenant, false);
	set_state(registry, row, "dropping",
			  DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													  TimestampTzGetDatum(GetCurrentTimestamp()),
													  PointerGetDatum(keep))));
	SPI_connect();
	(void) es_record(ES_RECORD_ROLLOUT_LEAVE, &name, NULL);
	SPI_finish();
	es_upkeep_hooks->tenant_dropped(NameStr(tenant->name), true);
}

static char *
row_state(Relation registry, HeapTuple row)
{
	bool		isnull;

	return TextDatumGetCString(heap_getattr(row, TENANT_STATE + 1, RelationGetDescr(registry), &isnull));
}

/* Raise the error of a tenant that is not dropped, or too much so. */
static void
require_dropping(const char *name, const char *state, bool purging_too)
{
	if (strcmp(state, "dropping") == 0 || (purging_too && strcmp(state, "purging") == 0))
		return;
	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("state", state)),
						strcmp(state, "purging") == 0 ? "tenant \"%s\" is being purged" : "tenant \"%s\" is not dropped", name),
			 strcmp(state, "purging") == 0 ? errhint("A part of it is gone; finish with event_store.purge_tenants().") :
			 errhint("Drop it with event_store.drop_tenant(), with a time to keep it.")));
}

PG_FUNCTION_INFO_V1(event_store_restore_tenant);
PG_FUNCTION_INFO_V1(event_store_purge_tenants);
PG_FUNCTION_INFO_V1(event_store_fill_tenant_pool);

Datum
event_store_restore_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	Relation	registry;
	EsTenant	tenant;
	HeapTuple	row;

	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	row = es_tenant_own_row(registry, name, &tenant);
	require_dropping(name, row_state(registry, row), false);
	set_state(registry, row, "active", 0);
	table_close(registry, NoLock);
	es_upkeep_hooks->tenant_dropped(name, false);
	PG_RETURN_VOID();
}

/* What has become of a tenant that was to be purged. */
typedef enum Purged
{
	PURGED_PART,
	PURGED_ALL,
	PURGED_NOT					/* it is no longer dropped, or not the caller's */
} Purged;

/* Drop up to so many relations of a tenant, and all of it if there are no more. */
static Purged
purge_part(const char *name, int max_relations)
{
	Relation	registry = es_tenant_open_registry(RowExclusiveLock);
	EsTenant	tenant;
	HeapTuple	row;
	EsStore    *store;
	char	   *schema;
	uint64		count;
	int			level;

	/* nobody locks what is not theirs; and while we wait another purge may have removed it */
	for (int i = 0; i < 2; i++)
	{
		if (!es_tenant_find(name, &tenant) || !es_tenant_is_owned(&tenant) || !tenant.dropping)
		{
			table_close(registry, NoLock);
			return PURGED_NOT;
		}
		if (i == 0)
			es_tenant_lock_name(registry, es_tenant_fold(name));
	}
	row = es_tenant_row(registry, name);
	schema = OidIsValid(tenant.nspid) ? get_namespace_name(tenant.nspid) : NULL;
	if (schema == NULL)
		count = 0;
	else
	{
		char	  **drops;

		if ((store = es_store_of_schema(tenant.nspid)) != NULL)
			es_store_drop_series(store);
		if (strcmp(row_state(registry, row), "purging") != 0)
		{
			set_state(registry, row, "purging", 0);
			row = es_tenant_row(registry, name);
		}
		level = es_tenant_lift_guard();
		SPI_connect();
		if (SPI_execute(es_statement_relations(schema, max_relations), false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not look for relations");
		count = SPI_processed;
		drops = palloc(sizeof(char *) * Max(count, 1));
		for (uint64 i = 0; i < count; i++)
			drops[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		for (uint64 i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (SPI_execute(drops[i], false, 0) < 0)
				elog(ERROR, "could not drop a relation");
		}
		SPI_finish();
		AtEOXact_GUC(true, level);
	}
	if (count < max_relations)
		es_tenant_remove(registry, row, &tenant);
	table_close(registry, NoLock);
	return count < max_relations ? PURGED_ALL : PURGED_PART;
}

/* The same, but false if somebody uses what is to be dropped and lock_timeout has passed. */
static bool
try_purge_part(const char *name, int max_relations, Purged *purged)
{
	EsAttempt	attempt;
	volatile bool succeeded = false;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		*purged = purge_part(name, max_relations);
		es_attempt_succeeded(&attempt);
		succeeded = true;
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE && error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			ReThrowError(error);
	}
	PG_END_TRY();
	return succeeded;
}

/* Purge a part of a dropped tenant whose time has come. */
EsUpkeepNext
es_tenant_purge_step(const char *name, TimestampTz *at)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	HeapTuple	row = es_tenant_row(registry, name);
	EsTenant	tenant;
	Purged		purged;
	bool		isnull = true;

	*at = 0;
	if (row != NULL)
	{
		Datum		time = heap_getattr(row, TENANT_PURGE_AFTER + 1, RelationGetDescr(registry), &isnull);

		*at = isnull ? 0 : DatumGetTimestampTz(time);
	}
	table_close(registry, AccessShareLock);
	if (!es_tenant_find(name, &tenant) || !tenant.dropping)
		return ES_UPKEEP_DONE;
	if (*at > GetCurrentTimestamp())
		return ES_UPKEEP_LATER;
	es_tenant_require_owner(&tenant);
	if (try_purge_part(name, MAX_RELATIONS, &purged))
		return purged == PURGED_PART ? ES_UPKEEP_MORE : ES_UPKEEP_DONE;
	*at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_INTERVAL);
	return ES_UPKEEP_LATER;
}

/* The tenants to purge, in the memory context. */
static List *
to_purge(const char *name, MemoryContext context)
{
	Datum		values[1] = {name == NULL ? (Datum) 0 : CStringGetTextDatum(name)};
	List	   *names = NIL;
	uint64		count;

	SPI_connect();
	count = es_record(ES_RECORD_TO_PURGE, values, name == NULL ? "n" : " ");
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		names = lappend(names, pstrdup(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return names;
}

/* purge_tenants(name, max_relations, OUT purged, OUT busy) */
Datum
event_store_purge_tenants(PG_FUNCTION_ARGS)
{
	char	   *name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			max_relations = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	bool		atomic = es_call_is_atomic(fcinfo);
	MemoryContext context;
	MemoryContext step;
	MemoryContext caller = CurrentMemoryContext;
	List	   *names;
	ListCell   *lc;
	TupleDesc	desc;
	int64		counts[2] = {0, 0};
	Datum		values[2];
	bool		nulls[2] = {false, false};

	es_require_writable();
	if (max_relations < 1)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "max_relations")),
							"max_relations is not positive"),
				 errhint("5 relations a transaction, say, need some 60 locks.")));
	if (name != NULL)
	{
		Relation	registry = es_tenant_open_registry(RowExclusiveLock);
		EsTenant	tenant;

		require_dropping(name, row_state(registry, es_tenant_own_row(registry, name, &tenant)), true);
		table_close(registry, NoLock);
	}

	context = AllocSetContextCreate(PortalContext, "event_store purge", ALLOCSET_DEFAULT_SIZES);
	step = AllocSetContextCreate(context, "event_store purge step", ALLOCSET_DEFAULT_SIZES);
	names = to_purge(name, context);
	foreach(lc, names)
	{
		Purged		purged = PURGED_PART;
		bool		free = true;

		while (free && purged == PURGED_PART)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(step);
			free = try_purge_part(lfirst(lc), max_relations, &purged);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(step);
			if (!atomic)
				es_commit();
		}
		if (!free)
			counts[1]++;
		else if (purged == PURGED_ALL)
			counts[0]++;
	}
	MemoryContextDelete(context);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "purge_tenants must return a row");
	values[0] = Int64GetDatum(counts[0]);
	values[1] = Int64GetDatum(counts[1]);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* How many schemas of the caller's there are in the pool. */
static int64
count_pool(const char *template, bool with_data)
{
	int64		count;
	Datum		values[3];
	char		nulls[] = "   ";
	bool		isnull;

	pool_parameters(values, nulls, template, with_data);
	SPI_connect();
	(void) es_record(ES_RECORD_POOL_CLEAN, NULL, NULL);
	(void) es_record(ES_RECORD_POOL_COUNT, values, nulls);
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return count;
}

static void
add_to_pool(const char *template, bool with_data)
{
	uint64		random;
	char	   *schema;
	EsPayload	payload;
	Datum		values[4];
	char		nulls[] = "    ";

	if (!pg_strong_random(&random, sizeof(random)))
		elog(ERROR, "could not generate random values");
	schema = psprintf("tenant_pool_" UINT64_FORMAT, random);
	payload = choose_payload(&template, NULL);
	(void) make_schema(schema, template, payload, with_data, false);
	(void) es_migrate(schema, get_namespace_oid(schema, false), false, NULL);

	pool_parameters(values + 1, nulls + 1, template, with_data);
	values[0] = CStringGetTextDatum(schema);
	SPI_connect();
	(void) es_record(ES_RECORD_POOL_ADD, values, nulls);
	SPI_finish();
}

static void
drop_from_pool(const char *template, bool with_data)
{
	char	   *schema = take_from_pool(template, with_data);

	if (schema != NULL)
		drop_schema(schema);
}

/* Bring the pool of the current role one schema nearer to a size. */
EsUpkeepNext
es_tenant_pool_step(int size, const char *template, bool with_data)
{
	int64		surplus = count_pool(template, with_data) - size;

	if (surplus == 0)
		return ES_UPKEEP_DONE;
	if (surplus > 0)
		drop_from_pool(template, with_data);
	else
		add_to_pool(template, with_data);
	return ES_UPKEEP_MORE;
}

/* Refuse a size that no pool can have, and a template that the caller may not use; puts its true name in its place. */
void
es_tenant_pool_check(int size, const char **template)
{
	EsTenant	tenant;

	if (size < 0 || size > MAX_POOL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "size")),
							"size is not between 0 and %d", MAX_POOL),
				 errhint("Say how many schemas are to be ready.")));
	es_require_writable();
	/* of a template that is gone the pool can still be emptied */
	if (*template != NULL &&
		(size > 0 || es_tenant_find(*template, &tenant) || OidIsValid(get_namespace_oid(*template, true))))
		(void) es_tenant_template_schema(template);
}

/* fill_tenant_pool(size, template, with_data) */
Datum
event_store_fill_tenant_pool(PG_FUNCTION_ARGS)
{
	int			size = PG_ARGISNULL(0) ? -1 : PG_GETARG_INT32(0);
	const char *template = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		with_data;
	bool		atomic = es_call_is_atomic(fcinfo);
	int64		surplus;

	es_require_argument(fcinfo, 2, "with_data");
	with_data = PG_GETARG_BOOL(2);
	es_tenant_pool_check(size, &template);
	if (template != NULL)
		template = MemoryContextStrdup(PortalContext, template);
	surplus = count_pool(template, with_data) - size;
	for (int64 i = 0; i < (surplus < 0 ? -surplus : surplus); i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (surplus > 0)
			drop_from_pool(template, with_data);
		else
			add_to_pool(template, with_data);
		if (!atomic)
			es_commit();
	}
	PG_RETURN_VOID();
}
