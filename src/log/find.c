/*
 * find.c
 *		Finding a place or single events in the log: the position of a time, one
 *		event of each type, the tree of causes of a correlation.
 *
 * All of these read what is final (log/read), so what they say of positions
 * that a reader has passed does not change.  With the index that fits, each is
 * a few descents into it; without, they read the log.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/merge.h"
#include "log/read.h"
#include "log/scan.h"
#include "log/stream.h"

/* --- the position of a time --- */

/*
 * The first position whose event was created at a time or later, 0 if there is
 * none; *last is set to the last position there is, 0 if there is none.
 *
 * The times in a log may run backwards, so only a look at all events before it
 * proves that one is the first.  With an index over the times a second search
 * goes along that, from the time on: it has seen all candidates when it comes
 * to its end.  Both take steps in turn, so the cost is that of the shorter way,
 * from the beginning of the log or from its end.
 */
static int64
first_position_since(EsStore *store, Relation log, TimestampTz time, const EsFinal *final, int64 *last)
{
	bool		indexed = OidIsValid(store->log_by_time) && !es_store_use_sql(store, log);
	EsScan		by_position;
	EsScan		by_time;
	Datum	   *values;
	bool	   *nulls;
	int64		found = 0;
	bool		at_end = false;

	*last = 0;
	es_scan_log(&by_position, store, log, 1, final->last, false, final->snapshot);
	if (indexed)
		es_scan_column(&by_time, log, store->log_by_time, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
					   InvalidOid, TimestampTzGetDatum(time), final->snapshot);
	for (;;)
	{
		if (!es_scan_next(&by_position, &values, &nulls))
			break;
		*last = DatumGetInt64(values[LOG_POSITION]);
		if (DatumGetTimestampTz(values[LOG_CREATED_AT]) >= time)
		{
			found = *last;
			break;
		}
		if (indexed)
		{
			int64		position;

			at_end = !es_scan_next(&by_time, &values, &nulls);
			if (at_end)
				break;
			position = DatumGetInt64(values[LOG_POSITION]);
			if (position <= final->last && (found == 0 || position < found))
				found = position;
		}
	}
	if (indexed)
		es_scan_end(&by_time);
	es_scan_end(&by_position);

	if (at_end && found == 0)
	{
		es_scan_log(&by_position, store, log, 1, final->last, true, final->snapshot);
		if (es_scan_next(&by_position, &values, &nulls))
			*last = DatumGetInt64(values[LOG_POSITION]);
		es_scan_end(&by_position);
	}
	return found;
}

/* --- one event of each type --- */

/* The types that have been met. */

typedef struct TypeKey
{
	const char *data;
	int			length;
} TypeKey;

typedef struct TypeEntry
{
	TypeKey		type;
	char		status;
} TypeEntry;

#define SH_PREFIX			types
#define SH_ELEMENT_TYPE		TypeEntry
#define SH_KEY_TYPE			TypeKey
#define SH_KEY				type
#define SH_HASH_KEY(t, k)	hash_bytes((const unsigned char *) (k).data, (k).length)
#define SH_EQUAL(t, a, b)	((a).length == (b).length && memcmp((a).data, (b).data, (a).length) == 0)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Read the log until each of the types has been met, or to its end if any type is wanted. */
static void
each_type_from_log(EsPut *put, EsStore *store, Relation log, const EsReadQuery *query,
				   int64 low, int64 high, Snapshot snapshot)
{
	types_hash *met = types_create(CurrentMemoryContext, 16, NULL);
	int			wanted = 0;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;

	for (int i = 0; i < query->types.count; i++)
	{
		EsNames		before = {.count = i, .data = query->types.data};

		if (!es_name_matches(&before, VARDATA_ANY(query->types.data[i]), VARSIZE_ANY_EXHDR(query->types.data[i])))
			wanted++;
	}
	es_scan_log(&scan, store, log, low, high, query->backward, snapshot);
	while ((query->types.data == NULL || met->members < wanted) && es_scan_next(&scan, &values, &nulls))
	{
		text	   *type = DatumGetTextPP(values[LOG_EVENT_TYPE]);
		TypeKey		key = {VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)};
		bool		found;
		TypeEntry  *entry;

		if (!es_name_matches(&query->types, key.data, key.length))
			continue;
		entry = types_insert(met, key, &found);
		if (found)
			continue;
		entry->type.data = memcpy(palloc(key.length), key.data, key.length);
		es_put_event(put, es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot), values, nulls);
	}
	es_scan_end(&scan);
}

