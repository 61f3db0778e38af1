/*
 * process_manager.c
 *		Process managers: from events to commands, with a state for each instance.
 *
 * Owns the table event_processes.  A process manager is a handler whose events
 * are those of its instances:
 *
 *	interested(event)			says which instance an event is of, and whether
 *								it starts, continues or stops it
 *	handle(state, event)		returns the commands to dispatch
 *	apply(state, event)			returns the state of the instance from then on
 *	after_command(state, command)	may end the instance
 *	error_function(event, problem, command)
 *								says what to do about a command that failed
 *
 * The commands, the state and the place in the log are one transaction, so a
 * command is not dispatched again after a crash.  Each has an id made of the
 * event, the instance and its number, so not after a reset either.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha1.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/deadline.h"
#include "base/errors.h"
#include "deliver/handler_use.h"
#include "deliver/process_manager.h"
#include "store/statement.h"

#define MAX_ROUNDS		100		/* times that an error function may replace the commands of an event */

/* Columns of event_processes. */
enum ProcessColumn
{
	PROCESS_MANAGER,
	PROCESS_INSTANCE,
	PROCESS_POSITION,
	PROCESS_STARTED_AT,
	PROCESS_CHANGED_AT,
	PROCESS_STATE,
	PROCESS_NCOLUMNS
};

/* An instance. */
typedef struct Instance
{
	char	   *id;
	bool		exists;
	ItemPointerData tid;
	TimestampTz started_at;
	TimestampTz changed_at;		/* of the last event that it has seen */
	Jsonb	   *state;			/* NULL: null */
} Instance;

/* An event being handled. */
typedef struct Process
{
	EsHandler  *handler;
	EsStore    *store;
	const EsHandled *event;
	Relation	processes;
	bool		decided;		/* the error function has let the event fail */
} Process;

/* What an instance is to do with an event. */
typedef struct Interest
{
	bool		start;
	bool		stop;
	bool		strict;			/* start!, continue! */
} Interest;

/* --- instances --- */

/* event_processes of a store; NULL if it is not there. */
static Relation
open_processes(EsStore *store)
{
	static const Oid types[PROCESS_NCOLUMNS] = {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID};
	Oid			relid = get_relname_relid("event_processes", store->nspid);
	Relation	rel;
	bool		usable;

	if (!OidIsValid(relid))
		return NULL;
	rel = table_open(relid, RowExclusiveLock);
	usable = rel->rd_rel->relkind == RELKIND_RELATION && RelationGetDescr(rel)->natts == PROCESS_NCOLUMNS &&
		OidIsValid(es_primary_key(rel));
	for (int i = 0; i < PROCESS_NCOLUMNS && usable; i++)
		usable = TupleDescAttr(RelationGetDescr(rel), i)->atttypid == types[i];
	if (!usable)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" cannot keep process managers: table event_processes is altered",
							NameStr(store->schema)),
				 errhint("The tables of a store must stay as event_store made them; undo the change.")));
	return rel;
}

static SysScanDesc
begin_scan(Relation processes, const char *manager, const char *instance)
{
	ScanKeyData keys[2];

	ScanKeyEntryInitialize(&keys[0], 0, PROCESS_MANAGER + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(manager));
	if (instance != NULL)
		ScanKeyEntryInitialize(&keys[1], 0, PROCESS_INSTANCE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, CStringGetTextDatum(instance));
	return systable_beginscan(processes, es_primary_key(processes), true, NULL, instance != NULL ? 2 : 1, keys);
}

/* Has the instance seen no event for longer than it may? */
static bool
is_idle(const EsHandler *handler, TimestampTz changed_at, TimestampTz now)
{
	return handler->process.idle_timeout > 0 &&
		TimestampTzPlusMilliseconds(changed_at, handler->process.idle_timeout) < now;
}

static void
end_instance(Process *p, Instance *instance)
{
	if (instance->exists)
		CatalogTupleDelete(p->processes, &instance->tid);
	instance->exists = false;
	CommandCounterIncrement();
}

