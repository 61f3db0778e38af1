/*
 * rollout.c
 *		Rollouts: all tenants brought to a version, in stages.
 *
 * A rollout is a plan in tables: which tenant comes in which stage is decided
 * when it starts.  run_rollout takes one tenant after the other, each in a
 * transaction of its own that holds the migration, its record and the result;
 * so after a crash it goes on where it was, and a tenant is never migrated
 * twice.  Whoever works on a tenant has locked its row: several sessions can
 * run the same rollout, and share the tenants.
 *
 * A tenant whose locks cannot be had comes again when the others of its stage
 * are done.  A stage ends when none of its tenants is left; the next begins
 * after the pause of the one before, and not while the rollout is paused.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/arguments.h"
#include "base/commit.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "store/migration.h"
#include "store/tenant_records.h"
#include "store/upkeep.h"

#define OTHERS_INTERVAL	1000	/* ms until a rollout that others work on is looked at again */

static Datum
column(int number)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);
}

static void
no_rollout(int64 rollout)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_INT("rollout", rollout)),
						"there is no rollout %lld", (long long) rollout),
			 errhint("The view event_store.rollouts lists them.")));
}

/* Change the state of a rollout if it is one of some others; tells whether it was. */
static bool
change_state(int64 rollout, const char *const *from, int nfrom, const char *to)
{
	Datum		states[4];
	Datum		values[3];

	for (int i = 0; i < nfrom; i++)
		states[i] = CStringGetTextDatum(from[i]);
	values[0] = Int64GetDatum(rollout);
	values[1] = PointerGetDatum(construct_array(states, nfrom, TEXTOID, -1, false, TYPALIGN_INT));
	values[2] = CStringGetTextDatum(to);
	return es_record(ES_RECORD_ROLLOUT_STATE, values, NULL) > 0;
}

/* Bring the tenant to the version, and write down what has become of it. */
static void
migrate(int64 rollout, const char *tenant, int attempts, int64 target, int max_attempts, int lock_timeout)
{
	static const char *const running[] = {"running"};
	Datum		values[6];
	char		nulls[] = "      ";
	Datum		versions = (Datum) 0;
	Datum		problem = (Datum) 0;
	int			sqlstate = 0;
	bool		succeeded;
	instr_time	start;
	instr_time	duration;
	int			level = NewGUCNestLevel();
	const EsProblemType *type;

	INSTR_TIME_SET_CURRENT(start);
	(void) set_config_option("lock_timeout", psprintf("%d", lock_timeout), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	succeeded = es_migrate_try(tenant, &target, &versions, &problem, &sqlstate);
	AtEOXact_GUC(true, level);
	INSTR_TIME_SET_CURRENT(duration);
	INSTR_TIME_SUBTRACT(duration, start);

	type = succeeded ? NULL : es_problem_type(sqlstate);
	values[0] = Int64GetDatum(rollout);
	values[1] = CStringGetTextDatum(tenant);
	values[2] = CStringGetTextDatum(succeeded ? "done" :
									type != NULL && type->retryable && attempts + 1 < max_attempts ? "pending" : "failed");
	values[3] = versions;
	values[4] = Float8GetDatum(INSTR_TIME_GET_MILLISEC(duration));
	values[5] = problem;
	nulls[3] = succeeded ? ' ' : 'n';
	nulls[5] = succeeded ? 'n' : ' ';
	(void) es_record(ES_RECORD_ROLLOUT_RESULT, values, nulls);

	if (!succeeded && es_record(ES_RECORD_ROLLOUT_COUNT, values, NULL) > 0 && DatumGetBool(column(6)))
		(void) change_state(rollout, running, lengthof(running), "stopped");
}

/* Do the work of one transaction; tells whether there may be more. */
static bool
step(int64 rollout)
{
	Datum		values[2] = {Int64GetDatum(rollout), (Datum) 0};
	bool		more = false;
	int64		target;
	int			max_attempts;
	int			lock_timeout;

	SPI_connect();
	if (es_record(ES_RECORD_ROLLOUT_GET, values, NULL) == 0)
		no_rollout(rollout);
	if (strcmp(TextDatumGetCString(column(1)), "running") == 0 && DatumGetBool(column(6)))
	{
		values[1] = column(2);
		target = DatumGetInt64(column(3));
		max_attempts = DatumGetInt32(column(4));
		lock_timeout = DatumGetInt32(column(5));
		if (es_record(ES_RECORD_ROLLOUT_NEXT, values, NULL) > 0)
		{
			migrate(rollout, TextDatumGetCString(column(1)), DatumGetInt32(column(2)), target, max_attempts, lock_timeout);
			more = true;
		}
		else if (es_record(ES_RECORD_ROLLOUT_COUNT, values, NULL) > 0 && DatumGetInt64(column(5)) == 0)
		{
			/* also if another session has just done so */
			(void) es_record(ES_RECORD_ROLLOUT_ADVANCE, values, NULL);
			more = true;
		}
	}
	SPI_finish();
	return more;
}

/* Do the work of one transaction, as an administrator. */
EsUpkeepNext
es_rollout_step(int64 rollout, TimestampTz *at)
{
	Datum		parameter = Int64GetDatum(rollout);
	EsUpkeepNext next = ES_UPKEEP_LATER;
	char	   *state;

	es_migration_require_administrator();
	if (step(rollout))
		return ES_UPKEEP_MORE;
	SPI_connect();
	(void) es_record(ES_RECORD_ROLLOUT_GET, &parameter, NULL);
	state = TextDatumGetCString(column(1));
	*at = DT_NOEND;
	if (strcmp(state, "finished") == 0)
		next = ES_UPKEEP_DONE;
	else if (strcmp(state, "running") == 0)
		*at = DatumGetBool(column(6)) ? TimestampTzPlusMilliseconds(GetCurrentTimestamp(), OTHERS_INTERVAL) :
			DatumGetTimestampTz(column(7));
	SPI_finish();
	return next;
}

static int
positive(FunctionCallInfo fcinfo, int argument, const char *name, int least)
{
	es_require_argument(fcinfo, argument, name);
	if (PG_GETARG_INT32(argument) < least)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name)),
							"%s is less than %d", name, least),
				 errhint("Pass a larger number.")));
	return PG_GETARG_INT32(argument);
}

