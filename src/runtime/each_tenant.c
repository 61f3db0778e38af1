/*
 * each_tenant.c
 *		A query for every tenant, by the session itself or by workers of its own.
 *
 * Workers take the tenants one after the other, each in a transaction, and send
 * what the query has answered after its commit, through a queue of shared
 * memory each.  They are not those of the pool: they live as long as the call.
 * When the session leaves the shared memory, however the call has ended, the
 * workers are told to end, and what is not committed is undone.
 *
 * Workers are other sessions to the server: they see nothing that is not
 * committed, and the server does not notice if one waits for a lock of the
 * session that waits for it.  So the call is refused where there could be
 * something to see, and the session looks for such a lock itself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "observe/try.h"
#include "runtime/identity.h"
#include "runtime/transact.h"
#include "store/tenant.h"

#define MAX_PARALLEL	1024
#define QUEUE_SIZE		65536	/* bytes on their way from a worker */
#define LOCK_INTERVAL	1000	/* ms without an answer until locks are looked at */

/* The segment: this, the queues, the names, the query. */
typedef struct Shared
{
	Oid			dbid;
	Oid			role;
	int			nworkers;
	uint32		ntenants;
	pg_atomic_uint32 next;		/* the tenant that is taken next */
	pg_atomic_uint32 left;		/* has the session left? */
	Size		queues;			/* where they begin */
	Size		names;			/* of NAMEDATALEN bytes each */
	Size		query;
} Shared;

typedef enum AnswerKind
{
	ANSWER_RESULT,
	ANSWER_PROBLEM,
	ANSWER_NONE					/* the tenant is gone */
} AnswerKind;

/* What a worker sends, a jsonb behind it unless there is none. */
typedef struct Answer
{
	uint32		tenant;
	AnswerKind	kind;
} Answer;

/* The workers of a call; in TopMemoryContext, for the memory of a query goes before its shared memory. */
typedef struct Workers
{
	int			count;
	BackgroundWorkerHandle *handles[FLEXIBLE_ARRAY_MEMBER];
} Workers;

PGDLLEXPORT void es_each_worker_main(Datum argument);

static shm_mq *
queue_of(Shared *shared, int worker)
{
	return (shm_mq *) ((char *) shared + shared->queues + (Size) worker * QUEUE_SIZE);
}

static const char *
name_of(Shared *shared, uint32 tenant)
{
	return (char *) shared + shared->names + (Size) tenant * NAMEDATALEN;
}

/* --- a worker --- */

/* An error for which a problem is to be made. */
typedef struct Failure
{
	const ErrorData *error;
	MemoryContext context;		/* for the problem */
	Datum		problem;
} Failure;

static void
make_problem(void *argument)
{
	Failure    *failure = argument;

	MemoryContextSwitchTo(failure->context);
	failure->problem = es_try_answer(failure->error, NULL);
}

/* Run the query for a tenant in a transaction, in CurrentMemoryContext; an error is an answer. */
static AnswerKind
answer_for(Shared *shared, uint32 tenant, Datum *document)
{
	MemoryContext context = CurrentMemoryContext;
	const char *query = (char *) shared + shared->query;
	volatile AnswerKind kind = ANSWER_NONE;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		EsIdentity	self;
		bool		failed;

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(context);
		es_identity_take(&self, shared->role, InvalidOid);
		if (es_tenant_try(name_of(shared, tenant), query, document, &failed))
			kind = failed ? ANSWER_PROBLEM : ANSWER_RESULT;
		/* it may have waited for a lock that the session gave up by leaving, and been told to end too late */
		if (pg_atomic_read_u32(&shared->left) != 0)
			proc_exit(0);
		es_identity_give_back(&self);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(context);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	es_identity_forget_session();

	if (error != NULL)
	{
		Failure		failure = {.error = error, .context = context};

		if (es_transact(make_problem, &failure) != ES_TRANSACT_DONE)
			proc_exit(1);
		*document = failure.problem;
		return ANSWER_PROBLEM;
	}
	return kind;
}

