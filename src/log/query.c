/*
 * query.c
 *		Queries over the types and tags of events: their form, and the events that match.
 *
 * A query is a list of items, of which an event has to match one.  If every
 * item has tags and the store keeps an index of tags (event_tags, see log/tag),
 * the candidates of an item are the positions that stand under all of its tags:
 * the lists are walked side by side, each jumping to where another one stands,
 * so the cost goes by the shortest of them.  Otherwise every event is a
 * candidate.  Either way it is the event itself that decides.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "log/query.h"
#include "log/tag.h"

#define SHAPE_HINT \
	errhint("A query is [{\"types\": [...], \"tags\": [...]}, ...]: an event matches an item if it has one of its types and all of its tags. Without types any type will do, without tags any event of the types.")

/* --- its form --- */

/* The query being read. */
typedef struct Reading
{
	const char *argument;		/* which it comes in */
	int			item;			/* that is being read */
	int64		terms;			/* so far: items, types and tags */
} Reading;

static void
bad_query(const Reading *reading, const char *member, const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("argument", reading->argument), ES_INT("item", reading->item), ES_TEXT("member", member)),
						"%s of item %d of the %s %s", member, reading->item, reading->argument, what),
			 SHAPE_HINT));
}

static void
add_terms(Reading *reading, int64 more)
{
	reading->terms += more;
	if (reading->terms > es_max_query_terms)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_TEXT("argument", reading->argument), ES_INT("limit", es_max_query_terms)),
							"the %s has more than the limit of %d items, types and tags", reading->argument, es_max_query_terms),
				 errhint("Ask for less at once, or raise event_store.max_query_terms.")));
}

/* A member of an item, a list of strings; null is an empty one. */
static text **
names_member(Reading *reading, const char *member, const JsonbValue *value, int *count)
{
	JsonbIterator *iterator;
	JsonbValue	element;
	text	  **names;
	int			n = 0;

	*count = 0;
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad_query(reading, member, "is not an array");
	add_terms(reading, JsonContainerSize(value->val.binary.data));
	names = palloc(mul_size(sizeof(text *), Max(JsonContainerSize(value->val.binary.data), 1)));
	iterator = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &element, true);
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		if (element.type != jbvString || element.val.string.len == 0)
			bad_query(reading, member, "holds something else than a name");
		names[n++] = cstring_to_text_with_len(element.val.string.val, element.val.string.len);
	}
	*count = n;
	return names;
}

static void
item_from_object(Reading *reading, JsonbContainer *object, EsQueryItem *item)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue	key;
	JsonbValue	value;

	add_terms(reading, 1);
	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		char	   *member = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&iterator, &value, true);
		if (strcmp(member, "types") == 0)
			item->types = names_member(reading, member, &value, &item->ntypes);
		else if (strcmp(member, "tags") == 0)
			item->tags = names_member(reading, member, &value, &item->ntags);
		else
			bad_query(reading, member, "is not a known member");
	}
}

/*
 * The query of a JSON array of items, or of one item, palloc'd.  Errors tell
 * the argument that it comes in.
 */
EsQuery *
es_query_from_jsonb(Jsonb *json, const char *argument)
{
	EsQuery    *query = palloc0(sizeof(EsQuery));
	Reading		reading = {.argument = argument};
	JsonbIterator *iterator;
	JsonbValue	value;

	if (JB_ROOT_IS_OBJECT(json))
	{
		query->nitems = 1;
		query->items = palloc0(sizeof(EsQueryItem));
		item_from_object(&reading, &json->root, query->items);
	}
	else
	{
		if (JB_ROOT_IS_SCALAR(json) || JB_ROOT_COUNT(json) == 0)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", argument)),
								"the %s %s", argument,
								JB_ROOT_IS_SCALAR(json) ? "is neither an array nor an object" : "has no items"),
					 SHAPE_HINT));
		query->items = palloc0(mul_size(sizeof(EsQueryItem), Min(JB_ROOT_COUNT(json), es_max_query_terms + 1)));
		iterator = JsonbIteratorInit(&json->root);
		(void) JsonbIteratorNext(&iterator, &value, true);
		while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
		{
			reading.item = query->nitems;
			if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
				ereport(ERROR,
						(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
									ES_MEMBERS(ES_TEXT("argument", argument), ES_INT("item", reading.item)),
									"item %d of the %s is not a JSON object", reading.item, argument),
						 SHAPE_HINT));
			item_from_object(&reading, value.val.binary.data, &query->items[query->nitems++]);
		}
	}

	query->tagged = true;
	for (int i = 0; i < query->nitems; i++)
		query->tagged = query->tagged && query->items[i].ntags > 0;
	return query;
}

/* --- the events that match --- */

static bool
matches_item(const EsQueryItem *item, text *type, Jsonb *metadata)
{
	bool		found = item->ntypes == 0;

	for (int i = 0; i < item->ntypes && !found; i++)
		found = VARSIZE_ANY_EXHDR(item->types[i]) == VARSIZE_ANY_EXHDR(type) &&
			memcmp(VARDATA_ANY(item->types[i]), VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)) == 0;
	return found && (item->ntags == 0 || (metadata != NULL && es_tags_include(metadata, item->tags, item->ntags)));
}

