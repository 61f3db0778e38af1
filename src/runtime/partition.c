/*
 * partition.c
 *		Partitions: a stable number from 0 to n - 1 for each key.
 *
 * A set of partitions is a row of event_store.partition_sets.  The number of a
 * key depends on nothing but the key and the number of partitions: not on the
 * server, its version, or its byte order.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/prepared.h"
#include "model/registry.h"

#define TABLE			"partition_sets"
#define MAX_PARTITIONS	1000000

/* Columns of partition_sets. */
enum PartitionColumn
{
	PARTITION_NAME,
	PARTITION_PARTITIONS,
	PARTITION_OWNER,
	PARTITION_CREATED_AT,
	PARTITION_NCOLUMNS
};

static void
no_such_set(const char *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("partitions", name)),
						"partitions \"%s\" do not exist", name),
			 errhint("Make them with event_store.partition_create().")));
}

static char *
name_argument(FunctionCallInfo fcinfo)
{
	char	   *name;

	es_require_argument(fcinfo, 0, "name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	es_registry_check_name("partitions", name);
	return name;
}

static int32
count_argument(FunctionCallInfo fcinfo)
{
	int32		count;

	es_require_argument(fcinfo, 1, "partitions");
	count = PG_GETARG_INT32(1);
	if (count < 1 || count > MAX_PARTITIONS)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("partitions", count)),
							"there cannot be %d partitions", count),
				 errhint("There are 1 to %d.", MAX_PARTITIONS)));
	return count;
}

/* The number of partitions of a set. */
static int32
partitions_of(const char *name)
{
	Relation	rel = es_extension_open(TABLE, AccessShareLock);
	HeapTuple	tuple = es_prepared_find_row(rel, name);
	bool		isnull;
	int32		count;

	if (!HeapTupleIsValid(tuple))
		no_such_set(name);
	count = DatumGetInt32(heap_getattr(tuple, PARTITION_PARTITIONS + 1, RelationGetDescr(rel), &isnull));
	table_close(rel, AccessShareLock);
	return count;
}

/*
 * FNV-1a of 64 bits (Fowler, Noll, Vo), with the last mix of MurmurHash3
 * (Appleby), since the low bits of FNV alone are not even for short keys.
 */
static uint64
hash_bytes_stable(const unsigned char *bytes, int length)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (int i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64CONST(0x100000001b3);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

PG_FUNCTION_INFO_V1(event_store_partition_create);
PG_FUNCTION_INFO_V1(event_store_partition_resize);
PG_FUNCTION_INFO_V1(event_store_partition_drop);
PG_FUNCTION_INFO_V1(event_store_partition_for_text);
PG_FUNCTION_INFO_V1(event_store_partition_for_bigint);

/* (name, partitions) */
Datum
event_store_partition_create(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	int32		count = count_argument(fcinfo);
	Relation	rel;
	Datum		values[PARTITION_NCOLUMNS];
	bool		nulls[PARTITION_NCOLUMNS] = {0};

	es_require_writable();
	es_registry_check_rights("partitions", name);
	rel = es_extension_open(TABLE, ShareRowExclusiveLock);
	if (HeapTupleIsValid(es_prepared_find_row(rel, name)))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("partitions", name)),
							"partitions \"%s\" already exist", name),
				 errhint("Change their number with event_store.partition_resize().")));
	values[PARTITION_NAME] = CStringGetTextDatum(name);
	values[PARTITION_PARTITIONS] = Int32GetDatum(count);
	values[PARTITION_OWNER] = ObjectIdGetDatum(GetUserId());
	values[PARTITION_CREATED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

static HeapTuple
row_to_change(Relation *rel, const char *name)
{
	HeapTuple	tuple;

	es_require_writable();
	*rel = es_extension_open(TABLE, ShareRowExclusiveLock);
	tuple = es_registry_row_to_change(*rel, "partitions", name, PARTITION_OWNER);
	if (!HeapTupleIsValid(tuple))
		no_such_set(name);
	return tuple;
}

/* (name, partitions) */
Datum
event_store_partition_resize(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	Datum		values[PARTITION_NCOLUMNS] = {[PARTITION_PARTITIONS] = Int32GetDatum(count_argument(fcinfo))};
	bool		nulls[PARTITION_NCOLUMNS] = {0};
	bool		replace[PARTITION_NCOLUMNS] = {[PARTITION_PARTITIONS] = true};
	Relation	rel;
	HeapTuple	tuple = row_to_change(&rel, name);

	CatalogTupleUpdate(rel, &tuple->t_self, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* (name) */
Datum
event_store_partition_drop(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	Relation	rel;
	HeapTuple	tuple = row_to_change(&rel, name);

	CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* (name, key) */
Datum
event_store_partition_for_text(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	text	   *key;

	es_require_argument(fcinfo, 1, "key");
	key = PG_GETARG_TEXT_PP(1);
	PG_RETURN_INT32(hash_bytes_stable((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) % (uint64) partitions_of(name));
}

/* (name, key): the key without its sign, modulo the number of partitions */
Datum
event_store_partition_for_bigint(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	int64		key;

	es_require_argument(fcinfo, 1, "key");
	key = PG_GETARG_INT64(1);
	PG_RETURN_INT32((key < 0 ? -(uint64) key : (uint64) key) % (uint64) partitions_of(name));
}
