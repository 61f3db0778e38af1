/*
 * key.c
 *		The keys by which events are kept in order.
 *
 * Events of one key are handled one after the other, in order of position;
 * events of different keys may be handled side by side.  A key is known by its
 * hash alone: two keys that share one are kept in order too, which costs a
 * little and breaks nothing.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

#include "base/errors.h"
#include "deliver/key.h"
#include "log/stream.h"

static const struct
{
	const char *name;
	EsKeyKind	kind;
}			kinds[] = {
	{"stream", ES_KEY_STREAM},
	{"category", ES_KEY_CATEGORY},
	{"correlation", ES_KEY_CORRELATION},
	{"all", ES_KEY_ALL},
	{"none", ES_KEY_NONE},
};

/*
 * What partition_by says, palloc'd: stream, category, correlation, all (one key
 * for everything), none (each event is a key of its own) or a jsonpath over
 * events (deliver/path).
 */
EsKeyRule *
es_key_parse(const char *partition_by)
{
	EsKeyRule  *rule = palloc0(sizeof(EsKeyRule));

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(partition_by, kinds[i].name) == 0)
		{
			rule->kind = kinds[i].kind;
			return rule;
		}
	if (strchr(partition_by, '$') == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("partition_by", partition_by)),
							"partition_by \"%s\" is unknown", partition_by),
				 errhint("Use stream, category, correlation, all, none or a jsonpath such as $.customer.")));
	rule->kind = ES_KEY_PATH;
	rule->path = es_path_make(DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in, CStringGetDatum(partition_by))));
	return rule;
}

static int64
hash_of(EsKeyKind kind, const void *data, int length)
{
	return (int64) hash_bytes_extended((const unsigned char *) data, length, kind);
}

/*
 * The key of an event, a row of event_log with data as kept says.  One that has not got what the rule
 * asks for goes by its stream.
 */
int64
es_key_of(const EsKeyRule *rule, EsPayload kept, text *stream, const Datum *row, const bool *nulls)
{
	int64		stream_id = DatumGetInt64(row[LOG_STREAM_ID]);
	Jsonb	   *value;

	switch (rule->kind)
	{
		case ES_KEY_STREAM:
			break;
		case ES_KEY_CATEGORY:
			return hash_of(ES_KEY_CATEGORY, VARDATA_ANY(stream),
						   es_stream_category_length(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream)));
		case ES_KEY_CORRELATION:
			if (!nulls[LOG_CORRELATION_ID])
				return hash_of(ES_KEY_CORRELATION, DatumGetUUIDP(row[LOG_CORRELATION_ID]), UUID_LEN);
			break;
		case ES_KEY_ALL:
			return 0;
		case ES_KEY_NONE:
			return DatumGetInt64(row[LOG_POSITION]);
		case ES_KEY_PATH:
			value = es_path_value(rule->path, kept, stream, row, nulls);
			if (value != NULL)
				return DatumGetInt64(DirectFunctionCall2(jsonb_hash_extended, JsonbPGetDatum(value),
														 Int64GetDatum(ES_KEY_PATH)));
			break;
	}
	return hash_of(ES_KEY_STREAM, &stream_id, sizeof(stream_id));
}