static bool
matches(const EsQuery *query, const Datum *row, const bool *nulls)
{
	text	   *type = DatumGetTextPP(row[LOG_EVENT_TYPE]);
	Jsonb	   *metadata = nulls[LOG_METADATA] ? NULL : DatumGetJsonbP(row[LOG_METADATA]);
	bool		result = false;

	for (int i = 0; i < query->nitems && !result; i++)
		result = matches_item(&query->items[i], type, metadata);
	if ((Pointer) type != DatumGetPointer(row[LOG_EVENT_TYPE]))
		pfree(type);
	if (metadata != NULL && (Pointer) metadata != DatumGetPointer(row[LOG_METADATA]))
		pfree(metadata);
	return result;
}

static void
step(EsTagCursor *cursor)
{
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	cursor->position = index_getnext_slot(cursor->desc, ForwardScanDirection, cursor->slot) ?
		DatumGetInt64(slot_getattr(cursor->slot, TAGS_POSITION + 1, &isnull)) : PG_INT64_MAX;
}

/* Bring a cursor to its first position that is not below low. */
static void
seek(EsTagCursor *cursor, int64 low)
{
	ScanKeyData keys[2];

	/* often the next one is the one, and a descent is saved */
	if (cursor->position > 0 && cursor->position < low)
		step(cursor);
	if (cursor->position >= low)
		return;
	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, PointerGetDatum(cursor->tag));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	index_rescan(cursor->desc, keys, 2, NULL, 0);
	step(cursor);
}

/* The first position from low on at which all cursors agree, PG_INT64_MAX if there is none. */
static int64
agree(EsTagCursor *cursors, int count, int64 low)
{
	int			agreed = 0;

	for (int i = 0; agreed < count; i = (i + 1) % count)
	{
		seek(&cursors[i], low);
		if (cursors[i].position == PG_INT64_MAX)
			return PG_INT64_MAX;
		agreed = cursors[i].position == low ? agreed + 1 : 1;
		low = cursors[i].position;
	}
	return low;
}

/*
 * Begin to read the events with low <= position <= high that match, in the
 * order of positions.  Locks, snapshot and SPI as for es_scan_log.
 */
void
es_query_scan_begin(EsQueryScan *scan, const EsQuery *query, EsStore *store, Relation log,
					int64 low, int64 high, Snapshot snapshot)
{
	*scan = (EsQueryScan) {.query = query, .store = store, .log = log, .snapshot = snapshot, .low = low, .high = high};
	if (!query->tagged || !OidIsValid(store->tags))
	{
		es_scan_log(&scan->events, store, log, low, high, false, snapshot);
		scan->looking = true;
		return;
	}

	scan->tags = table_open(store->tags, AccessShareLock);
	scan->by_tag = index_open(es_store_with_indexes(store)->tags_by_tag, AccessShareLock);
	scan->cursors = palloc(sizeof(EsTagCursor *) * query->nitems);
	scan->next = palloc0(sizeof(int64) * query->nitems);
	for (int i = 0; i < query->nitems; i++)
	{
		const EsQueryItem *item = &query->items[i];

		scan->cursors[i] = palloc0(sizeof(EsTagCursor) * item->ntags);
		for (int k = 0; k < item->ntags; k++)
		{
			EsTagCursor *cursor = &scan->cursors[i][k];

			cursor->tag = item->tags[k];
			cursor->slot = table_slot_create(scan->tags, NULL);
			cursor->desc = es_index_beginscan(scan->tags, scan->by_tag, snapshot, 2);
		}
	}
}

/* The next position that may match, PG_INT64_MAX if there is none. */
static int64
next_candidate(EsQueryScan *scan)
{
	int64		least = PG_INT64_MAX;

	for (int i = 0; i < scan->query->nitems; i++)
	{
		if (scan->next[i] < scan->low)
			scan->next[i] = agree(scan->cursors[i], scan->query->items[i].ntags, scan->low);
		least = Min(least, scan->next[i]);
	}
	return least;
}

/* The next event, as es_scan_next gives it. */
bool
es_query_scan_next(EsQueryScan *scan, Datum **values, bool **nulls)
{
	if (scan->tags == NULL)
	{
		while (es_scan_next(&scan->events, values, nulls))
			if (matches(scan->query, *values, *nulls))
				return true;
		return false;
	}

	for (;;)
	{
		int64		position = next_candidate(scan);

		CHECK_FOR_INTERRUPTS();
		if (position == PG_INT64_MAX || position > scan->high)
			return false;
		scan->low = position + 1;
		if (scan->looking)
			es_scan_log_at(&scan->events, scan->store, scan->log, position, scan->snapshot);
		else
			es_scan_log(&scan->events, scan->store, scan->log, position, position, false, scan->snapshot);
		scan->looking = true;
		if (es_scan_next(&scan->events, values, nulls) && matches(scan->query, *values, *nulls))
			return true;
	}
}

void
es_query_scan_end(EsQueryScan *scan)
{
	if (scan->looking)
		es_scan_end(&scan->events);
	if (scan->tags == NULL)
		return;
	for (int i = 0; i < scan->query->nitems; i++)
		for (int k = 0; k < scan->query->items[i].ntags; k++)
		{
			index_endscan(scan->cursors[i][k].desc);
			ExecDropSingleTupleTableSlot(scan->cursors[i][k].slot);
		}
	index_close(scan->by_tag, AccessShareLock);
	table_close(scan->tags, AccessShareLock);
}
