/*
 * append_many.c
 *		append_many: an append to several streams as JSON.
 *
 * This reads the argument and gives the result; es_append does the work.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "log/append.h"
#include "log/expected.h"

/* Columns of the result. */
enum ResultColumn
{
	RESULT_INDEX,
	RESULT_STREAM,
	RESULT_FIRST_VERSION,
	RESULT_LAST_VERSION,
	RESULT_FIRST_POSITION,
	RESULT_LAST_POSITION,
	RESULT_NCOLUMNS
};

#define SHAPE_HINT \
	errhint("The argument is an array of {\"stream\": text, \"events\": [...], \"expected\": a version, any, no_stream or exists}; without events the stream is only checked.")

static void
bad_member(int index, const char *member, const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("member", member)),
						"%s of append %d %s", member, index, what),
			 SHAPE_HINT));
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == strlen(name) && memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static int64
expected_member(const JsonbValue *value, int index)
{
	if (value->type == jbvString)
		return es_expected_from_string(pnstrdup(value->val.string.val, value->val.string.len));
	if (value->type != jbvNumeric)
		bad_member(index, "expected", "is neither a version nor a word");

	/* as text, so that a fraction is refused and not rounded */
	return es_expected_from_string(DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
}

static EsEvent *
events_member(JsonbValue *value, int index, int *count)
{
	*count = 0;
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvBinary)
		bad_member(index, "events", "is not a JSON array");
	if (JsonContainerIsArray(value->val.binary.data) && JsonContainerSize(value->val.binary.data) == 0)
		return NULL;
	return es_events_from_jsonb(JsonbValueToJsonb(value), count);
}

/* Read one element of the array; returns its events, palloc'd. */
static EsEvent *
part_from_object(JsonbContainer *object, int index, EsAppend *part)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue	value;
	EsEvent    *events = NULL;

	part->expected = ES_EXPECTED_ANY;
	(void) JsonbIteratorNext(&iterator, &value, true);
	while (JsonbIteratorNext(&iterator, &value, true) == WJB_KEY)
	{
		JsonbValue	key = value;

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (is_key(&key, "stream"))
		{
			if (value.type != jbvString)
				bad_member(index, "stream", "is not a string");
			part->stream = cstring_to_text_with_len(value.val.string.val, value.val.string.len);
		}
		else if (is_key(&key, "events"))
			events = events_member(&value, index, &part->count);
		else if (!is_key(&key, "expected"))
			bad_member(index, pnstrdup(key.val.string.val, key.val.string.len), "is not a known member");
		else if (value.type != jbvNull)
			part->expected = expected_member(&value, index);
	}
	if (part->stream == NULL)
		bad_member(index, "stream", "is missing");
	if (part->count == 0 && part->expected == ES_EXPECTED_ANY)
		bad_member(index, "events", "is missing or empty, and nothing is expected of the stream either");
	return events;
}

/* Move the events of a part behind those of the parts before it. */
static void
add_events(EsEvent **all, int *count, int *size, EsEvent *events, int more)
{
	es_events_check_count((int64) *count + more);
	if (*count + more > *size)
	{
		*size = Max(*count + more, *size * 2);
		*all = *all == NULL ? palloc(mul_size(sizeof(EsEvent), *size)) :
			repalloc_huge(*all, mul_size(sizeof(EsEvent), *size));
	}
	memcpy(*all + *count, events, sizeof(EsEvent) * more);
	*count += more;
	pfree(events);
}

