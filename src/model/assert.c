/*
 * assert.c
 *		Assertions on events and commands, for test suites.
 *
 * An assertion returns a line of TAP, and after a failure lines of comment.
 * Where a plan of pgTAP is running, its function ok makes the line, so that it
 * is numbered and counted with the others; pgTAP need not be installed.
 *
 * Events are looked for in a snapshot of now, not up to the horizon: a test
 * sees what its own transaction has appended.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "base/extension.h"
#include "log/append.h"
#include "log/expected.h"
#include "log/horizon.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/wake.h"
#include "model/upcast.h"
#include "store/payload.h"

#define LOOK_INTERVAL	50		/* ms between two looks of wait_for_event at most */

/* --- TAP --- */

/* The function ok(boolean, text) of pgTAP if a plan of it is running in this session, else InvalidOid. */
static Oid
pgtap_ok(void)
{
	Oid			types[] = {BOOLOID, TEXTOID};
	Oid			pgtap = get_extension_oid("pgtap", true);
	Oid			temp = LookupNamespaceNoError("pg_temp");
	Oid			function;

	/* the table in which pgTAP keeps its plan */
	if (!OidIsValid(pgtap) || !OidIsValid(temp) || !OidIsValid(get_relname_relid("__tcache__", temp)))
		return InvalidOid;
	function = LookupFuncName(list_make1(makeString("ok")), lengthof(types), types, true);
	return OidIsValid(function) && getExtensionOfObject(ProcedureRelationId, function) == pgtap ? function : InvalidOid;
}

/* A line of TAP that begins with something. */
static void
append_line(StringInfo out, const char *start, const char *text)
{
	appendStringInfoString(out, start);
	for (; *text; text++)
	{
		/* in a description it begins a directive */
		if (*text == '#')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *text == '\n' || *text == '\r' ? ' ' : *text);
	}
}

/* The result of an assertion; have is what there was instead, and may be NULL. */
static Datum
tap(bool passed, const char *description, const char *want, const char *have)
{
	Oid			ok = pgtap_ok();
	StringInfoData out;

	initStringInfo(&out);
	if (OidIsValid(ok))
		appendStringInfoString(&out, TextDatumGetCString(OidFunctionCall2(ok, BoolGetDatum(passed),
																		  CStringGetTextDatum(description))));
	else
	{
		append_line(&out, passed ? "ok - " : "not ok - ", description);
		if (!passed)
			append_line(&out, "\n# Failed test: ", description);
	}
	if (!passed)
	{
		append_line(&out, "\n#         want: ", want);
		if (have != NULL)
			append_line(&out, "\n#         have: ", have);
	}
	return PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
}

static char *
jsonb_string(Jsonb *value)
{
	return JsonbToCString(NULL, &value->root, VARSIZE(value));
}

/* The description that the caller gave, or the other one. */
static char *
description_argument(FunctionCallInfo fcinfo, int argument, char *otherwise)
{
	return PG_ARGISNULL(argument) ? otherwise : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* --- looking for events --- */

/* What an event must be; NULL: anything. */
typedef struct Wanted
{
	text	   *type;
	Jsonb	   *data;			/* the event's data contain this */
} Wanted;

/* Where it is looked for. */
typedef struct Place
{
	text	   *stream;			/* NULL: in all */
	int64		after;			/* position */
} Place;

/* Takes an event in the form that readers get; false: enough. */
typedef bool (*Look) (void *target, const Datum *row, const bool *nulls, const EsEventBody *body);

static bool
matches(const Wanted *wanted, const EsEventBody *body)
{
	text	   *type = DatumGetTextPP(body->type);

	return VARSIZE_ANY_EXHDR(type) == VARSIZE_ANY_EXHDR(wanted->type) &&
		memcmp(VARDATA_ANY(type), VARDATA_ANY(wanted->type), VARSIZE_ANY_EXHDR(type)) == 0 &&
		(wanted->data == NULL ||
		 DatumGetBool(DirectFunctionCall2(jsonb_contains, body->data, JsonbPGetDatum(wanted->data))));
}

/* Go through the events of a place as they are now. */
static void
look_at_events(EsStore *store, Relation log, const Place *place, Look look, void *target)
{
	Snapshot	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	EsUpcasters *upcasters = es_upcasters_take(store, log);
	MemoryContext event = AllocSetContextCreate(CurrentMemoryContext, "event_store asserted event", ALLOCSET_DEFAULT_SIZES);
	EsStream	stream = {0};
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	bool		more = true;

	if (place->stream != NULL)
	{
		es_stream_find(store, place->stream, snapshot, &stream);
		es_scan_stream(&scan, store, log, stream.id, 1, PG_INT64_MAX, false, snapshot);
	}
	else
		es_scan_log(&scan, store, log, place->after + 1, PG_INT64_MAX, false, snapshot);
	while (more && es_scan_next(&scan, &values, &nulls))
	{
		MemoryContext caller;
		EsEventBody body;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt64(values[LOG_POSITION]) <= place->after)
			continue;
		caller = MemoryContextSwitchTo(event);
		body = es_event_body(values, nulls);
		body.data = es_payload_of_row(values, store->payload, ES_PAYLOAD_JSONB);
		if (upcasters != NULL)
			(void) es_upcast(upcasters, values, &body);
		more = look(target, values, nulls, &body);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(event);
	}
	es_scan_end(&scan);
	MemoryContextDelete(event);
	if (upcasters != NULL)
		es_upcasters_give(upcasters);
	UnregisterSnapshot(snapshot);
}