/* Find an instance; one that has been idle for too long has ended. */
static void
find_instance(Process *p, Instance *instance)
{
	SysScanDesc scan = begin_scan(p->processes, p->handler->prepared.name, instance->id);
	HeapTuple	tuple = systable_getnext(scan);

	instance->exists = HeapTupleIsValid(tuple);
	instance->state = p->handler->process.initial;
	if (instance->exists)
	{
		Datum		values[PROCESS_NCOLUMNS];
		bool		nulls[PROCESS_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(p->processes), values, nulls);
		instance->tid = tuple->t_self;
		instance->started_at = DatumGetTimestampTz(values[PROCESS_STARTED_AT]);
		instance->changed_at = DatumGetTimestampTz(values[PROCESS_CHANGED_AT]);
		instance->state = nulls[PROCESS_STATE] ? NULL : DatumGetJsonbPCopy(values[PROCESS_STATE]);
	}
	systable_endscan(scan);
	if (instance->exists && is_idle(p->handler, instance->changed_at, p->event->created_at))
	{
		end_instance(p, instance);
		instance->state = p->handler->process.initial;
	}
}

static void
keep_instance(Process *p, Instance *instance)
{
	Datum		values[PROCESS_NCOLUMNS];
	bool		nulls[PROCESS_NCOLUMNS] = {0};
	HeapTuple	tuple;

	if (!instance->exists)
		instance->started_at = p->event->created_at;
	values[PROCESS_MANAGER] = CStringGetTextDatum(p->handler->prepared.name);
	values[PROCESS_INSTANCE] = CStringGetTextDatum(instance->id);
	values[PROCESS_POSITION] = Int64GetDatum(p->event->position);
	values[PROCESS_STARTED_AT] = TimestampTzGetDatum(instance->started_at);
	values[PROCESS_CHANGED_AT] = TimestampTzGetDatum(p->event->created_at);
	values[PROCESS_STATE] = JsonbPGetDatum(instance->state);
	nulls[PROCESS_STATE] = instance->state == NULL;
	tuple = heap_form_tuple(RelationGetDescr(p->processes), values, nulls);
	if (instance->exists)
		CatalogTupleUpdate(p->processes, &instance->tid, tuple);
	else
		CatalogTupleInsert(p->processes, tuple);
	instance->tid = tuple->t_self;
	instance->exists = true;
	CommandCounterIncrement();
}

/* Forget all instances of a process manager in a store, if before is 0, or those without an event since then. */
static void
forget_instances(EsStore *store, const char *manager, TimestampTz before)
{
	Relation	processes = open_processes(store);
	SysScanDesc scan;
	HeapTuple	tuple;

	if (processes == NULL)
		return;
	scan = begin_scan(processes, manager, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (before == 0 || DatumGetTimestampTz(heap_getattr(tuple, PROCESS_CHANGED_AT + 1, RelationGetDescr(processes), &isnull)) < before)
			CatalogTupleDelete(processes, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(processes, NoLock);
	CommandCounterIncrement();
}

void
es_process_forget(EsStore *store, const char *manager)
{
	forget_instances(store, manager, 0);
}

/* Forget the instances that have been idle for too long, for a manager that has seen all events. */
void
es_process_sweep(EsHandler *handler, EsStore *store)
{
	if (handler->process.idle_timeout > 0)
		forget_instances(store, handler->prepared.name,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -handler->process.idle_timeout));
}

/* --- commands --- */

static void
bad_answer(Process *p, const char *function, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("handler", p->handler->prepared.name), ES_TEXT("function", function)),
						"the %s function of process manager \"%s\" has returned something else than it should",
						function, p->handler->prepared.name),
			 errhint("%s", hint)));
}

/*
 * The id of a command: version 5 of RFC 9562, in the name space of the event,
 * of the manager, the instance and the number of the command.
 */
