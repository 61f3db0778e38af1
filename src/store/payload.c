/*
 * payload.c
 *		What a store keeps its events' data as: jsonb, JSON text or bytes.
 *
 * The kind of a store is the type of the column event_log.data, so it is
 * dumped, copied and attached with the table and nothing else has to know it.
 *
 * Each kind can be had as each other.  Between jsonb and JSON text the server's
 * rules hold; JSON text was checked when it was appended for being good as jsonb
 * too.  Bytes stand in JSON as a string in base64, as is the custom.  Only
 * events that the extension itself appends (links and the like, with types that
 * begin with $) are JSON in a store of bytes too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/base64.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/errors.h"
#include "base/json.h"
#include "store/payload.h"

static const struct
{
	const char *name;
	Oid			type;
}			kinds[] = {
	[ES_PAYLOAD_JSONB] = {"jsonb", JSONBOID},
	[ES_PAYLOAD_JSON] = {"json", JSONOID},
	[ES_PAYLOAD_BYTEA] = {"bytea", BYTEAOID},
};

const char *
es_payload_name(EsPayload payload)
{
	return kinds[payload].name;
}

/* The type of the column. */
Oid
es_payload_type(EsPayload payload)
{
	return kinds[payload].type;
}

/* The kind that a type stands for; false: none. */
bool
es_payload_of_type(Oid type, EsPayload *payload)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (kinds[i].type == type)
		{
			*payload = i;
			return true;
		}
	return false;
}

EsPayload
es_payload_argument(text *argument)
{
	char	   *name = text_to_cstring(argument);

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(name, kinds[i].name) == 0)
			return i;
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("payload", name)),
						"payload \"%s\" is unknown", name),
			 errhint("Use jsonb, json or bytea.")));
}

/* Bytes from base64, with or without white space in it, palloc'd; NULL if it is something else. */
bytea *
es_payload_from_base64(const char *string, int length)
{
	char	   *packed = palloc(length + 1);
	int			size = 0;
	bytea	   *result;

	for (int i = 0; i < length; i++)
		if (string[i] != ' ' && string[i] != '\t' && string[i] != '\n' && string[i] != '\r')
			packed[size++] = string[i];
	result = palloc(VARHDRSZ + pg_b64_dec_len(size));
	size = pg_b64_decode(packed, size, (void *) VARDATA(result), pg_b64_dec_len(size));
	pfree(packed);
	if (size < 0)
		return NULL;
	SET_VARSIZE(result, VARHDRSZ + size);
	return result;
}

/* Bytes as a JSON string in base64, with its quotes. */
static text *
base64_string(bytea *bytes)
{
	int			room = pg_b64_enc_len(VARSIZE_ANY_EXHDR(bytes));
	text	   *result = palloc(VARHDRSZ + room + 2);
	char	   *c = VARDATA(result);
	int			length = pg_b64_encode((void *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), c + 1, room);

	Assert(length >= 0);
	c[0] = c[length + 1] = '"';
	SET_VARSIZE(result, VARHDRSZ + length + 2);
	return result;
}

/*
 * Data that is kept as one kind as another, palloc'd unless nothing has to be
 * done.  Bytes that are asked for are those of the JSON text; bytes that are
 * kept are a string in JSON, but for a system's event.
 */
Datum
es_payload_convert(Datum data, EsPayload from, EsPayload to, bool system)
{
	text	   *json;

	if (from == to || (from == ES_PAYLOAD_JSON && to == ES_PAYLOAD_BYTEA))
		return data;
	if (from == ES_PAYLOAD_JSONB)
	{
		Jsonb	   *jsonb = DatumGetJsonbP(data);

		return CStringGetTextDatum(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)));
	}
	json = DatumGetTextPP(data);
	if (from == ES_PAYLOAD_BYTEA && !system)
		json = base64_string(json);
	return to == ES_PAYLOAD_JSONB ? JsonbPGetDatum(es_jsonb_in(json)) : PointerGetDatum(json);
}

/* The data of a row of event_log, likewise. */
Datum
es_payload_of_row(const Datum *row, EsPayload from, EsPayload to)
{
	text	   *type;

	if (likely(from == to))
		return row[LOG_DATA];
	type = DatumGetTextPP(row[LOG_EVENT_TYPE]);
	return es_payload_convert(row[LOG_DATA], from, to, *VARDATA_ANY(type) == '$');
}