/* Refuse stages that are none. */
static void
check_stages(Datum stages)
{
	Jsonb	   *document = DatumGetJsonbP(stages);

	if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document) || JB_ROOT_COUNT(document) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "stages")),
							"stages are no array, or an empty one"),
				 errhint("Pass [{\"tenants\": [\"canary\"]}, {\"percent\": 10, \"pause\": \"1 h\"}, {\"percent\": 100}], say.")));
	if (es_record(ES_RECORD_ROLLOUT_CHECK, &stages, NULL) > 0)
	{
		char	   *tenant = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
		int64		number = DatumGetInt64(column(1));

		if (tenant != NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_ES_TENANT_NOT_FOUND, ES_MEMBERS(ES_TEXT("tenant", tenant), ES_INT("stage", number)),
								"tenant \"%s\" of stage %lld does not exist", tenant, (long long) number),
					 errhint("Check the name.")));
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("stage", number)),
							"stage %lld has neither tenants nor a percentage between 0 and 100, or a negative pause",
							(long long) number),
				 errhint("A stage is {\"tenants\": [name, ...]} or {\"percent\": number}, with \"pause\" or \"hold\" if need be.")));
	}
}

PG_FUNCTION_INFO_V1(event_store_start_rollout);
PG_FUNCTION_INFO_V1(event_store_run_rollout);
PG_FUNCTION_INFO_V1(event_store_pause_rollout);
PG_FUNCTION_INFO_V1(event_store_resume_rollout);