static bool
send_answer(shm_mq_handle *queue, uint32 tenant, AnswerKind kind, Datum document)
{
	Answer		answer = {.tenant = tenant, .kind = kind};
	shm_mq_iovec parts[] = {{(const char *) &answer, sizeof(answer)}, {NULL, 0}};

	if (kind != ANSWER_NONE)
	{
		struct varlena *value = PG_DETOAST_DATUM(document);

		parts[1] = (shm_mq_iovec) {(const char *) value, VARSIZE(value)};
	}
	return shm_mq_sendv(queue, parts, lengthof(parts), false, true) == SHM_MQ_SUCCESS;
}

void
es_each_worker_main(Datum argument)
{
	dsm_segment *segment;
	Shared	   *shared;
	shm_mq_handle *queue;
	MemoryContext context;
	uint32		tenant;
	int			number;
	bool		wanted = true;

	memcpy(&number, MyBgworkerEntry->bgw_extra, sizeof(number));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	/* the session may be gone already */
	segment = dsm_attach(DatumGetUInt32(argument));
	if (segment == NULL)
		proc_exit(0);
	shared = dsm_segment_address(segment);
	shm_mq_set_sender(queue_of(shared, number), MyProc);
	queue = shm_mq_attach(queue_of(shared, number), segment, NULL);
	BackgroundWorkerInitializeConnectionByOid(shared->dbid, InvalidOid, 0);
	es_identity_begin_session();
	context = AllocSetContextCreate(TopMemoryContext, "event_store each_tenant", ALLOCSET_DEFAULT_SIZES);

	while (wanted && (tenant = pg_atomic_fetch_add_u32(&shared->next, 1)) < shared->ntenants)
	{
		Datum		document = (Datum) 0;
		AnswerKind	kind;

		/* a cancel that came too late must not hit what comes next */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		pgstat_report_activity(STATE_RUNNING, (char *) shared + shared->query);
		kind = answer_for(shared, tenant, &document);
		wanted = send_answer(queue, tenant, kind, document);
		pgstat_report_stat(false);
	}
	pgstat_report_stat(true);
	proc_exit(0);
}

/* --- the session --- */

/* The session leaves the segment: end what still runs. */
static void
end_workers(dsm_segment *segment, Datum argument)
{
	Workers    *workers = (Workers *) DatumGetPointer(argument);
	Shared	   *shared = dsm_segment_address(segment);

	pg_atomic_write_u32(&shared->left, 1);
	for (int i = 0; i < workers->count; i++)
	{
		TerminateBackgroundWorker(workers->handles[i]);
		pfree(workers->handles[i]);
	}
	pfree(workers);
}

/* Make the segment for a call. */
static dsm_segment *
make_segment(const char *query, List *names, int nworkers)
{
	Size		queues = MAXALIGN(sizeof(Shared));
	Size		texts = add_size(queues, mul_size(nworkers, QUEUE_SIZE));
	Size		query_at = add_size(texts, mul_size(list_length(names), NAMEDATALEN));
	dsm_segment *segment = dsm_create(add_size(query_at, strlen(query) + 1), 0);
	Shared	   *shared = dsm_segment_address(segment);
	ListCell   *lc;

	shared->dbid = MyDatabaseId;
	shared->role = GetUserId();
	shared->nworkers = nworkers;
	shared->ntenants = list_length(names);
	pg_atomic_init_u32(&shared->next, 0);
	pg_atomic_init_u32(&shared->left, 0);
	shared->queues = queues;
	shared->names = texts;
	shared->query = query_at;
	for (int i = 0; i < nworkers; i++)
		shm_mq_set_receiver(shm_mq_create(queue_of(shared, i), QUEUE_SIZE), MyProc);
	foreach(lc, names)
		strlcpy((char *) name_of(shared, foreach_current_index(lc)), lfirst(lc), NAMEDATALEN);
	strcpy((char *) shared + query_at, query);
	return segment;
}

