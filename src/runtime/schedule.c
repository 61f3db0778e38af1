/*
 * schedule.c
 *		Statements and functions that run again and again.
 *
 * Owns the table schedule, which has a row for each task of the kinds schedule
 * and poll; a poll is a query whose rows are telemetry events.  A run and the
 * time of the next one commit together, so that no run is lost or made twice
 * by a crash.  A run that fails is tried again after a back-off, and is then
 * the one that was due.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/registry.h"
#include "observe/execute.h"
#include "runtime/cron.h"
#include "runtime/registration.h"
#include "runtime/schedule.h"
#include "runtime/task.h"

#define LATE			60000	/* ms after its time that a run counts as missed */

/* Columns of schedule. */
enum ScheduleColumn
{
	SCHEDULE_TASK,
	SCHEDULE_TIMING,
	SCHEDULE_TIME_ZONE,
	SCHEDULE_COMMAND,
	SCHEDULE_FUNCTION,
	SCHEDULE_ARGS,
	SCHEDULE_SKIPS_MISSED,
	SCHEDULE_NEXT_RUN,
	SCHEDULE_LAST_RUN,
	SCHEDULE_RUNS,
	SCHEDULE_MISSED,
	SCHEDULE_NCOLUMNS
};

static EsTaskNext step_schedule(EsTask *task);
static EsTaskNext step_poll(EsTask *task);
static void delete_row(int64 task);

static const EsTaskKind schedule_kind = {.name = "schedule", .step = step_schedule, .forget = delete_row};
static const EsTaskKind poll_kind = {.name = "poll", .step = step_poll, .forget = delete_row};

static Relation
open_schedule(LOCKMODE lockmode)
{
	Oid			relid = es_extension_relation("schedule");

	if (!OidIsValid(relid))
		elog(ERROR, "table event_store.schedule is missing");
	return table_open(relid, lockmode);
}

/* The row of a task, palloc'd, NULL if there is none. */
static HeapTuple
find_row(Relation rel, int64 task)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, SCHEDULE_TASK + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(task));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static void
delete_row(int64 task)
{
	Relation	rel = open_schedule(RowExclusiveLock);
	HeapTuple	tuple = find_row(rel, task);

	if (tuple != NULL)
		CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
}

/* --- a run --- */

/* Call the function of a schedule. */
static void
call_function(EsTask *task, const char *signature, Datum args, bool args_null)
{
	Oid			fn;

	/* a function that is gone or forbidden stays so until somebody acts */
	task->fatal = true;
	fn = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(signature)));
	if (!es_may_execute(fn, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", signature)),
							"permission denied for function %s", signature),
				 errhint("Grant EXECUTE on it to the role that registered the schedule, then call event_store.resume_task().")));
	task->fatal = false;
	{
		FmgrInfo	flinfo;
		LOCAL_FCINFO(fcinfo, 1);

		fmgr_info(fn, &flinfo);
		InitFunctionCallInfoData(*fcinfo, &flinfo, flinfo.fn_nargs, InvalidOid, NULL, NULL);
		fcinfo->args[0] = (NullableDatum) {args, args_null};
		if (flinfo.fn_strict && flinfo.fn_nargs > 0 && args_null)
			return;
		(void) FunctionCallInvoke(fcinfo);
	}
}

/* Run the statements of a schedule; the rows of the last one are there until SPI_finish. */
static void
run_command(const char *command)
{
	int			status;

	SPI_connect();
	status = SPI_execute(command, false, 0);
	if (status < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "a schedule cannot run a statement of this kind: %s",
							SPI_result_code_string(status)),
				 errhint("Transactions cannot be begun or ended and data cannot be copied in it.")));
}

