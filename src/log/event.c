/*
 * event.c
 *		New events: taking them from the caller, checking them.
 *
 * Everything here runs before any lock is taken.  An error names the event by
 * its index, from 0 as in JSON, and the member.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "log/event.h"
#include "log/stream.h"
#include "store/payload.h"

/* Members of an event in JSON and fields of the type new_event, in its order. */
enum EventMember
{
	MEMBER_TYPE,
	MEMBER_DATA,
	MEMBER_METADATA,
	MEMBER_EVENT_ID,
	MEMBER_CORRELATION_ID,
	MEMBER_CAUSATION_ID,
	MEMBER_CREATED_AT,
	NMEMBERS
};

static const char *const member_names[NMEMBERS] = {
	"type", "data", "metadata", "event_id", "correlation_id", "causation_id", "created_at"
};

#define SHAPE_HINT \
	errhint("An event is {\"type\": text, \"data\": any JSON} with optional metadata (an object), event_id, correlation_id, causation_id (UUIDs) and created_at (a time).")

static void
bad_member(int index, const char *member, const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_INT("index", index), ES_TEXT("member", member)),
						"%s of event %d %s", member, index, what),
			 SHAPE_HINT));
}

/* Refuse an append of no events, or of too many. */
void
es_events_check_count(int64 count)
{
	if (count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "there are no events to append"),
				 errhint("Pass at least one event.")));
	if (count > es_max_batch_events)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("events", count), ES_INT("limit", es_max_batch_events)),
							"%lld events are more than the limit of %d for one append",
							(long long) count, es_max_batch_events),
				 errhint("Append in several calls, in one transaction if they belong together, or raise event_store.max_batch_events.")));
}

static text *
text_member(const JsonbValue *value, int index, int member)
{
	if (value->type != jbvString)
		bad_member(index, member_names[member], "is not a string");
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/*
 * Read a UUID in any of the forms that uuid_in takes: in braces or not, with a
 * hyphen after any group of four digits or not; false if it is none.
 */
static bool
parse_uuid(const char *string, int length, pg_uuid_t *id)
{
	const char *c = string;
	const char *end = string + length;

	if (length >= 2 && *c == '{' && end[-1] == '}')
	{
		c++;
		end--;
	}
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high = end - c >= 2 ? es_hex_digit(c[0]) : -1;
		int			low = end - c >= 2 ? es_hex_digit(c[1]) : -1;

		if (high < 0 || low < 0)
			return false;
		id->data[i] = high << 4 | low;
		c += 2;
		if (i % 2 == 1 && i < UUID_LEN - 1 && c < end && *c == '-')
			c++;
	}
	return c == end;
}

static pg_uuid_t *
uuid_member(const JsonbValue *value, int index, int member)
{
	pg_uuid_t  *id;

	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		bad_member(index, member_names[member], "is not a string");

	/* not by uuid_in, whose error would not name the event */
	id = palloc(sizeof(pg_uuid_t));
	if (!parse_uuid(value->val.string.val, value->val.string.len, id))
		bad_member(index, member_names[member], "is not a UUID");
	return id;
}

/*
 * A time as text.  The server's own parser reads it; what it refuses is raised
 * again with the event's index.
 */
static TimestampTz
time_member(const JsonbValue *value, int index)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *string;
	volatile TimestampTz time = 0;

	if (value->type != jbvString)
		bad_member(index, member_names[MEMBER_CREATED_AT], "is not a string");
	string = pnstrdup(value->val.string.val, value->val.string.len);
	PG_TRY();
	{
		time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(string),
													   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		bad_member(index, member_names[MEMBER_CREATED_AT], "is not a time");
	}
	PG_END_TRY();
	return time;
}

/* Which member is it?  NMEMBERS: none. */
static int
find_member(const char *name, int length)
{
	int			member = 0;

	while (member < NMEMBERS &&
		   (length != strlen(member_names[member]) || memcmp(name, member_names[member], length) != 0))
		member++;
	return member;
}

/*
 * Read one event from a JSON object.  Walks its members once; an unknown one
 * is an error, since it is most likely a misspelt known one.
 */