static pg_uuid_t *
command_id(Process *p, const char *instance, int number)
{
	pg_uuid_t  *id = palloc(UUID_LEN);
	uint8		digest[SHA1_DIGEST_LENGTH];
	char	   *name = psprintf("%s/%s/%d", p->handler->prepared.name, instance, number);
	pg_cryptohash_ctx *sha1 = pg_cryptohash_create(PG_SHA1);

	if (sha1 == NULL || pg_cryptohash_init(sha1) < 0 ||
		pg_cryptohash_update(sha1, p->event->event_id.data, UUID_LEN) < 0 ||
		pg_cryptohash_update(sha1, (uint8 *) name, strlen(name)) < 0 ||
		pg_cryptohash_final(sha1, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute the id of a command");
	pg_cryptohash_free(sha1);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0F) | 0x50;
	id->data[8] = (id->data[8] & 0x3F) | 0x80;
	return id;
}

static void
dispatch(Process *p, Jsonb *command, const pg_uuid_t *id)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {TEXTOID, JSONBOID, UUIDOID, UUIDOID, UUIDOID, JSONBOID};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types)];
	JsonbValue	type_buffer;
	JsonbValue	body_buffer;
	JsonbValue *type = JB_ROOT_IS_OBJECT(command) ?
		getKeyJsonValueFromContainer(&command->root, "type", strlen("type"), &type_buffer) : NULL;
	JsonbValue *body = type != NULL ?
		getKeyJsonValueFromContainer(&command->root, "command", strlen("command"), &body_buffer) : NULL;

	if (type == NULL || type->type != jbvString || body == NULL)
		bad_answer(p, "handle", "A command is {\"type\": \"...\", \"command\": {...}}.");
	memset(nulls, ' ', sizeof(nulls));
	values[0] = PointerGetDatum(cstring_to_text_with_len(type->val.string.val, type->val.string.len));
	values[1] = JsonbPGetDatum(JsonbValueToJsonb(body));
	values[2] = UUIDPGetDatum(id);
	values[3] = UUIDPGetDatum(&p->event->correlation_id);
	if (!p->event->has_correlation_id)
		nulls[3] = 'n';
	values[4] = UUIDPGetDatum(&p->event->event_id);
	values[5] = JsonbPGetDatum(p->event->metadata);
	if (p->event->metadata == NULL)
		nulls[5] = 'n';

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(es_statement_dispatch_command, lengthof(types), types);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not dispatch a command");
	SPI_finish();
}

/* The elements of an array, or the one thing that it is; null has none: a list of Jsonb. */
static List *
elements_of(Jsonb *json)
{
	List	   *result = NIL;
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	if (json == NULL || (JB_ROOT_IS_SCALAR(json) && JsonbExtractScalar(&json->root, &value) && value.type == jbvNull))
		return NIL;
	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		return list_make1(json);
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			result = lappend(result, JsonbValueToJsonb(&value));
	return result;
}

/* What the error function says: one of these words, and for `continue` the commands to go on with. */
typedef enum Answer
{
	ANSWER_FAIL,				/* as without an error function: the event has failed */
	ANSWER_SKIP,
	ANSWER_DISCARD,
	ANSWER_CONTINUE,
	ANSWER_STOP
} Answer;

static Answer
ask(Process *p, const ErrorData *error, Jsonb *command, List **commands)
{
	EsHandler  *handler = p->handler;
	JsonbValue	buffer;
	JsonbValue *action;
	Datum		result;
	bool		isnull;
	Jsonb	   *answer;
	char	   *word;

	if (handler->error_function == NULL)
		return ANSWER_FAIL;
	es_handler_set_event(handler, p->event);
	es_handler_set_parameter(handler, ES_PARAM_PROBLEM,
							 JsonbPGetDatum(es_handler_problem(handler->prepared.name, error, p->event->position, 1)));
	es_handler_set_parameter(handler, ES_PARAM_CONTEXT, JsonbPGetDatum(command));
	handler->prepared.parameters->params[ES_PARAM_CONTEXT].isnull = command == NULL;
	result = es_prepared_call(&handler->prepared, handler->error_function, &isnull);
	if (isnull)
		return ANSWER_FAIL;
	answer = DatumGetJsonbP(result);
	action = JB_ROOT_IS_OBJECT(answer) ?
		getKeyJsonValueFromContainer(&answer->root, "action", strlen("action"), &buffer) : NULL;
	word = action != NULL && action->type == jbvString ? pnstrdup(action->val.string.val, action->val.string.len) : "";
	if (strcmp(word, "retry") == 0)
		return ANSWER_FAIL;
	if (strcmp(word, "skip") == 0)
		return ANSWER_SKIP;
	if (strcmp(word, "discard") == 0)
		return ANSWER_DISCARD;
	if (strcmp(word, "stop") == 0)
		return ANSWER_STOP;
	if (strcmp(word, "continue") != 0)
		bad_answer(p, "error", "It returns {\"action\": \"retry\", \"skip\", \"discard\", \"continue\" or \"stop\"}, or null.");
	action = getKeyJsonValueFromContainer(&answer->root, "commands", strlen("commands"), &buffer);
	*commands = action == NULL ? NIL : elements_of(JsonbValueToJsonb(action));
	return ANSWER_CONTINUE;
}