/* A column of a row that a poll has found, as an object; an empty one if it is null or not there. */
static Jsonb *
object_of(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull = true;
	Datum		value = 0;

	if (column <= desc->natts)
	{
		if (SPI_gettypeid(desc, column) != JSONBOID)
			ereport(ERROR,
					(es_problem(ERRCODE_DATATYPE_MISMATCH, NULL, "column %d of the poll is not of type jsonb", column),
					 errhint("A poll returns (event text, measurements jsonb, metadata jsonb).")));
		value = SPI_getbinval(row, desc, column, &isnull);
	}
	return DatumGetJsonbP(isnull ? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : value);
}

/* Execute the rows of a poll as telemetry. */
static void
execute_rows(void)
{
	SPITupleTable *table = SPI_tuptable;

	if (table == NULL)
		return;
	for (uint64 i = 0; i < table->numvals; i++)
	{
		char	   *event = SPI_getvalue(table->vals[i], table->tupdesc, 1);

		CHECK_FOR_INTERRUPTS();
		if (event != NULL)
			es_telemetry_execute(cstring_to_text(event), object_of(table->vals[i], table->tupdesc, 2),
								 object_of(table->vals[i], table->tupdesc, 3));
	}
}

/* The next time after now, with intervals counted from the time that was due. */
static TimestampTz
next_after(const EsTiming *timing, TimestampTz due, TimestampTz now, pg_tz *zone)
{
	if (timing->every > 0)
		due = TimestampTzPlusMilliseconds(due, TimestampDifferenceMilliseconds(due, now) / timing->every * timing->every);
	else
		due = Max(due, now);
	return es_timing_next(timing, due, zone);
}

/* A run counts as missed if it comes a minute late, or after the next one was due. */
static bool
is_missed(const EsTiming *timing, TimestampTz due, TimestampTz now, pg_tz *zone)
{
	return TimestampDifferenceExceeds(due, now, LATE) || es_timing_next(timing, due, zone) <= now;
}

static pg_tz *
zone_of(EsTask *task, const char *name)
{
	pg_tz	   *zone = pg_tzset(name);

	if (zone == NULL)
	{
		task->fatal = true;
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("time_zone", name)),
							"time zone \"%s\" is not known to this server", name)));
	}
	return zone;
}

/* The step of both kinds. */
static EsTaskNext
step(EsTask *task, bool poll)
{
	Relation	rel = open_schedule(AccessShareLock);
	HeapTuple	tuple = find_row(rel, task->number);
	Datum		values[SCHEDULE_NCOLUMNS];
	bool		nulls[SCHEDULE_NCOLUMNS];
	EsTiming	timing;
	pg_tz	   *zone;
	TimestampTz due;
	TimestampTz next;

	if (tuple != NULL)
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	/* while the run lasts nobody is kept from dropping the extension */
	table_close(rel, AccessShareLock);
	if (tuple == NULL)
		return es_task_ended();
	due = nulls[SCHEDULE_NEXT_RUN] ? DT_NOEND : DatumGetTimestampTz(values[SCHEDULE_NEXT_RUN]);
	if (due > task->now)
		return es_task_at(due);
	zone = zone_of(task, TextDatumGetCString(values[SCHEDULE_TIME_ZONE]));
	if (es_timing_parse(TextDatumGetCString(values[SCHEDULE_TIMING]), &timing) != NULL)
		elog(ERROR, "the timing of schedule \"%s\" is not understood", task->name);

	if (DatumGetBool(values[SCHEDULE_SKIPS_MISSED]) && is_missed(&timing, due, task->now, zone))
		values[SCHEDULE_MISSED] = Int64GetDatum(DatumGetInt64(values[SCHEDULE_MISSED]) + 1);
	else
	{
		if (!nulls[SCHEDULE_FUNCTION])
			call_function(task, TextDatumGetCString(values[SCHEDULE_FUNCTION]), values[SCHEDULE_ARGS], nulls[SCHEDULE_ARGS]);
		else
		{
			run_command(TextDatumGetCString(values[SCHEDULE_COMMAND]));
			if (poll)
				execute_rows();
			SPI_finish();
		}
		values[SCHEDULE_LAST_RUN] = TimestampTzGetDatum(task->now);
		nulls[SCHEDULE_LAST_RUN] = false;
		values[SCHEDULE_RUNS] = Int64GetDatum(DatumGetInt64(values[SCHEDULE_RUNS]) + 1);
	}

	/* the run itself may have taken this schedule back or changed it */
	CommandCounterIncrement();
	rel = open_schedule(RowExclusiveLock);
	tuple = find_row(rel, task->number);
	if (tuple == NULL)
	{
		table_close(rel, NoLock);
		return es_task_ended();
	}
	next = next_after(&timing, due, task->now, zone);
	values[SCHEDULE_NEXT_RUN] = TimestampTzGetDatum(next);
	nulls[SCHEDULE_NEXT_RUN] = next == DT_NOEND;
	CatalogTupleUpdate(rel, &tuple->t_self, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	return es_task_at(next);
}

static EsTaskNext
step_schedule(EsTask *task)
{
	return step(task, false);
}

static EsTaskNext
step_poll(EsTask *task)
{
	return step(task, true);
}

void
EsScheduleInit(void)
{
	es_task_kind_register(&schedule_kind);
	es_task_kind_register(&poll_kind);
}

/* --- scheduling --- */

static void
bad_schedule(const char *name, const char *argument, const char *problem, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("schedule", name), ES_TEXT("argument", argument)),
						"\"%s\": %s", name, problem),
			 errhint("%s", hint)));
}