static void
event_from_object(JsonbContainer *object, int index, EsEvent *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		seen[NMEMBERS] = {0};

	token = JsonbIteratorNext(&iterator, &value, true);
	Assert(token == WJB_BEGIN_OBJECT);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_KEY)
	{
		int			member = find_member(value.val.string.val, value.val.string.len);

		if (member == NMEMBERS)
			bad_member(index, pnstrdup(value.val.string.val, value.val.string.len), "is not a known member");

		(void) JsonbIteratorNext(&iterator, &value, true);
		seen[member] = value.type != jbvNull;
		switch (member)
		{
			case MEMBER_TYPE:
				event->type = text_member(&value, index, member);
				break;
			case MEMBER_DATA:
				event->data = seen[member] ? JsonbValueToJsonb(&value) : NULL;
				break;
			case MEMBER_METADATA:
				event->metadata = seen[member] ? JsonbValueToJsonb(&value) : NULL;
				break;
			case MEMBER_EVENT_ID:
				event->event_id = uuid_member(&value, index, member);
				break;
			case MEMBER_CORRELATION_ID:
				event->correlation_id = uuid_member(&value, index, member);
				break;
			case MEMBER_CAUSATION_ID:
				event->causation_id = uuid_member(&value, index, member);
				break;
			case MEMBER_CREATED_AT:
				event->has_created_at = seen[member];
				if (seen[member])
					event->created_at = time_member(&value, index);
				break;
		}
	}
}

/*
 * The events of a JSON array, or of one object, in an array palloc'd here.
 * Shapes are checked, contents are not yet.
 */
EsEvent *
es_events_from_jsonb(Jsonb *events, int *count)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	EsEvent    *result;
	int			n = 0;

	if (JB_ROOT_IS_OBJECT(events))
	{
		result = palloc0(sizeof(EsEvent));
		event_from_object(&events->root, 0, result);
		*count = 1;
		return result;
	}
	if (JB_ROOT_IS_SCALAR(events))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "events is not a JSON array"),
				 SHAPE_HINT));

	es_events_check_count(JB_ROOT_COUNT(events));
	result = palloc0(mul_size(sizeof(EsEvent), JB_ROOT_COUNT(events)));
	iterator = JsonbIteratorInit(&events->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("index", n)),
								"event %d is not a JSON object", n),
					 SHAPE_HINT));
		event_from_object(value.val.binary.data, n, &result[n]);
		n++;
	}
	*count = n;
	return result;
}

/* A UUID or null.  False: neither. */
static bool
uuid_from_node(const EsJsonNode *node, pg_uuid_t **id)
{
	*id = NULL;
	if (node->kind == ES_JSON_NULL)
		return true;
	if (node->kind != ES_JSON_STRING)
		return false;
	*id = palloc(sizeof(pg_uuid_t));
	return parse_uuid(node->val.text, node->size, *id);
}

/*
 * An event of parsed text.  False if anything about it is wrong or unusual.
 * The time comes last, since its error is raised here.  Data that is kept as
 * text is left to es_events_keep_text.
 */
static bool
event_from_node(const EsJsonNode *object, int index, EsPayload payload, EsEvent *event)
{
	const EsJsonNode *key = object + 1;
	const EsJsonNode *created_at = NULL;

	if (object->kind != ES_JSON_OBJECT)
		return false;
	for (uint32 i = 0; i < object->size; i++)
	{
		const EsJsonNode *value = key + 1;

		switch (find_member(key->val.text, key->size))
		{
			case MEMBER_TYPE:
				if (value->kind != ES_JSON_STRING)
					return false;
				event->type = cstring_to_text_with_len(value->val.text, value->size);
				break;
			case MEMBER_DATA:
				if (payload != ES_PAYLOAD_JSON)
					event->data = value->kind != ES_JSON_NULL ? es_json_to_jsonb(value) : NULL;
				break;
			case MEMBER_METADATA:
				event->metadata = value->kind != ES_JSON_NULL ? es_json_to_jsonb(value) : NULL;
				break;
			case MEMBER_EVENT_ID:
				if (!uuid_from_node(value, &event->event_id))
					return false;
				break;
			case MEMBER_CORRELATION_ID:
				if (!uuid_from_node(value, &event->correlation_id))
					return false;
				break;
			case MEMBER_CAUSATION_ID:
				if (!uuid_from_node(value, &event->causation_id))
					return false;
				break;
			case MEMBER_CREATED_AT:
				created_at = value;
				break;
			default:
				return false;
		}
		key = es_json_next(value);
	}

	event->has_created_at = created_at != NULL && created_at->kind != ES_JSON_NULL;
	if (event->has_created_at)
	{
		JsonbValue	value = {.type = jbvString};

		if (created_at->kind != ES_JSON_STRING)
			return false;
		value.val.string.val = unconstify(char *, created_at->val.text);
		value.val.string.len = created_at->size;
		event->created_at = time_member(&value, index);
	}
	return true;
}