/* Start as many workers as can be had, up to those that there are queues for; an error if there is none. */
static Workers *
start_workers(dsm_segment *segment)
{
	Shared	   *shared = dsm_segment_address(segment);
	Workers    *workers = MemoryContextAllocZero(TopMemoryContext, offsetof(Workers, handles) +
												 shared->nworkers * sizeof(BackgroundWorkerHandle *));
	BackgroundWorker worker = {0};
	MemoryContext caller;

	on_dsm_detach(segment, end_workers, PointerGetDatum(workers));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_each_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "event_store each_tenant of %d", MyProcPid);
	snprintf(worker.bgw_type, BGW_MAXLEN, "event_store each_tenant");
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;

	caller = MemoryContextSwitchTo(TopMemoryContext);
	while (workers->count < shared->nworkers)
	{
		memcpy(worker.bgw_extra, &workers->count, sizeof(workers->count));
		if (!RegisterDynamicBackgroundWorker(&worker, &workers->handles[workers->count]))
			break;
		workers->count++;
	}
	MemoryContextSwitchTo(caller);
	if (workers->count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("max_worker_processes", max_worker_processes)),
							"there is no background worker free"),
				 errhint("Try again, raise max_worker_processes and restart the server, or pass parallel => 1.")));
	return workers;
}

/* Does a process wait for a lock of this session, perhaps by way of others? */
static bool
waits_for_me(pid_t pid)
{
	List	   *pids = list_make1_int(pid);

	for (int i = 0; i < list_length(pids); i++)
	{
		ArrayType  *blockers = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(list_nth_int(pids, i))));
		int32	   *blocker = (int32 *) ARR_DATA_PTR(blockers);
		int			count = ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers));

		for (int j = 0; j < count; j++)
		{
			if (blocker[j] == MyProcPid)
				return true;
			pids = list_append_unique_int(pids, blocker[j]);
		}
	}
	return false;
}

static void
look_at_locks(const Workers *workers)
{
	for (int i = 0; i < workers->count; i++)
	{
		pid_t		pid;

		if (GetBackgroundWorkerPid(workers->handles[i], &pid) == BGWH_STARTED && waits_for_me(pid))
			ereport(ERROR,
					(es_problem(ERRCODE_T_R_DEADLOCK_DETECTED, NULL,
								"a worker of each_tenant waits for a lock that its caller holds"),
					 errhint("Let the call be a statement of its own that uses nothing else.")));
	}
}

static void
put_row(ReturnSetInfo *rsinfo, const char *tenant, bool failed, Datum document)
{
	Datum		values[3] = {CStringGetTextDatum(tenant), document, document};
	bool		nulls[3] = {false, failed, !failed};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Put what a worker has sent into the result; queues align what they carry. */
static void
put_answer(ReturnSetInfo *rsinfo, Shared *shared, const char *message, bool *answered)
{
	Answer		answer;

	memcpy(&answer, message, sizeof(answer));
	answered[answer.tenant] = true;
	if (answer.kind != ANSWER_NONE)
		put_row(rsinfo, name_of(shared, answer.tenant), answer.kind == ANSWER_PROBLEM,
				PointerGetDatum(message + sizeof(answer)));
}

/* The problem of a tenant for which no worker has answered. */
static Datum
problem_of_unanswered(bool taken)
{
	EsAttempt	attempt;
	ErrorData  *volatile error = NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		ereport(ERROR,
				(es_problem(ERRCODE_ADMIN_SHUTDOWN, NULL, taken ? "the worker has ended before it had answered" :
							"the workers have ended before it was the turn of the tenant"),
				 taken ? errhint("What it did may have been committed: look before you run it again.") :
				 errhint("Run it again for this tenant.")));
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
	}
	PG_END_TRY();
	return es_try_answer(error, NULL);
}