/* Check a function; returns its qualified signature. */
static char *
check_function(const char *schedule, const char *name, bool with_args)
{
	Oid			fn = DatumGetObjectId(DirectFunctionCall1(regprocedurein,
														  CStringGetDatum(strchr(name, '(') != NULL ? name :
																		  psprintf("%s(%s)", name, with_args ? "jsonb" : ""))));
	Oid		   *types;
	int			count;

	(void) get_func_signature(fn, &types, &count);
	if (count > 1 || (count == 1 && types[0] != JSONBOID) || get_func_retset(fn) || get_func_prokind(fn) != PROKIND_FUNCTION)
		bad_schedule(schedule, "function", psprintf("%s cannot be scheduled", format_procedure(fn)),
					 "A function that is scheduled takes no arguments or one of type jsonb, and returns one value or void.");
	if (with_args && count == 0)
		bad_schedule(schedule, "args", psprintf("%s takes no arguments", format_procedure(fn)),
					 "Leave args out, or let the function take one argument of type jsonb.");
	if (!es_may_execute(fn, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(fn))),
							"permission denied for function %s", format_procedure(fn)),
				 errhint("Its owner must grant EXECUTE on it.")));
	return format_procedure_qualified(fn);
}

/* The store in use, NULL if there is none. */
static EsStore *
store_in_use(void)
{
	return es_store_current(true);
}

/*
 * The number of a task of a name: of the store in use, else of none, else of a
 * store that is gone; 0 if there is none.  An error if it is not the caller's.
 */
static int64
find_own(const EsTaskKind *kind, const char *name)
{
	EsStore    *store = store_in_use();
	int64		number = es_task_find(kind, name, store);
	EsRegistration registration;

	if (number == 0 && store != NULL)
		number = es_task_find(kind, name, NULL);
	if (number == 0)
		number = es_task_find_orphan(kind, name);
	if (number != 0 && es_registration_read(number, &registration) &&
		!has_privs_of_role(GetUserId(), registration.owner))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("task", name)),
							"%s \"%s\" was registered by another role", kind->name, name),
				 errhint("Ask that role, or become a member of it.")));
	return number;
}

static bool
forget(const EsTaskKind *kind, const char *name)
{
	int64		number = find_own(kind, name);

	return number != 0 && es_task_remove(number);
}