/* A search for one event. */
typedef struct Search
{
	Wanted		wanted;
	Place		place;
	int64		position;		/* where it was found, 0: nowhere */
} Search;

static bool
look_for_one(void *target, const Datum *row, const bool *nulls, const EsEventBody *body)
{
	Search	   *search = target;

	if (matches(&search->wanted, body))
		search->position = DatumGetInt64(row[LOG_POSITION]);
	return search->position == 0;
}

/* What is looked for, from the arguments type, data, stream and after_position. */
static Search
search_arguments(FunctionCallInfo fcinfo)
{
	Search		search = {0};

	es_require_argument(fcinfo, 0, "type");
	es_require_argument(fcinfo, 3, "after_position");
	search.wanted.type = PG_GETARG_TEXT_PP(0);
	search.wanted.data = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	search.place.stream = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	search.place.after = PG_GETARG_INT64(3);
	if (search.place.stream != NULL)
		es_stream_check_name(search.place.stream);
	return search;
}

/* The event that is looked for, in words. */
static char *
search_string(const Search *search)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "event \"%s\"", text_to_cstring(search->wanted.type));
	if (search->wanted.data != NULL)
		appendStringInfo(&out, " with %s", jsonb_string(search->wanted.data));
	if (search->place.stream != NULL)
		appendStringInfo(&out, " in stream \"%s\"", text_to_cstring(search->place.stream));
	if (search->place.after > 0)
		appendStringInfo(&out, " after position %lld", (long long) search->place.after);
	return out.data;
}

/* Assert that there is such an event, or that there is none. */
static Datum
assert_search(FunctionCallInfo fcinfo, bool wanted)
{
	Search		search = search_arguments(fcinfo);
	char	   *what = search_string(&search);
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);

	look_at_events(store, log, &search.place, look_for_one, &search);
	table_close(log, NoLock);
	return tap((search.position != 0) == wanted,
			   description_argument(fcinfo, 4, psprintf("there is %s%s", wanted ? "an " : "no ", what)),
			   psprintf("%s%s", wanted ? "an " : "no ", what),
			   search.position != 0 ? psprintf("one at position %lld", (long long) search.position) : "none");
}

/* --- correlation --- */

/* What is known of a correlation. */
typedef struct Correlation
{
	pg_uuid_t	id;				/* hash key */
	bool		first;			/* has an event of the first kind */
	bool		second;
} Correlation;

typedef struct Correlating
{
	Wanted		first;
	Wanted		second;
	bool		first_seen;
	bool		second_seen;
	bool		together;
	HTAB	   *by_id;
} Correlating;

static bool
look_for_both(void *target, const Datum *row, const bool *nulls, const EsEventBody *body)
{
	Correlating *c = target;
	bool		first = matches(&c->first, body);
	bool		second = matches(&c->second, body);
	Correlation *entry;
	bool		found;

	c->first_seen |= first;
	c->second_seen |= second;
	if ((!first && !second) || nulls[LOG_CORRELATION_ID])
		return true;
	entry = hash_search(c->by_id, DatumGetUUIDP(row[LOG_CORRELATION_ID]), HASH_ENTER, &found);
	if (!found)
		entry->first = entry->second = false;
	entry->first |= first;
	entry->second |= second;
	c->together = entry->first && entry->second;
	return !c->together;
}

/* --- given, when, then --- */

/* The events of a stream after a version, as [{"type", "data"}, ...]. */
typedef struct Collecting
{
	int64		after;
	JsonbParseState *parse;
	JsonbValue *array;
	MemoryContext context;
} Collecting;

static void
push_member(Collecting *c, const char *name, JsonbValue *value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(&c->parse, WJB_KEY, &key);
	(void) pushJsonbValue(&c->parse, WJB_VALUE, value);
}