/* The type that follows in the index, palloc'd; NULL if there is none. */
static text *
next_type(EsStore *store, Relation log, text *type, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	text	   *next = NULL;

	es_scan_column(&scan, log, store->log_by_type, BTGreaterStrategyNumber, F_TEXT_GT, C_COLLATION_OID,
				   PointerGetDatum(type), snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		next = DatumGetTextPCopy(values[LOG_EVENT_TYPE]);
	es_scan_end(&scan);
	return next;
}

/* The position of the first event of a type in the direction, 0 if there is none. */
static int64
position_of_type(EsStore *store, Relation log, Datum type, const EsReadQuery *query,
				 int64 low, int64 high, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_scan_key(&scan, log, store->log_by_type, F_TEXTEQ, C_COLLATION_OID, type, low, high, query->backward, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		position = DatumGetInt64(values[LOG_POSITION]);
	es_scan_end(&scan);
	return position;
}

static int
compare_positions(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* The same along the index over types, with two descents a type. */
static void
each_type_from_index(EsPut *put, EsStore *store, Relation log, const EsReadQuery *query,
					 int64 low, int64 high, Snapshot snapshot)
{
	int			size = Max(query->types.count, 64);
	int64	   *positions = palloc(sizeof(int64) * size);
	int			count = 0;

	if (query->types.data != NULL)
		for (int i = 0; i < query->types.count; i++)
			positions[count++] = position_of_type(store, log, query->types.data[i], query, low, high, snapshot);
	else
		for (text *type = next_type(store, log, cstring_to_text(""), snapshot); type != NULL;
			 type = next_type(store, log, type, snapshot))
		{
			if (count == size)
				positions = repalloc(positions, sizeof(int64) * (size *= 2));
			positions[count++] = position_of_type(store, log, PointerGetDatum(type), query, low, high, snapshot);
		}

	/* a type may have been given twice, or have no event here */
	qsort(positions, count, sizeof(int64), compare_positions);
	for (int i = 0; i < count; i++)
	{
		int			at = query->backward ? count - 1 - i : i;

		if (positions[at] != 0 && (at == 0 || positions[at] != positions[at - 1]))
			es_read_position(store, log, positions[at], snapshot, es_put_event, put);
	}
}

/* --- the tree of causes --- */

/* An event of the tree.  Links are places in the array, -1 for none. */
typedef struct TreeNode
{
	pg_uuid_t	event_id;
	HeapTuple	tuple;			/* of the result */
	int			depth;
	int			parent;
	int			first_child;
	int			last_child;
	int			next_sibling;
} TreeNode;

typedef struct TreeEntry
{
	pg_uuid_t	event_id;		/* hash key */
	int			node;
} TreeEntry;

typedef struct Tree
{
	TupleDesc	desc;
	EsStore    *store;
	TreeNode	   *nodes;
	int			count;
	int			size;
	int			first_root;
	int			last_root;
	HTAB	   *by_id;
} Tree;

#define TREE_FIELDS		2		/* depth and parent, before the event's own */

/*
 * Sink: put an event into the tree.  Events come in the order of positions, and
 * a cause stands before its effect; so a causation id that names no event yet
 * names none of this tree, and there are no cycles.
 */
static void
add_node(void *target, text *stream, const Datum *row, const bool *row_nulls)
{
	Tree	   *tree = target;
	Datum		values[TREE_FIELDS + RECORDED_NFIELDS];
	bool		nulls[TREE_FIELDS + RECORDED_NFIELDS];
	TreeEntry  *entry = NULL;
	TreeNode	   *node;
	int			n = tree->count;
	int		   *link;

	if (n == tree->size)
		tree->nodes = repalloc_huge(tree->nodes, mul_size(sizeof(TreeNode), tree->size *= 2));
	tree->count++;
	node = &tree->nodes[n];
	*node = (TreeNode) {.parent = -1, .first_child = -1, .last_child = -1, .next_sibling = -1};
	node->event_id = *DatumGetUUIDP(row[LOG_EVENT_ID]);

	if (!row_nulls[LOG_CAUSATION_ID])
		entry = hash_search(tree->by_id, DatumGetUUIDP(row[LOG_CAUSATION_ID]), HASH_FIND, NULL);
	if (entry != NULL)
	{
		TreeNode	   *parent = &tree->nodes[entry->node];

		node->parent = entry->node;
		node->depth = parent->depth + 1;
		link = parent->last_child < 0 ? &parent->first_child : &tree->nodes[parent->last_child].next_sibling;
		parent->last_child = n;
	}
	else
	{
		link = tree->last_root < 0 ? &tree->first_root : &tree->nodes[tree->last_root].next_sibling;
		tree->last_root = n;
	}
	*link = n;

	values[0] = Int32GetDatum(node->depth);
	values[1] = entry != NULL ? row[LOG_CAUSATION_ID] : (Datum) 0;
	nulls[0] = false;
	nulls[1] = entry == NULL;
	es_recorded_event(tree->store, stream, row, row_nulls, values + TREE_FIELDS, nulls + TREE_FIELDS);
	node->tuple = heap_form_tuple(tree->desc, values, nulls);

	entry = hash_search(tree->by_id, &node->event_id, HASH_ENTER, NULL);
	entry->node = n;
}

/* Put the events so that each is followed by its effects. */
static void
put_tree(ReturnSetInfo *result, const Tree *tree)
{
	int			n = tree->first_root;

	while (n >= 0)
	{
		const TreeNode *node = &tree->nodes[n];

		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(result->setResult, node->tuple);
		if (node->first_child >= 0)
			n = node->first_child;
		else
		{
			while (node->next_sibling < 0 && node->parent >= 0)
				node = &tree->nodes[node->parent];
			n = node->next_sibling;
		}
	}
}

PG_FUNCTION_INFO_V1(event_store_position_at);
PG_FUNCTION_INFO_V1(event_store_read_each_type);
PG_FUNCTION_INFO_V1(event_store_causation_tree);

Datum
event_store_position_at(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	EsFinal		final;
	int64		first;
	int64		last;

	es_final_begin(&final, store);
	first = first_position_since(store, log, PG_GETARG_TIMESTAMPTZ(0), &final, &last);
	es_final_end(&final);
	table_close(log, NoLock);
	PG_RETURN_INT64(first > 0 ? first - 1 : last);
}

Datum
event_store_read_each_type(PG_FUNCTION_ARGS)
{
	EsReadQuery query = {0};
	EsPut		put;
	EsStore    *store;
	Relation	log;
	EsFinal		final;
	int64		low;
	int64		high;

	query.backward = es_direction_argument(fcinfo, 2);
	query.types = es_names_argument(fcinfo, 0, "types");
	query.after = es_position_argument(fcinfo, 1, query.backward);

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_put_begin(&put, fcinfo, store);
	es_final_begin(&final, store);
	es_final_range(&final, store, &query, &low, &high);
	if (low <= high)
	{
		if (OidIsValid(store->log_by_type) && !es_store_use_sql(store, log))
			each_type_from_index(&put, store, log, &query, low, high, final.snapshot);
		else
			each_type_from_log(&put, store, log, &query, low, high, final.snapshot);
	}
	es_final_end(&final);
	table_close(log, NoLock);
	return (Datum) 0;
}

Datum
event_store_causation_tree(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	HASHCTL		ctl = {.keysize = UUID_LEN, .entrysize = sizeof(TreeEntry), .hcxt = CurrentMemoryContext};
	EsReadQuery query = {0};
	Tree		tree = {.size = 64, .first_root = -1, .last_root = -1};
	EsStore    *store;
	Relation	log;
	int64		passed;

	es_require_argument(fcinfo, 0, "correlation_id");
	query.correlation = PG_GETARG_UUID_P(0);
	query.max_count = es_count_argument(fcinfo, 1);

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	tree.desc = result->setDesc;
	tree.store = store;
	tree.nodes = palloc(sizeof(TreeNode) * tree.size);
	tree.by_id = hash_create("event_store causation", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	(void) es_read_in_order(store, log, &query, add_node, &tree, &passed);
	put_tree(result, &tree);
	table_close(log, NoLock);
	return (Datum) 0;
}