/* The first time of a timing, which is checked; sets *zone to the name of the time zone. */
static TimestampTz
first_run(const char *name, const char *text, const char **zone)
{
	EsTiming	timing;
	pg_tz	   *tz = *zone != NULL ? pg_tzset(*zone) : session_timezone;
	const char *problem = es_timing_parse(text, &timing);
	TimestampTz first;

	if (problem != NULL)
		bad_schedule(name, "timing", problem,
					 "Use an interval, or cron: minute, hour, day of the month, month and day of the week, as '30 3 * * mon-fri'.");
	if (tz == NULL || !pg_tz_acceptable(tz))
		bad_schedule(name, "time_zone", psprintf("time zone \"%s\" is unknown", *zone),
					 "The view pg_timezone_names lists them.");
	*zone = pg_get_timezone_name(tz);
	first = es_timing_next(&timing, GetCurrentTransactionStartTimestamp(), tz);
	if (first == DT_NOEND)
		bad_schedule(name, "timing", "it is never due", "There is no such day of any year.");
	return first;
}

/* Write a schedule, of which name and command or function have been checked. */
static TimestampTz
write_schedule(const EsTaskKind *kind, const char *name, const char *timing, const char *zone,
			   Datum *values, bool *nulls)
{
	TimestampTz first = first_run(name, timing, &zone);
	Relation	rel = open_schedule(RowExclusiveLock);

	values[SCHEDULE_TASK] = Int64GetDatum(es_task_add(kind, name, store_in_use(), GetUserId()));
	values[SCHEDULE_TIMING] = CStringGetTextDatum(timing);
	values[SCHEDULE_TIME_ZONE] = CStringGetTextDatum(zone);
	values[SCHEDULE_NEXT_RUN] = TimestampTzGetDatum(first);
	nulls[SCHEDULE_LAST_RUN] = true;
	values[SCHEDULE_RUNS] = Int64GetDatum(0);
	values[SCHEDULE_MISSED] = Int64GetDatum(0);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return first;
}

/* Make room for a new registration of a name. */
static void
replace_old(const EsTaskKind *kind, const char *name, bool replace)
{
	EsStore    *store = store_in_use();

	if (es_task_find(kind, name, store) == 0)
		return;
	if (!replace)
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT(kind->name, name)),
							"%s \"%s\" already exists", kind->name, name),
				 errhint("Pass replace => true to change it.")));
	(void) forget(kind, name);
}

PG_FUNCTION_INFO_V1(event_store_schedule);
PG_FUNCTION_INFO_V1(event_store_unschedule);
PG_FUNCTION_INFO_V1(event_store_next_run);
PG_FUNCTION_INFO_V1(event_store_telemetry_poll);
PG_FUNCTION_INFO_V1(event_store_telemetry_unpoll);
PG_FUNCTION_INFO_V1(event_store_resume_task);

/* schedule(name, timing, command, function, args, time_zone, missed, replace) */
Datum
event_store_schedule(PG_FUNCTION_ARGS)
{
	Datum		values[SCHEDULE_NCOLUMNS] = {0};
	bool		nulls[SCHEDULE_NCOLUMNS] = {0};
	char	   *name;
	char	   *missed;
	char	   *zone;

	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 1, "timing");
	es_require_argument(fcinfo, 6, "missed");
	es_require_argument(fcinfo, 7, "replace");
	es_require_writable();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	es_registry_check_name("schedule", name);
	if (PG_ARGISNULL(2) == PG_ARGISNULL(3))
		bad_schedule(name, "command", PG_ARGISNULL(2) ? "there is neither a command nor a function" : "there are a command and a function",
					 "Pass one of the two.");
	missed = text_to_cstring(PG_GETARG_TEXT_PP(6));
	if (strcmp(missed, "skip") != 0 && strcmp(missed, "run_once") != 0)
		bad_schedule(name, "missed", psprintf("missed \"%s\" is unknown", missed), "Use run_once or skip.");
	es_registry_check_rights("schedule", name);

	nulls[SCHEDULE_COMMAND] = PG_ARGISNULL(2);
	nulls[SCHEDULE_FUNCTION] = PG_ARGISNULL(3);
	nulls[SCHEDULE_ARGS] = PG_ARGISNULL(4);
	values[SCHEDULE_ARGS] = PG_GETARG_DATUM(4);
	values[SCHEDULE_SKIPS_MISSED] = BoolGetDatum(strcmp(missed, "skip") == 0);
	if (PG_ARGISNULL(2))
		values[SCHEDULE_FUNCTION] =
			CStringGetTextDatum(check_function(name, text_to_cstring(PG_GETARG_TEXT_PP(3)), !PG_ARGISNULL(4)));
	else
	{
		if (!PG_ARGISNULL(4))
			bad_schedule(name, "args", "a command takes no arguments", "Write them into the command, or schedule a function.");
		(void) pg_parse_query(text_to_cstring(PG_GETARG_TEXT_PP(2)));
		values[SCHEDULE_COMMAND] = PG_GETARG_DATUM(2);
	}
	replace_old(&schedule_kind, name, PG_GETARG_BOOL(7));
	zone = PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5));
	PG_RETURN_TIMESTAMPTZ(write_schedule(&schedule_kind, name, text_to_cstring(PG_GETARG_TEXT_PP(1)), zone, values, nulls));
}