static void
put_unanswered(ReturnSetInfo *rsinfo, Shared *shared, const bool *answered)
{
	uint32		taken = pg_atomic_read_u32(&shared->next);

	for (uint32 i = 0; i < shared->ntenants; i++)
		if (!answered[i])
			put_row(rsinfo, name_of(shared, i), true, problem_of_unanswered(i < taken));
}

/* Let workers run the query, and collect their answers as they come. */
static void
run_parallel(ReturnSetInfo *rsinfo, const char *query, List *names, int parallel)
{
	dsm_segment *segment = make_segment(query, names, Min(parallel, list_length(names)));
	Shared	   *shared = dsm_segment_address(segment);
	Workers    *workers = start_workers(segment);
	shm_mq_handle **queues = palloc(workers->count * sizeof(shm_mq_handle *));
	bool	   *answered = palloc0(shared->ntenants * sizeof(bool));
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "event_store answer", ALLOCSET_DEFAULT_SIZES);
	int			open = workers->count;

	for (int i = 0; i < workers->count; i++)
		queues[i] = shm_mq_attach(queue_of(shared, i), segment, workers->handles[i]);
	while (open > 0)
	{
		bool		idle = true;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < workers->count; i++)
		{
			Size		size;
			void	   *message;
			MemoryContext caller;
			shm_mq_result result;

			if (queues[i] == NULL)
				continue;
			result = shm_mq_receive(queues[i], &size, &message, true);
			if (result == SHM_MQ_WOULD_BLOCK)
				continue;
			idle = false;
			if (result == SHM_MQ_DETACHED)
			{
				queues[i] = NULL;
				open--;
				continue;
			}
			caller = MemoryContextSwitchTo(row);
			put_answer(rsinfo, shared, message, answered);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(row);
		}
		if (idle)
		{
			int			events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_INTERVAL,
										   PG_WAIT_EXTENSION);

			ResetLatch(MyLatch);
			if (events & WL_TIMEOUT)
				look_at_locks(workers);
		}
	}
	put_unanswered(rsinfo, shared, answered);
	dsm_detach(segment);
}

/* Run the query here, in the caller's transaction, for one tenant after the other. */
static void
run_serial(ReturnSetInfo *rsinfo, const char *query, List *names)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "event_store each_tenant", ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	foreach(lc, names)
	{
		MemoryContext caller = MemoryContextSwitchTo(row);
		Datum		document;
		bool		failed;

		CHECK_FOR_INTERRUPTS();
		/* if there is none, it was dropped meanwhile */
		if (es_tenant_try(lfirst(lc), query, &document, &failed))
			put_row(rsinfo, lfirst(lc), failed, document);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
	}
	MemoryContextDelete(row);
}

/* Refuse workers where they could miss something, or be a way out. */
static void
check_parallel(void)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL,
							"workers of each_tenant cannot be started in a security-restricted operation"),
				 errhint("Pass parallel => 1.")));
	if (IsTransactionBlock() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"workers of each_tenant would not see what this transaction does"),
				 errhint("Call it outside of a transaction block, or pass parallel => 1.")));
}

PG_FUNCTION_INFO_V1(event_store_each_tenant);

/* each_tenant(query, parallel) */
Datum
event_store_each_tenant(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *query;
	int			parallel;
	List	   *names;

	es_require_argument(fcinfo, 0, "query");
	es_require_argument(fcinfo, 1, "parallel");
	query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	parallel = PG_GETARG_INT32(1);
	if (parallel < 1 || parallel > MAX_PARALLEL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "parallel")),
							"parallel is not between 1 and %d", MAX_PARALLEL),
				 errhint("Say how many tenants are to be worked on at once.")));
	if (!es_owns_database(MyDatabaseId, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "permission denied to run a query for every tenant"),
				 errhint("This is for the owner of the database.")));
	if (parallel > 1)
		check_parallel();
	InitMaterializedSRF(fcinfo, 0);
	names = es_tenant_names();
	if (parallel == 1)
		run_serial(rsinfo, query, names);
	else if (names != NIL)
		run_parallel(rsinfo, query, names, parallel);
	return (Datum) 0;
}