/* The events of parsed text, NULL if anything about them is wrong or unusual. */
static EsEvent *
events_from_nodes(const EsJsonNode *root, EsPayload payload, int *count)
{
	const EsJsonNode *node = root->kind == ES_JSON_ARRAY ? root + 1 : root;
	uint32		n = root->kind == ES_JSON_ARRAY ? root->size : 1;
	EsEvent    *result;

	if (n == 0 || n > es_max_batch_events)
		return NULL;
	result = palloc0(mul_size(sizeof(EsEvent), n));
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!event_from_node(node, i, payload, &result[i]))
			return NULL;
		node = es_json_next(node);
	}
	*count = n;
	return result;
}

/* Take the data of an event, a part of its text, as it stands there. */
static void
keep_text(EsEvent *event, const EsJsonPart *object)
{
	EsJsonPart	data;

	event->data = NULL;
	event->payload = ES_PAYLOAD_JSON;
	if (es_json_part_member(object, member_names[MEMBER_DATA], &data) && !es_json_part_is_null(&data))
		event->data = cstring_to_text_with_len(data.start, data.stop - data.start);
}

/*
 * Take the data of events as it stands in the text from which they were read,
 * an array of them or one object.
 */
void
es_events_keep_text(EsEvent *events, int count, const EsJsonPart *json)
{
	EsJsonPart	element = {NULL};

	if (*json->start != '[')
		keep_text(&events[0], json);
	else
		for (int i = 0; i < count && es_json_part_element(json, &element); i++)
			keep_text(&events[i], &element);
}

/*
 * The events of JSON text, as es_events_from_jsonb takes them of its jsonb.
 * That is also what is done unless all is well here, so errors are the same.
 * For a store that keeps JSON text, payload says so, and their data is what
 * stands in this one.
 */
EsEvent *
es_events_from_text(const text *json, EsPayload payload, int *count)
{
	EsJsonNode *nodes = es_json_parse(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	EsEvent    *result = nodes != NULL ? events_from_nodes(nodes, payload, count) : NULL;

	if (result == NULL)
		result = es_events_from_jsonb(es_jsonb_in_server(json), count);
	if (payload == ES_PAYLOAD_JSON)
	{
		EsJsonPart	part = es_json_part(json);

		es_events_keep_text(result, *count, &part);
	}
	return result;
}

/*
 * The data of an event as its own JSON text: for a store that keeps JSON text
 * the same text, which must be good as jsonb too, else a jsonb.
 */
void *
es_event_data_in(const text *json, EsPayload payload)
{
	if (payload != ES_PAYLOAD_JSON)
		return es_jsonb_in(json);
	if (es_json_parse(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json)) == NULL)
		(void) es_jsonb_in_server(json);
	return unconstify(text *, json);
}