Datum
event_store_unschedule(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	es_require_writable();
	if (!forget(&schedule_kind, name))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("schedule", name)),
							"schedule \"%s\" does not exist", name),
				 errhint("The view event_store.schedules lists them.")));
	PG_RETURN_VOID();
}

/* next_run(timing, after, time_zone): when something with a timing is due next */
Datum
event_store_next_run(PG_FUNCTION_ARGS)
{
	const char *zone = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	char	   *times;
	EsTiming	timing;
	TimestampTz next;

	es_require_argument(fcinfo, 0, "timing");
	times = text_to_cstring(PG_GETARG_TEXT_PP(0));
	(void) first_run(times, times, &zone);
	(void) es_timing_parse(times, &timing);
	next = es_timing_next(&timing, PG_ARGISNULL(1) ? GetCurrentTransactionStartTimestamp() : PG_GETARG_TIMESTAMPTZ(1),
						  pg_tzset(zone));
	if (next == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/* telemetry_poll(name, query, every) */
Datum
event_store_telemetry_poll(PG_FUNCTION_ARGS)
{
	Datum		values[SCHEDULE_NCOLUMNS] = {0};
	bool		nulls[SCHEDULE_NCOLUMNS] = {0};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64		every = es_interval_ms(PG_GETARG_INTERVAL_P(2));

	es_require_writable();
	es_registry_check_name("poll", name);
	(void) pg_parse_query(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	values[SCHEDULE_COMMAND] = PG_GETARG_DATUM(1);
	values[SCHEDULE_SKIPS_MISSED] = BoolGetDatum(false);
	nulls[SCHEDULE_FUNCTION] = nulls[SCHEDULE_ARGS] = true;
	replace_old(&poll_kind, name, PG_GETARG_BOOL(3));
	(void) write_schedule(&poll_kind, name, psprintf(every % 1000 == 0 ? "%lld s" : "%lld ms",
													  (long long) (every % 1000 == 0 ? every / 1000 : every)),
						  NULL, values, nulls);
	PG_RETURN_VOID();
}

Datum
event_store_telemetry_unpoll(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	es_require_writable();
	if (!forget(&poll_kind, name))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("poll", name)),
							"poll \"%s\" does not exist", name),
				 errhint("The view event_store.schedules lists them.")));
	PG_RETURN_VOID();
}

/* resume_task(kind, name) */
Datum
event_store_resume_task(PG_FUNCTION_ARGS)
{
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		number;

	es_require_writable();
	number = es_task_kind(kind) != NULL ? find_own(es_task_kind(kind), name) : 0;
	if (number == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("kind", kind), ES_TEXT("name", name)),
							"there is no task \"%s\" of kind \"%s\"", name, kind),
				 errhint("The view event_store.tasks lists them.")));
	es_task_resume(number);
	PG_RETURN_VOID();
}
