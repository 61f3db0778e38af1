/*
 * path.c
 *		A jsonpath over a recorded event.
 *
 * The document of the path ($) is the data of the event; $metadata, $stream and
 * $type are variables.  Those are only put together for a path that has
 * variables in it, so the usual path costs nothing but its evaluation.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "deliver/path.h"
#include "store/payload.h"

static void
push_text(JsonbParseState **parse, JsonbIteratorToken token, const char *data, int length)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, data);
	value.val.string.len = length;
	(void) pushJsonbValue(parse, token, &value);
}

/* An object of the variables; without an event, all of them null. */
static Jsonb *
variables(text *stream, const Datum *row, const bool *nulls)
{
	JsonbParseState *parse = NULL;
	JsonbValue	value = {.type = jbvNull};

	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	push_text(&parse, WJB_KEY, "metadata", strlen("metadata"));
	if (row != NULL && !nulls[LOG_METADATA])
	{
		Jsonb	   *metadata = DatumGetJsonbP(row[LOG_METADATA]);

		if (!JB_ROOT_IS_SCALAR(metadata))
		{
			value.type = jbvBinary;
			value.val.binary.data = &metadata->root;
			value.val.binary.len = VARSIZE(metadata) - VARHDRSZ;
		}
		else
			(void) JsonbExtractScalar(&metadata->root, &value);
	}
	(void) pushJsonbValue(&parse, WJB_VALUE, &value);
	push_text(&parse, WJB_KEY, "stream", strlen("stream"));
	if (row != NULL)
		push_text(&parse, WJB_VALUE, VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
	else
		(void) pushJsonbValue(&parse, WJB_VALUE, &(JsonbValue) {.type = jbvNull});
	push_text(&parse, WJB_KEY, "type", strlen("type"));
	if (row != NULL)
	{
		text	   *type = DatumGetTextPP(row[LOG_EVENT_TYPE]);

		push_text(&parse, WJB_VALUE, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
	}
	else
		(void) pushJsonbValue(&parse, WJB_VALUE, &(JsonbValue) {.type = jbvNull});
	return JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
}

static Jsonb *
empty_object(void)
{
	JsonbParseState *parse = NULL;

	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
}

/* The first item of the path, NULL if there is none. */
static Jsonb *
first_item(JsonPath *path, Jsonb *document, Jsonb *vars)
{
	LOCAL_FCINFO(fcinfo, 4);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {JsonbPGetDatum(document), false};
	fcinfo->args[1] = (NullableDatum) {PointerGetDatum(path), false};
	fcinfo->args[2] = (NullableDatum) {JsonbPGetDatum(vars), false};
	fcinfo->args[3] = (NullableDatum) {BoolGetDatum(true), false};	/* silent */
	result = jsonb_path_query_first(fcinfo);
	return fcinfo->isnull ? NULL : DatumGetJsonbP(result);
}

/*
 * Make a path ready, palloc'd; `path` is kept.  It is tried once, on an event
 * without data, so that the server complains of a variable that there is not now and
 * not at the first event.
 */
EsPath *
es_path_make(JsonPath *path)
{
	EsPath	   *result = palloc(sizeof(EsPath));
	char	   *string = DatumGetCString(DirectFunctionCall1(jsonpath_out, PointerGetDatum(path)));

	result->path = path;
	/* a string that looks like one costs time, no more */
	result->variables = strstr(string, "$\"") != NULL;
	pfree(string);
	(void) first_item(path, empty_object(), variables(NULL, NULL, NULL));
	return result;
}

/*
 * The first item that the path finds in an event (a row of event_log of a store
 * that keeps data so), NULL if it finds none; palloc'd, with more in the current memory context.
 */
Jsonb *
es_path_value(const EsPath *path, EsPayload kept, text *stream, const Datum *row, const bool *nulls)
{
	return first_item(path->path, DatumGetJsonbP(es_payload_of_row(row, kept, ES_PAYLOAD_JSONB)),
					  path->variables ? variables(stream, row, nulls) : empty_object());
}

/*
 * Does the path hold for an event?  A condition does if it is true, any other
 * path if it finds something.
 */
bool
es_path_holds(const EsPath *path, EsPayload kept, text *stream, const Datum *row, const bool *nulls)
{
	Jsonb	   *item = es_path_value(path, kept, stream, row, nulls);
	JsonbValue	value;

	if (item == NULL)
		return false;
	if (!JB_ROOT_IS_SCALAR(item))
		return true;
	(void) JsonbExtractScalar(&item->root, &value);
	return value.type == jbvBool ? value.val.boolean : value.type != jbvNull;
}