/* start_rollout(target, stages, max_failures, max_attempts, lock_timeout) */
Datum
event_store_start_rollout(PG_FUNCTION_ARGS)
{
	Datum		values[5];
	char		nulls[] = "     ";
	int64		lock_timeout;
	int64		rollout;

	es_migration_require_administrator();
	es_require_writable();
	es_require_argument(fcinfo, 1, "stages");
	es_require_argument(fcinfo, 4, "lock_timeout");
	lock_timeout = es_interval_ms(PG_GETARG_INTERVAL_P(4));
	if (lock_timeout < 0 || lock_timeout > PG_INT32_MAX)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "lock_timeout")),
							"lock_timeout is negative or longer than 24 days"),
				 errhint("Pass how long a tenant may be waited for, or 0 for ever.")));
	values[0] = PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0);
	nulls[0] = PG_ARGISNULL(0) ? 'n' : ' ';
	values[1] = PG_GETARG_DATUM(1);
	values[2] = Int32GetDatum(positive(fcinfo, 2, "max_failures", 0));
	values[3] = Int32GetDatum(positive(fcinfo, 3, "max_attempts", 1));
	values[4] = Int32GetDatum((int32) lock_timeout);

	SPI_connect();
	check_stages(values[1]);
	/* one at a time, for the numbers */
	LockRelationOid(es_extension_relation("rollout_registry"), ShareRowExclusiveLock);
	(void) es_record(ES_RECORD_ROLLOUT_START, values, nulls);
	rollout = DatumGetInt64(column(1));
	values[0] = Int64GetDatum(rollout);
	(void) es_record(ES_RECORD_ROLLOUT_PLAN, values, NULL);
	SPI_finish();
	es_upkeep_hooks->rollout_goes_on(rollout);
	PG_RETURN_INT64(rollout);
}

/* run_rollout(rollout, OUT state, OUT done, OUT failed, OUT pending) */
Datum
event_store_run_rollout(PG_FUNCTION_ARGS)
{
	bool		atomic = es_call_is_atomic(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	int64		rollout;
	bool		more;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {0};
	Datum		parameter;

	es_require_argument(fcinfo, 0, "rollout");
	es_migration_require_administrator();
	es_require_writable();
	rollout = PG_GETARG_INT64(0);
	parameter = Int64GetDatum(rollout);
	context = AllocSetContextCreate(PortalContext, "event_store rollout", ALLOCSET_DEFAULT_SIZES);
	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		more = step(rollout);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(context);
		if (!atomic)
			es_commit();
	} while (more);
	MemoryContextDelete(context);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "run_rollout must return a row");
	SPI_connect();
	(void) es_record(ES_RECORD_ROLLOUT_GET, &parameter, NULL);
	values[0] = strcmp(TextDatumGetCString(column(1)), "running") == 0 && !DatumGetBool(column(6)) ?
		CStringGetTextDatum("waiting") : column(1);
	values[0] = SPI_datumTransfer(values[0], false, -1);
	(void) es_record(ES_RECORD_ROLLOUT_COUNT, &parameter, NULL);
	for (int i = 1; i < lengthof(values); i++)
		values[i] = column(i + 1);
	SPI_finish();
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
event_store_pause_rollout(PG_FUNCTION_ARGS)
{
	static const char *const from[] = {"running", "paused"};
	bool		changed;

	es_require_argument(fcinfo, 0, "rollout");
	es_migration_require_administrator();
	es_require_writable();
	SPI_connect();
	changed = change_state(PG_GETARG_INT64(0), from, lengthof(from), "paused");
	if (!changed && es_record(ES_RECORD_ROLLOUT_GET, &fcinfo->args[0].value, NULL) == 0)
		no_rollout(PG_GETARG_INT64(0));
	if (!changed)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_INT("rollout", PG_GETARG_INT64(0)), ES_TEXT("state", TextDatumGetCString(column(1)))),
							"rollout %lld is %s", (long long) PG_GETARG_INT64(0), TextDatumGetCString(column(1))),
				 errhint("Only one that is running can be paused.")));
	SPI_finish();
	PG_RETURN_VOID();
}

/* resume_rollout(rollout, retry) */
Datum
event_store_resume_rollout(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "rollout");
	es_require_argument(fcinfo, 1, "retry");
	es_migration_require_administrator();
	es_require_writable();
	SPI_connect();
	if (PG_GETARG_BOOL(1))
		(void) es_record(ES_RECORD_ROLLOUT_RETRY, &fcinfo->args[0].value, NULL);
	if (es_record(ES_RECORD_ROLLOUT_RESUME, &fcinfo->args[0].value, NULL) == 0)
		no_rollout(PG_GETARG_INT64(0));
	SPI_finish();
	es_upkeep_hooks->rollout_goes_on(PG_GETARG_INT64(0));
	PG_RETURN_VOID();
}