/* Dispatch a command in a subtransaction; returns NULL or the error. */
static ErrorData *
try_dispatch(Process *p, Jsonb *command, const pg_uuid_t *id)
{
	EsAttempt	attempt;
	ErrorData  *volatile error = NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		dispatch(p, command, id);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
		if (es_handler_blameless(error->sqlerrcode))
			ReThrowError(error);
	}
	PG_END_TRY();
	return error;
}

/* Dispatch the commands of an instance; false if it has to end.  *done gets those that were dispatched. */
static bool
dispatch_all(Process *p, const Instance *instance, List *commands, List **done)
{
	int			number = 0;
	int			rounds = 0;

	while (commands != NIL)
	{
		Jsonb	   *command = linitial(commands);
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		commands = list_delete_first(commands);
		error = try_dispatch(p, command, command_id(p, instance->id, number++));
		if (error == NULL)
		{
			*done = lappend(*done, command);
			continue;
		}
		switch (ask(p, error, command, &commands))
		{
			case ANSWER_FAIL:
				p->decided = true;
				ReThrowError(error);
				break;
			case ANSWER_SKIP:
				break;
			case ANSWER_DISCARD:
				commands = NIL;
				break;
			case ANSWER_CONTINUE:
				if (++rounds == MAX_ROUNDS)
				{
					p->decided = true;
					ReThrowError(error);
				}
				break;
			case ANSWER_STOP:
				return false;
		}
	}
	return true;
}

/* --- events --- */

/* Refuse an event that must start, or continue, an instance, and cannot; the error function may pass it. */
static void
check_strict(Process *p, const Instance *instance, const Interest *interest)
{
	if (!interest->strict || interest->start != instance->exists)
		return;
	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						ES_MEMBERS(ES_TEXT("reason", instance->exists ? "already_started" : "not_started"),
								   ES_TEXT("instance", instance->id)),
						instance->exists ? "instance \"%s\" of process manager \"%s\" is already started" :
						"instance \"%s\" of process manager \"%s\" is not started", instance->id, p->handler->prepared.name),
			 errhint("Return start or continue without the exclamation mark to start it or continue it as it is.")));
}

static Jsonb *
call_with_state(Process *p, EsCall *call, Jsonb *state, bool *isnull)
{
	Datum		result;

	es_handler_set_event(p->handler, p->event);
	es_handler_set_parameter(p->handler, ES_PARAM_SUBJECT, JsonbPGetDatum(state));
	p->handler->prepared.parameters->params[ES_PARAM_SUBJECT].isnull = state == NULL;
	result = es_prepared_call(&p->handler->prepared, call, isnull);
	return *isnull ? NULL : DatumGetJsonbP(result);
}

/* What an instance does with the event. */
static void
handle_instance(Process *p, Instance *instance, const Interest *interest)
{
	EsProcess  *process = &p->handler->process;
	List	   *done = NIL;
	ListCell   *lc;
	Jsonb	   *commands;
	bool		isnull;

	find_instance(p, instance);
	check_strict(p, instance, interest);
	if (interest->stop)
	{
		end_instance(p, instance);
		return;
	}
	commands = call_with_state(p, p->handler->function, instance->state, &isnull);
	CommandCounterIncrement();
	if (!dispatch_all(p, instance, isnull ? NIL : elements_of(commands), &done))
	{
		end_instance(p, instance);
		return;
	}
	if (process->apply != NULL)
		instance->state = call_with_state(p, process->apply, instance->state, &isnull);
	keep_instance(p, instance);
	foreach(lc, process->after_command != NULL ? done : NIL)
	{
		Datum		said;

		es_handler_set_parameter(p->handler, ES_PARAM_SUBJECT, JsonbPGetDatum(instance->state));
		p->handler->prepared.parameters->params[ES_PARAM_SUBJECT].isnull = instance->state == NULL;
		es_handler_set_parameter(p->handler, ES_PARAM_CONTEXT, JsonbPGetDatum(lfirst(lc)));
		said = es_prepared_call(&p->handler->prepared, process->after_command, &isnull);
		if (isnull)
			continue;
		if (strcmp(TextDatumGetCString(said), "stop") != 0)
			bad_answer(p, "after_command", "It returns 'stop', or null to go on.");
		end_instance(p, instance);
		return;
	}
}