static bool
collect_event(void *target, const Datum *row, const bool *nulls, const EsEventBody *body)
{
	Collecting *c = target;
	MemoryContext caller;
	text	   *type;
	Jsonb	   *data;
	JsonbValue	value = {.type = jbvString};

	if (DatumGetInt64(row[LOG_VERSION]) <= c->after)
		return true;
	caller = MemoryContextSwitchTo(c->context);
	type = DatumGetTextPCopy(body->type);
	data = DatumGetJsonbPCopy(body->data);
	(void) pushJsonbValue(&c->parse, WJB_BEGIN_OBJECT, NULL);
	value.val.string.val = VARDATA(type);
	value.val.string.len = VARSIZE(type) - VARHDRSZ;
	push_member(c, "type", &value);
	if (!JB_ROOT_IS_SCALAR(data) || !JsonbExtractScalar(&data->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &data->root;
		value.val.binary.len = VARSIZE(data) - VARHDRSZ;
	}
	push_member(c, "data", &value);
	(void) pushJsonbValue(&c->parse, WJB_END_OBJECT, NULL);
	MemoryContextSwitchTo(caller);
	return true;
}

/* Are these the events that are wanted? Each contains what is wanted of it; there are no more and no fewer. */
static bool
events_match(Jsonb *have, Jsonb *want)
{
	if (JB_ROOT_IS_OBJECT(want))
		return JB_ROOT_COUNT(have) == 1 &&
			DatumGetBool(DirectFunctionCall2(jsonb_contains,
											 DirectFunctionCall2(jsonb_array_element, JsonbPGetDatum(have), Int32GetDatum(0)),
											 JsonbPGetDatum(want)));
	if (JB_ROOT_COUNT(have) != JB_ROOT_COUNT(want))
		return false;
	for (int i = 0; i < JB_ROOT_COUNT(want); i++)
		if (!DatumGetBool(DirectFunctionCall2(jsonb_contains,
											  DirectFunctionCall2(jsonb_array_element, JsonbPGetDatum(have), Int32GetDatum(i)),
											  DirectFunctionCall2(jsonb_array_element, JsonbPGetDatum(want), Int32GetDatum(i)))))
			return false;
	return true;
}

/* Call event_store.dispatch with a type and a command, and its defaults. */
static void
dispatch(Datum type, Datum command)
{
	Oid			nspid = get_namespace_oid(ES_SCHEMA, false);
	FuncCandidateList candidate = FuncnameGetCandidates(list_make2(makeString(get_namespace_name(nspid)), makeString("dispatch")),
														-1, NIL, false, false, false, false);
	EState	   *executor = CreateExecutorState();
	List	   *arguments;
	ExprState  *call;
	bool		isnull;

	if (candidate == NULL || candidate->next != NULL)
		elog(ERROR, "function dispatch was not found");
	arguments = list_make2(makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, type, false, false),
						   makeConst(JSONBOID, -1, InvalidOid, -1, command, false, false));
	/* preparing it fills in the defaults */
	call = ExecPrepareExpr((Expr *) makeFuncExpr(candidate->oid, get_func_rettype(candidate->oid), arguments,
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), executor);
	(void) ExecEvalExprSwitchContext(call, GetPerTupleExprContext(executor), &isnull);
	FreeExecutorState(executor);
}

/* Append what is given, dispatch the command, and return the events that came of it. */
static Jsonb *
events_of_command(text *stream, Jsonb *given, Datum type, Datum command)
{
	Collecting	c = {.context = CurrentMemoryContext};
	Place		place = {.stream = stream};
	EsStore    *store;
	Relation	log;
	EsStream	found;
	int			count = 0;

	if (given != NULL && (JB_ROOT_IS_OBJECT(given) || JB_ROOT_COUNT(given) > 0))
	{
		EsEvent    *events = es_events_from_jsonb(given, &count);
		EsAppend	append = {.stream = stream, .expected = ES_EXPECTED_ANY, .count = count};

		es_append(&append, 1, events, false);
		CommandCounterIncrement();
	}
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_stream_find(store, stream, GetLatestSnapshot(), &found);
	c.after = found.id == 0 ? 0 : es_scan_version(store, log, found.id, GetLatestSnapshot());
	table_close(log, NoLock);

	dispatch(type, command);
	CommandCounterIncrement();
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	(void) pushJsonbValue(&c.parse, WJB_BEGIN_ARRAY, NULL);
	look_at_events(store, log, &place, collect_event, &c);
	table_close(log, NoLock);
	return JsonbValueToJsonb(pushJsonbValue(&c.parse, WJB_END_ARRAY, NULL));
}

