/*
 * link.c
 *		Events of a stream that point to events elsewhere.
 *
 * A link is an event of type $> whose data names the position of its target,
 * and the stream and version for those who read it as it is.  It is appended
 * like any event, so it has a version and a position of its own, after its
 * target's: whoever reads in order has passed the target when he comes to it.
 * Positions are never used again, so a link leads to its target or nowhere,
 * never to something else.  A link to a link leads to that one's target.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/json.h"
#include "log/append.h"
#include "log/link.h"
#include "log/scan.h"
#include "log/stream.h"
#include "store/event_id.h"
#include "store/payload.h"

#define LINK_TYPE	"$>"

/* The position that a link leads to, 0 if the row is no link. */
static int64
link_position(const EsStore *store, const Datum *row)
{
	text	   *type = DatumGetTextPP(row[LOG_EVENT_TYPE]);
	Jsonb	   *data;
	JsonbValue	value;

	if (VARSIZE_ANY_EXHDR(type) != strlen(LINK_TYPE) || memcmp(VARDATA_ANY(type), LINK_TYPE, strlen(LINK_TYPE)) != 0)
		return 0;
	data = DatumGetJsonbP(es_payload_of_row(row, store->payload, ES_PAYLOAD_JSONB));
	if (!JB_ROOT_IS_OBJECT(data) ||
		getKeyJsonValueFromContainer(&data->root, "position", strlen("position"), &value) == NULL ||
		value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

/*
 * If the row is a link whose target the snapshot (and row-level security) lets
 * the caller see, give that to the sink; tells whether it did.
 */
bool
es_link_resolve(EsStore *store, Relation log, const Datum *row, Snapshot snapshot, EsEventSink sink, void *target)
{
	int64		position = link_position(store, row);

	return position > 0 && es_read_position(store, log, position, snapshot, sink, target);
}

/* What a link has to know of its target. */
typedef struct Target
{
	int64		position;		/* 0: not found */
	int64		version;
	char	   *stream;
} Target;

/* Sink: take an event as the target. */
static void
take_target(void *target, text *stream, const Datum *row, const bool *nulls)
{
	*(Target *) target = (Target) {
		.position = DatumGetInt64(row[LOG_POSITION]),
		.version = DatumGetInt64(row[LOG_VERSION]),
		.stream = text_to_cstring(stream)
	};
}

/* Find the event with an id, or where it leads if it is a link. */
static void
find_target(const pg_uuid_t *id, Target *target)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	Snapshot	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;

	target->position = 0;
	es_scan_event_id(&scan, store, log, id, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
	{
		if (link_position(store, values) == 0)
			take_target(target, es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot), values, nulls);
		else
			(void) es_link_resolve(store, log, values, snapshot, take_target, target);
	}
	es_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	table_close(log, NoLock);
	if (target->position == 0)
	{
		char	   *text = es_event_id_to_string(id);

		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("event_id", text)),
							"there is no event with id %s to link to", text),
				 errhint("Link to an event that event_store.event() returns, or to a link that leads to one.")));
	}
}

PG_FUNCTION_INFO_V1(event_store_link_event);

Datum
event_store_link_event(PG_FUNCTION_ARGS)
{
	EsEvent		event = {.type = cstring_to_text(LINK_TYPE)};
	EsAppend	part = {.count = 1, .system = true};
	Target		target;
	StringInfoData json;

	es_require_argument(fcinfo, 0, "stream");
	es_require_argument(fcinfo, 1, "event_id");
	es_require_argument(fcinfo, 2, "expected");
	part.stream = PG_GETARG_TEXT_PP(0);
	part.expected = PG_GETARG_INT64(2);
	es_stream_check_name(part.stream);
	find_target(PG_GETARG_UUID_P(1), &target);

	initStringInfo(&json);
	appendStringInfo(&json, "{\"position\":" INT64_FORMAT ",\"version\":" INT64_FORMAT ",\"stream\":",
					 target.position, target.version);
	escape_json(&json, target.stream);
	appendStringInfoChar(&json, '}');
	event.data = es_jsonb_in(cstring_to_text(json.data));
	return es_append_one(fcinfo, &part, &event, NULL);
}