/* The events of an array of new_event or new_event_bytes, likewise. */
EsEvent *
es_events_from_array(ArrayType *events, int *count)
{
	Oid			type = ARR_ELEMTYPE(events);
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	EsPayload	payload = ES_PAYLOAD_JSONB;
	Datum	   *elements;
	bool	   *element_nulls;
	EsEvent    *result;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	int			n;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	es_events_check_count(ArrayGetNItems(ARR_NDIM(events), ARR_DIMS(events)));
	deconstruct_array(events, type, typlen, typbyval, typalign, &elements, &element_nulls, &n);
	if (desc->natts != NMEMBERS)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH, NULL, "type event_store.new_event has been altered"),
				 errhint("Undo the change of the type.")));
	if (TupleDescAttr(desc, MEMBER_DATA)->atttypid == BYTEAOID)
		payload = ES_PAYLOAD_BYTEA;
	result = palloc0(mul_size(sizeof(EsEvent), n));
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header;
		HeapTupleData tuple;
		Datum		values[NMEMBERS];
		bool		nulls[NMEMBERS];
		EsEvent    *event = &result[i];

		CHECK_FOR_INTERRUPTS();
		if (element_nulls[i])
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_INT("index", i)),
								"event %d is null", i),
					 errhint("Every element of the array must be a new_event.")));
		header = DatumGetHeapTupleHeader(elements[i]);
		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = header;
		heap_deform_tuple(&tuple, desc, values, nulls);

		if (!nulls[MEMBER_TYPE])
			event->type = DatumGetTextPP(values[MEMBER_TYPE]);
		event->payload = payload;
		if (!nulls[MEMBER_DATA])
			event->data = payload == ES_PAYLOAD_BYTEA ? (void *) DatumGetByteaPP(values[MEMBER_DATA]) :
				(void *) DatumGetJsonbP(values[MEMBER_DATA]);
		if (!nulls[MEMBER_METADATA])
			event->metadata = DatumGetJsonbP(values[MEMBER_METADATA]);
		if (!nulls[MEMBER_EVENT_ID])
			event->event_id = DatumGetUUIDP(values[MEMBER_EVENT_ID]);
		if (!nulls[MEMBER_CORRELATION_ID])
			event->correlation_id = DatumGetUUIDP(values[MEMBER_CORRELATION_ID]);
		if (!nulls[MEMBER_CAUSATION_ID])
			event->causation_id = DatumGetUUIDP(values[MEMBER_CAUSATION_ID]);
		event->has_created_at = !nulls[MEMBER_CREATED_AT];
		if (event->has_created_at)
			event->created_at = DatumGetTimestampTz(values[MEMBER_CREATED_AT]);
	}
	ReleaseTupleDesc(desc);
	*count = n;
	return result;
}

/*
 * Is a JSON value nested deeper than so many levels?  Looks at the structure
 * in place, without the iterator, which would copy each level; containers
 * follow each other in the order of the entries.
 */
static bool
deeper_than(JsonbContainer *container, int levels)
{
	uint32		count = JsonContainerSize(container);
	char	   *base;

	check_stack_depth();
	if (levels == 0)
		return true;
	if (JsonContainerIsObject(container))
		count *= 2;
	base = (char *) &container->children[count];
	for (uint32 i = 0; i < count; i++)
		if (JBE_ISCONTAINER(container->children[i]) &&
			deeper_than((JsonbContainer *) (base + INTALIGN(getJsonbOffset(container, i))), levels - 1))
			return true;
	return false;
}

static void
check_depth(bool too_deep, int index, const char *member)
{
	if (too_deep)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("index", index), ES_TEXT("member", member),
									   ES_INT("limit", es_max_json_depth)),
							"%s of event %d is nested deeper than the limit of %d levels",
							member, index, es_max_json_depth),
				 errhint("Flatten it, or raise event_store.max_json_depth.")));
}

static void
check_json(Jsonb *json, int index, const char *member)
{
	/* a scalar is stored in an array of its own, which is no level */
	check_depth(!JB_ROOT_IS_SCALAR(json) && deeper_than(&json->root, es_max_json_depth), index, member);
}

/* The size of an event as it is stored; refuses one that is too large. */
static Size
check_size(const EsEvent *event, int index)
{
	Size		size = VARSIZE_ANY_EXHDR(event->type) + VARHDRSZ + VARSIZE_ANY_EXHDR(event->data) +
		(event->metadata ? VARSIZE(event->metadata) : 0);

	if (size > (Size) es_max_event_size * 1024)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("index", index), ES_INT("size", size),
									   ES_INT("limit", (int64) es_max_event_size * 1024)),
							"event %d has %zu bytes, more than the limit of %d kB",
							index, size, es_max_event_size),
				 errhint("Store large content elsewhere and refer to it, or raise event_store.max_event_size.")));
	return size;
}