/* The same; if that fails as a whole, the error function may pass the event or end the instance. */
static void
try_instance(Process *p, const char *id, const Interest *interest)
{
	EsAttempt	attempt;
	EsDeadline	deadline;
	Instance	instance = {.id = unconstify(char *, id)};
	bool		limited = p->handler->process.event_timeout > 0;
	List	   *none = NIL;

	es_attempt_begin(&attempt);
	if (limited)
		es_deadline_begin(&deadline, p->handler->process.event_timeout);
	PG_TRY();
	{
		handle_instance(p, &instance, interest);
		if (limited)
			(void) es_deadline_end(&deadline);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		bool		passed = limited && es_deadline_end(&deadline);
		ErrorData  *error = es_attempt_failed(&attempt);

		if (passed && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		{
			error->sqlerrcode = ERRCODE_ES_EXECUTION_TIMEOUT;
			error->message = psprintf("process manager \"%s\" has taken longer than %lld ms for an event",
									  p->handler->prepared.name, (long long) p->handler->process.event_timeout);
		}
		if (es_handler_blameless(error->sqlerrcode))
			ReThrowError(error);
		switch (p->decided ? ANSWER_FAIL : ask(p, error, NULL, &none))
		{
			case ANSWER_SKIP:
			case ANSWER_DISCARD:
				break;
			case ANSWER_STOP:
				find_instance(p, &instance);
				end_instance(p, &instance);
				break;
			default:
				ReThrowError(error);
		}
	}
	PG_END_TRY();
}

/* Read what the interested function has returned: one member, whose name says what to do and whose value with which. */
static List *
read_interest(Process *p, Jsonb *said, Interest *interest)
{
	static const char *const words[] = {"start", "start!", "continue", "continue!", "stop"};
	List	   *ids = NIL;
	ListCell   *lc;
	int			word;
	JsonbValue	buffer;
	JsonbValue *value = NULL;

	if (!JB_ROOT_IS_OBJECT(said) && elements_of(said) == NIL)
		return NIL;
	if (!JB_ROOT_IS_OBJECT(said))
	{
		/* false is no interest too */
		if (JB_ROOT_IS_SCALAR(said) && JsonbExtractScalar(&said->root, &buffer) && buffer.type == jbvBool && !buffer.val.boolean)
			return NIL;
	}
	else
		for (word = 0; word < lengthof(words) && value == NULL; word++)
			value = getKeyJsonValueFromContainer(&said->root, words[word], strlen(words[word]), &buffer);
	if (value == NULL || JB_ROOT_COUNT(said) != 1)
		bad_answer(p, "interested", "It returns {\"start\": id}, or with start!, continue, continue! or stop, or null.");
	word--;
	interest->start = word < 2;
	interest->strict = word == 1 || word == 3;
	interest->stop = word == 4;
	foreach(lc, elements_of(JsonbValueToJsonb(value)))
	{
		Jsonb	   *id = lfirst(lc);

		if (!JB_ROOT_IS_SCALAR(id) || !JsonbExtractScalar(&id->root, &buffer) ||
			(buffer.type != jbvString && buffer.type != jbvNumeric))
			bad_answer(p, "interested", "An id is a string or a number, or an array of them for several instances.");
		ids = lappend(ids, buffer.type == jbvString ? pnstrdup(buffer.val.string.val, buffer.val.string.len) :
					  DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(buffer.val.numeric))));
	}
	return ids;
}

/* Hand an event to the instances of a process manager that it is of. */
void
es_process_handle(EsHandler *handler, EsStore *store, const EsHandled *event)
{
	Process		p = {.handler = handler, .store = store, .event = event};
	Interest	interest = {0};
	Datum		said;
	bool		isnull;
	ListCell   *lc;

	es_handler_set_event(handler, event);
	said = es_prepared_call(&handler->prepared, handler->process.interested, &isnull);
	if (isnull)
		return;
	p.processes = open_processes(store);
	if (p.processes == NULL)
		elog(ERROR, "table event_processes of event store \"%s\" is missing", NameStr(store->schema));
	foreach(lc, read_interest(&p, DatumGetJsonbP(said), &interest))
		try_instance(&p, lfirst(lc), &interest);
	table_close(p.processes, NoLock);
}