/* The reason in the problem document of a rejected command, or NULL. */
static char *
reason_of(const ErrorData *error)
{
	Jsonb	   *document;
	JsonbValue	value;

	if (error->sqlerrcode != ERRCODE_ES_COMMAND_REJECTED || error->detail == NULL)
		return NULL;
	document = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(error->detail)));
	if (!JB_ROOT_IS_OBJECT(document) ||
		getKeyJsonValueFromContainer(&document->root, "reason", strlen("reason"), &value) == NULL || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* --- SQL --- */

PG_FUNCTION_INFO_V1(event_store_assert_event);
PG_FUNCTION_INFO_V1(event_store_refute_event);
PG_FUNCTION_INFO_V1(event_store_wait_for_event);
PG_FUNCTION_INFO_V1(event_store_assert_correlated);
PG_FUNCTION_INFO_V1(event_store_assert_command);

Datum
event_store_assert_event(PG_FUNCTION_ARGS)
{
	return assert_search(fcinfo, true);
}

Datum
event_store_refute_event(PG_FUNCTION_ARGS)
{
	return assert_search(fcinfo, false);
}

Datum
event_store_wait_for_event(PG_FUNCTION_ARGS)
{
	Search		search = search_arguments(fcinfo);
	char	   *what = search_string(&search);
	EsStore    *store;
	Relation	log;
	TimestampTz deadline;

	es_require_argument(fcinfo, 4, "timeout");
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), es_interval_ms(PG_GETARG_INTERVAL_P(4)));
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for new events in a transaction whose snapshot is fixed"),
				 errhint("Call event_store.wait_for_event() in a READ COMMITTED transaction, or use event_store.assert_event().")));
	for (;;)
	{
		long		remaining;

		es_wake_prepare(es_store_slot(store));
		look_at_events(store, log, &search.place, look_for_one, &search);
		remaining = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (search.position != 0 || remaining <= 0)
			break;
		es_wake_sleep(Min(remaining, LOOK_INTERVAL));
	}
	es_wake_cancel();
	table_close(log, NoLock);
	return tap(search.position != 0, description_argument(fcinfo, 5, psprintf("there is an %s in time", what)), psprintf("an %s", what), "none in time");
}

Datum
event_store_assert_correlated(PG_FUNCTION_ARGS)
{
	HASHCTL		ctl = {.keysize = UUID_LEN, .entrysize = sizeof(Correlation), .hcxt = CurrentMemoryContext};
	Correlating c = {0};
	Place		place = {0};
	EsStore    *store;
	Relation	log;
	char	   *types;

	es_require_argument(fcinfo, 0, "first_type");
	es_require_argument(fcinfo, 1, "second_type");
	es_require_argument(fcinfo, 4, "after_position");
	c.first.type = PG_GETARG_TEXT_PP(0);
	c.second.type = PG_GETARG_TEXT_PP(1);
	c.first.data = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	c.second.data = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	place.after = PG_GETARG_INT64(4);
	c.by_id = hash_create("event_store correlations", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	types = psprintf("\"%s\" and \"%s\"", text_to_cstring(c.first.type), text_to_cstring(c.second.type));

	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	look_at_events(store, log, &place, look_for_both, &c);
	table_close(log, NoLock);
	return tap(c.together, description_argument(fcinfo, 5, psprintf("events %s are correlated", types)),
			   psprintf("events %s with one correlation id", types),
			   c.first_seen && c.second_seen ? "both, with other correlation ids or none" :
			   c.first_seen ? "only the first" : c.second_seen ? "only the second" : "neither");
}

Datum
event_store_assert_command(PG_FUNCTION_ARGS)
{
	text	   *stream;
	Jsonb	   *given = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	Jsonb	   *want = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	char	   *rejected = PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5));
	char	   *type;
	char	   *want_string;
	char	   *have;
	bool		passed;
	EsAttempt	attempt;

	es_require_argument(fcinfo, 0, "stream");
	es_require_argument(fcinfo, 2, "type");
	es_require_argument(fcinfo, 3, "command");
	es_require_writable();
	stream = PG_GETARG_TEXT_PP(0);
	es_stream_check_name(stream);
	if ((want == NULL) == (rejected == NULL) || (want != NULL && JB_ROOT_IS_SCALAR(want)))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "pass either the events that are expected, or the rejection"),
				 errhint("events is an object or an array of them, [] for none; rejected is a reason or an SQLSTATE.")));
	type = text_to_cstring(PG_GETARG_TEXT_PP(2));
	want_string = want != NULL ? jsonb_string(want) : psprintf("rejected: %s", rejected);

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		Jsonb	   *events = events_of_command(stream, given, PG_GETARG_DATUM(2), PG_GETARG_DATUM(3));

		passed = want != NULL && events_match(events, want);
		have = jsonb_string(events);
		es_attempt_undo(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);
		const char *sqlstate = unpack_sql_state(error->sqlerrcode);
		char	   *reason;

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		reason = reason_of(error);
		passed = rejected != NULL && (strcmp(rejected, sqlstate) == 0 || (reason != NULL && strcmp(rejected, reason) == 0));
		have = psprintf("%s: %s", reason ? psprintf("rejected: %s", reason) : sqlstate, error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return tap(passed, description_argument(fcinfo, 6, psprintf(want != NULL ? "%s makes these events" : "%s is rejected", type)),
			   want_string, have);
}