/* The index of the first event whose id an earlier one has too, -1 if there is none. */
int
es_events_find_duplicate(EsEvent *events, int count)
{
	HASHCTL		ctl = {.keysize = UUID_LEN, .entrysize = UUID_LEN, .hcxt = CurrentMemoryContext};
	HTAB	   *ids = NULL;
	int			result = -1;

	for (int i = 0; i < count && result < 0; i++)
	{
		bool		found;

		if (events[i].event_id == NULL)
			continue;
		if (ids == NULL)
			ids = hash_create("event ids", count, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		hash_search(ids, events[i].event_id, HASH_ENTER, &found);
		if (found)
			result = i;
	}
	if (ids != NULL)
		hash_destroy(ids);
	return result;
}

/*
 * Put the trace context of the session (event_store.traceparent), if it has
 * one, into the metadata of events that bring none of their own.
 */
void
es_events_add_trace(EsEvent *events, int count)
{
	static const char name[] = "traceparent";
	Datum		trace;

	if (es_traceparent[0] == '\0')
		return;
	/* checked when it was set: nothing in it needs quoting */
	trace = DirectFunctionCall1(jsonb_in, CStringGetDatum(psprintf("{\"%s\": \"%s\"}", name, es_traceparent)));
	for (int i = 0; i < count; i++)
	{
		Jsonb	   *metadata = events[i].metadata;
		JsonbValue	room;

		CHECK_FOR_INTERRUPTS();
		if (metadata == NULL)
			events[i].metadata = DatumGetJsonbP(trace);
		else if (JB_ROOT_IS_OBJECT(metadata) &&
				 getKeyJsonValueFromContainer(&metadata->root, name, strlen(name), &room) == NULL)
			events[i].metadata = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(metadata), trace));
	}
}

/* Check contents and limits of the events, each by itself; returns their size together. */
int64
es_events_check(EsEvent *events, int count)
{
	int64		total = 0;

	for (int i = 0; i < count; i++)
	{
		EsEvent    *event = &events[i];

		CHECK_FOR_INTERRUPTS();
		if (event->type == NULL)
			bad_member(i, "type", "is missing");
		if (event->data == NULL)
			bad_member(i, "data", "is missing or null");
		es_name_check(event->type, "type", i);
		if (event->metadata != NULL && !JB_ROOT_IS_OBJECT(event->metadata))
			bad_member(i, "metadata", "is not an object");
		if (event->has_created_at && TIMESTAMP_NOT_FINITE(event->created_at))
			bad_member(i, "created_at", "is not a finite time");

		total += check_size(event, i);
		if (event->payload == ES_PAYLOAD_JSONB)
			check_json(event->data, i, "data");
		else if (event->payload == ES_PAYLOAD_JSON)
			check_depth(es_json_text_depth(event->data) > es_max_json_depth, i, "data");
		if (event->metadata != NULL)
			check_json(event->metadata, i, "metadata");
	}
	return total;
}

/* Data that came as JSON as the bytes that it stands for. */
static bytea *
bytes_from_json(const EsEvent *event, int index)
{
	Jsonb	   *json = DatumGetJsonbP(es_payload_convert(PointerGetDatum(event->data), event->payload, ES_PAYLOAD_JSONB, true));
	JsonbValue	value;
	bytea	   *bytes = NULL;

	if (JsonbExtractScalar(&json->root, &value) && value.type == jbvString)
		bytes = es_payload_from_base64(value.val.string.val, value.val.string.len);
	if (bytes == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH, ES_MEMBERS(ES_INT("index", index), ES_TEXT("member", "data")),
							"data of event %d is not a string in base64", index),
				 errhint("The store keeps bytes. Pass data as bytea, or in JSON as a string in base64.")));
	return bytes;
}

/*
 * Turn the data of an event into what the store keeps; returns by how much its
 * size has grown.  Events of the system, whose sizes do not count, are JSON in
 * every store.
 */
int64
es_event_fit(EsEvent *event, int index, const EsStore *store)
{
	int64		size = VARSIZE_ANY_EXHDR(event->data);
	bool		system = *VARDATA_ANY(event->type) == '$';

	if (likely(event->payload == store->payload))
		return 0;
	if (event->payload == ES_PAYLOAD_BYTEA)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_INT("index", index),
									   ES_TEXT("payload", es_payload_name(store->payload))),
							"data of event %d is bytea, event store \"%s\" keeps %s", index,
							NameStr(store->schema), es_payload_name(store->payload)),
				 errhint("Append JSON here, or to a store that was made with payload => 'bytea'.")));
	if (store->payload == ES_PAYLOAD_BYTEA && !system)
		event->data = bytes_from_json(event, index);
	else
		event->data = DatumGetPointer(es_payload_convert(PointerGetDatum(event->data), event->payload, store->payload, system));
	event->payload = store->payload;
	if (!system)
		(void) check_size(event, index);
	return system ? 0 : (int64) VARSIZE_ANY_EXHDR(event->data) - size;
}
