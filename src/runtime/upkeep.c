/*
 * upkeep.c
 *		Tasks that do what tenants need by themselves.
 *
 * A task purge for each tenant that is dropped and kept, due when its time has
 * come; a task rollout for each rollout that is not finished; a task pool for
 * each pool of ready schemas that has a size to keep (the table
 * tenant_pool_target), due when a schema is taken from it.  Each belongs to the
 * role that has asked for it.  What a step does is the work of the floor of
 * stores (store/upkeep.h); the procedures that do the same when they are called
 * can run at the same time.
 *
 * While event_store.upkeep is off a step does nothing.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "runtime/task.h"
#include "runtime/upkeep.h"
#include "store/tenant_life.h"
#include "store/tenant_records.h"
#include "store/upkeep.h"

#define OFF_INTERVAL	60000	/* ms until it is looked whether upkeep is on again */
#define LOCK_TIMEOUT	"1s"	/* that a purge waits for who uses the tenant */

static EsTaskNext step_purge(EsTask *task);
static EsTaskNext step_pool(EsTask *task);
static EsTaskNext step_rollout(EsTask *task);
static void forget_pool(int64 number);

static const EsTaskKind purge_kind = {.name = "purge", .step = step_purge};
static const EsTaskKind pool_kind = {.name = "pool", .step = step_pool, .forget = forget_pool};
static const EsTaskKind rollout_kind = {.name = "rollout", .step = step_rollout};

/* --- steps --- */

static EsTaskNext
next_of(EsUpkeepNext next, TimestampTz at)
{
	switch (next)
	{
		case ES_UPKEEP_MORE:
			return es_task_again();
		case ES_UPKEEP_LATER:
			return es_task_at(at);
		case ES_UPKEEP_DONE:
			break;
	}
	return es_task_ended();
}

static EsTaskNext
when_on(const EsTask *task)
{
	return es_task_at(TimestampTzPlusMilliseconds(task->now, OFF_INTERVAL));
}

/* The task of a dropped tenant, whose name it has. */
static EsTaskNext
step_purge(EsTask *task)
{
	TimestampTz at;
	EsUpkeepNext next;

	if (!es_upkeep)
		return when_on(task);
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	next = es_tenant_purge_step(task->name, &at);
	return next_of(next, at);
}

/* The task of a rollout, whose number is its name. */
static EsTaskNext
step_rollout(EsTask *task)
{
	TimestampTz at;
	EsUpkeepNext next;

	if (!es_upkeep)
		return when_on(task);
	next = es_rollout_step(pg_strtoint64(task->name), &at);
	return next_of(next, at);
}

static EsTaskNext
step_pool(EsTask *task)
{
	Datum		parameter = Int64GetDatum(task->number);
	MemoryContext context = CurrentMemoryContext;
	char	   *template = NULL;
	bool		with_data;
	bool		isnull;
	int			size;

	if (!es_upkeep)
		return when_on(task);
	SPI_connect();
	if (es_record(ES_RECORD_POOL_TARGET_GET, &parameter, NULL) == 0)
	{
		SPI_finish();
		return es_task_ended();
	}
	size = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	template = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	if (template != NULL)
		template = MemoryContextStrdup(context, template);
	with_data = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	SPI_finish();

	if (es_tenant_pool_step(size, template, with_data) == ES_UPKEEP_MORE)
		return es_task_again();
	return size == 0 ? es_task_ended() : es_task_at(DT_NOEND);
}

static void
forget_pool(int64 number)
{
	Datum		parameter = Int64GetDatum(number);

	SPI_connect();
	(void) es_record(ES_RECORD_POOL_TARGET_REMOVE, &parameter, NULL);
	SPI_finish();
}

/* --- what the floor of stores tells --- */

static void
tenant_dropped(const char *name, bool kept)
{
	int64		old = es_task_find(&purge_kind, name, NULL);

	if (old != 0)
		(void) es_task_remove(old);
	if (kept)
		(void) es_task_add(&purge_kind, name, NULL, GetUserId());
}

static void
rollout_goes_on(int64 rollout)
{
	char	   *name = psprintf(INT64_FORMAT, rollout);
	int64		task = es_task_find(&rollout_kind, name, NULL);

	if (task != 0)
		es_task_resume(task);
	else
		(void) es_task_add(&rollout_kind, name, NULL, GetUserId());
}

/* The task that keeps a pool of the current role, 0 if there is none. */
static int64
find_pool(const char *template, bool with_data)
{
	Datum		values[] = {template != NULL ? CStringGetTextDatum(template) : (Datum) 0, BoolGetDatum(with_data),
	ObjectIdGetDatum(GetUserId())};
	int64		task = 0;
	bool		isnull;

	SPI_connect();
	if (es_record(ES_RECORD_POOL_TARGET_FIND, values, template != NULL ? "   " : "n  ") > 0)
		task = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return task;
}

static void
pool_taken(const char *template, bool with_data)
{
	int64		task = find_pool(template, with_data);

	if (task != 0)
		es_task_poke(task);
}

void
EsUpkeepInit(void)
{
	static const EsUpkeepHooks hooks = {
		.tenant_dropped = tenant_dropped,
		.pool_taken = pool_taken,
		.rollout_goes_on = rollout_goes_on,
	};

	es_upkeep_hooks = &hooks;
	es_task_kind_register(&purge_kind);
	es_task_kind_register(&pool_kind);
	es_task_kind_register(&rollout_kind);
}

/* Register the task that keeps a pool; its name tells whose it is and of what. */
static int64
add_pool(const char *template, bool with_data)
{
	char	   *name = psprintf("%s%s%s%s", quote_identifier(GetUserNameFromId(GetUserId(), false)),
								template != NULL ? "." : "", template != NULL ? quote_identifier(template) : "",
								with_data ? " with data" : "");

	/* a role may have been called like that before */
	while (es_task_find(&pool_kind, name, NULL) != 0)
		name = psprintf("%s '", name);
	return es_task_add(&pool_kind, name, NULL, GetUserId());
}

PG_FUNCTION_INFO_V1(event_store_keep_tenant_pool);

/* keep_tenant_pool(size, template, with_data) */
Datum
event_store_keep_tenant_pool(PG_FUNCTION_ARGS)
{
	int			size;
	const char *template = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		task;
	Datum		values[4];

	es_require_argument(fcinfo, 0, "size");
	es_require_argument(fcinfo, 2, "with_data");
	size = PG_GETARG_INT32(0);
	es_tenant_pool_check(size, &template);
	if (!es_may_create_in_database(GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "permission denied to create schemas in this database"),
				 errhint("Its owner must grant CREATE on the database.")));
	task = find_pool(template, PG_GETARG_BOOL(2));
	if (task == 0 && size == 0)
		PG_RETURN_VOID();
	if (task != 0)
		es_task_resume(task);
	else
		task = add_pool(template, PG_GETARG_BOOL(2));
	values[0] = Int64GetDatum(task);
	values[1] = Int32GetDatum(size);
	values[2] = template != NULL ? CStringGetTextDatum(template) : (Datum) 0;
	values[3] = PG_GETARG_DATUM(2);
	SPI_connect();
	(void) es_record(ES_RECORD_POOL_TARGET_SET, values, template != NULL ? "    " : "  n ");
	SPI_finish();
	PG_RETURN_VOID();
}