static EsAppend *
parts_from_jsonb(Jsonb *appends, int *nparts, EsEvent **events)
{
	EsMember	member[2] = {ES_INT("append", 0)};
	EsProblemContext context = {.members = member};
	ErrorContextCallback callback = {.callback = es_problem_context, .arg = &context, .previous = error_context_stack};
	JsonbIterator *iterator;
	JsonbValue	value;
	EsAppend   *parts;
	int			count = 0;
	int			size = 0;
	int			n = 0;

	if (!JB_ROOT_IS_ARRAY(appends) || JB_ROOT_IS_SCALAR(appends))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "appends")),
							"appends is not a JSON array"),
				 SHAPE_HINT));
	if (JB_ROOT_COUNT(appends) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "appends")),
							"there is nothing to append"),
				 errhint("Pass at least one stream with events, or one to check.")));
	if (JB_ROOT_COUNT(appends) > es_max_batch_events)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("streams", JB_ROOT_COUNT(appends)), ES_INT("limit", es_max_batch_events)),
							"%d streams are more than the limit of %d for one append",
							(int) JB_ROOT_COUNT(appends), es_max_batch_events),
				 errhint("Append in several calls, in one transaction if they belong together, or raise event_store.max_batch_events.")));

	*events = NULL;
	parts = palloc0(mul_size(sizeof(EsAppend), JB_ROOT_COUNT(appends)));
	error_context_stack = &callback;
	iterator = JsonbIteratorInit(&appends->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
	{
		EsEvent    *more;

		CHECK_FOR_INTERRUPTS();
		member[0].number = n;
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "append %d is not a JSON object", n),
					 SHAPE_HINT));
		more = part_from_object(value.val.binary.data, n, &parts[n]);
		if (more != NULL)
			add_events(events, &count, &size, more, parts[n].count);
		n++;
	}
	error_context_stack = callback.previous;
	*nparts = n;
	return parts;
}

/* Take the data of the events as it stands in the text from which the parts were read. */
static void
keep_text(const EsAppend *parts, int nparts, EsEvent *events, const text *appends)
{
	EsJsonPart	array = es_json_part(appends);
	EsJsonPart	element = {NULL};
	EsJsonPart	list;

	for (int p = 0; p < nparts && es_json_part_element(&array, &element); p++)
	{
		if (parts[p].count > 0 && es_json_part_member(&element, "events", &list))
			es_events_keep_text(events, parts[p].count, &list);
		events += parts[p].count;
	}
}

/* json is the text that appends was read from, NULL if it came as jsonb. */
static void
append_many(FunctionCallInfo fcinfo, Jsonb *appends, const text *json)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsEvent    *events;
	int			nparts;
	EsAppend   *parts = parts_from_jsonb(appends, &nparts, &events);

	if (json != NULL && es_append_payload() == ES_PAYLOAD_JSON)
		keep_text(parts, nparts, events, json);
	es_append_if(parts, nparts, events, true, es_condition_argument(fcinfo, 1));

	InitMaterializedSRF(fcinfo, 0);
	for (int p = 0; p < nparts; p++)
	{
		Datum		values[RESULT_NCOLUMNS];
		bool		nulls[RESULT_NCOLUMNS] = {0};

		CHECK_FOR_INTERRUPTS();
		values[RESULT_INDEX] = Int32GetDatum(p);
		values[RESULT_STREAM] = PointerGetDatum(parts[p].stream);
		values[RESULT_FIRST_VERSION] = Int64GetDatum(parts[p].result.first_version);
		values[RESULT_LAST_VERSION] = Int64GetDatum(parts[p].result.last_version);
		values[RESULT_FIRST_POSITION] = Int64GetDatum(parts[p].result.first_position);
		values[RESULT_LAST_POSITION] = Int64GetDatum(parts[p].result.last_position);
		if (parts[p].count == 0)
			nulls[RESULT_FIRST_VERSION] = nulls[RESULT_LAST_VERSION] =
				nulls[RESULT_FIRST_POSITION] = nulls[RESULT_LAST_POSITION] = true;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(event_store_append_many_jsonb);
PG_FUNCTION_INFO_V1(event_store_append_many_text);

Datum
event_store_append_many_jsonb(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "appends");
	append_many(fcinfo, PG_GETARG_JSONB_P(0), NULL);
	return (Datum) 0;
}

Datum
event_store_append_many_text(PG_FUNCTION_ARGS)
{
	text	   *json;

	es_require_argument(fcinfo, 0, "appends");
	json = PG_GETARG_TEXT_PP(0);
	append_many(fcinfo, es_jsonb_in(json), json);
	return (Datum) 0;
}
