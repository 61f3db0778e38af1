/*
 * delivery.c
 *		The tables of subscriptions: which there are, and what is in whose hands.
 *
 * Owns event_subscriptions and event_deliveries of a store.  A store gets them
 * with its first subscription.  They are read and written directly, past
 * triggers and rights: everybody else is kept out by the guard (store/guard),
 * and es_delivery_open decides who may use them.
 *
 * Each subscription has a lock of its own, held until the transaction ends.
 * Whoever holds it may change its row, and any delivery but those that another
 * transaction is about to acknowledge: an acknowledgement deletes the row of a
 * delivery without that lock, so consumers do not wait for each other.  The rule
 * that keeps this free of deadlocks: nobody waits for a row while holding the
 * lock of a subscription.
 *
 * Rows are always looked at as they stand now, in every isolation level: what
 * is in whose hands is not the data of a transaction but a lock on it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/xact.h"
#include "deliver/delivery.h"
#include "log/horizon.h"
#include "log/wake.h"
#include "store/manage.h"
#include "store/tenant.h"

#define SUBSCRIPTION_LOCK	0xE502	/* last word of the lock tag */
#define MAX_WOKEN			8		/* stores whose waiters a transaction wakes at once */
#define INSERT_BATCH		500		/* rows */

/* Columns of event_subscriptions. */
enum SubscriptionColumn
{
	SUBSCRIPTION_ID,
	SUBSCRIPTION_READ_POSITION,
	SUBSCRIPTION_CHECKPOINT,
	SUBSCRIPTION_TAKEN,
	SUBSCRIPTION_GIVEN,
	SUBSCRIPTION_CHANGED_AT,
	SUBSCRIPTION_CREATED_AT,
	SUBSCRIPTION_LEASE,
	SUBSCRIPTION_RETRY_DELAY,
	SUBSCRIPTION_MAX_ATTEMPTS,
	SUBSCRIPTION_MAX_IN_FLIGHT,
	SUBSCRIPTION_BUFFER_SIZE,
	SUBSCRIPTION_MAX_PARKED,
	SUBSCRIPTION_PARK_KEY,
	SUBSCRIPTION_STOPPED,
	SUBSCRIPTION_NAME,
	SUBSCRIPTION_PARTITION_BY,
	SUBSCRIPTION_STREAM,
	SUBSCRIPTION_CATEGORY,
	SUBSCRIPTION_TYPES,
	SUBSCRIPTION_FILTER,
	SUBSCRIPTION_LAST_PROBLEM,
	SUBSCRIPTION_NCOLUMNS
};

static const Oid subscription_types[SUBSCRIPTION_NCOLUMNS] = {
	INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID,
	INT4OID, INT4OID, INT4OID, INT4OID, BOOLOID, BOOLOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID, JSONPATHOID, JSONBOID
};

/* Columns of event_deliveries. */
enum DeliveryColumn
{
	DELIVERY_SUBSCRIPTION_ID,
	DELIVERY_POSITION,
	DELIVERY_DUE_AT,
	DELIVERY_KEY,
	DELIVERY_ATTEMPTS,
	DELIVERY_LANE,
	DELIVERY_STATE,
	DELIVERY_CONSUMER,
	DELIVERY_CAUSE,
	DELIVERY_REASON,
	DELIVERY_NCOLUMNS
};

static const Oid delivery_types[DELIVERY_NCOLUMNS] = {
	INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT4OID, INT2OID, CHAROID, TEXTOID, TEXTOID, TEXTOID
};

/* Slots whose waiters are woken when this transaction commits. */
static int	woken[MAX_WOKEN];
static int	nwoken = 0;

/* --- the tables --- */

/* One of the tables, NULL if the store has not got it; an error if it is not as we made it. */
static Relation
open_table(EsStore *store, const char *name, LOCKMODE lockmode, const Oid *types, int ncolumns)
{
	Oid			relid = get_relname_relid(name, store->nspid);
	Relation	rel = OidIsValid(relid) ? try_table_open(relid, lockmode) : NULL;
	bool		usable;

	if (rel == NULL)
		return NULL;
	usable = rel->rd_rel->relkind == RELKIND_RELATION && RelationGetDescr(rel)->natts == ncolumns &&
		OidIsValid(es_primary_key(rel)) && list_length(RelationGetIndexList(rel)) == 1;
	for (int i = 0; i < ncolumns && usable; i++)
		usable = TupleDescAttr(RelationGetDescr(rel), i)->atttypid == types[i];
	if (!usable)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" cannot serve subscriptions: table %s was altered",
							NameStr(store->schema), name),
				 errhint("The tables of a store must stay as the functions of this extension made them, without further indexes; undo the change.")));
	return rel;
}

static void
open_tables(EsDeliveryTables *tables, LOCKMODE lockmode)
{
	tables->subscriptions = open_table(tables->store, "event_subscriptions", lockmode,
									   subscription_types, SUBSCRIPTION_NCOLUMNS);
	tables->deliveries = tables->subscriptions == NULL ? NULL :
		open_table(tables->store, "event_deliveries", lockmode, delivery_types, DELIVERY_NCOLUMNS);
	if (tables->deliveries == NULL && tables->subscriptions != NULL)
	{
		table_close(tables->subscriptions, lockmode);
		tables->subscriptions = NULL;
	}
}

/*
 * May the current role use the subscriptions of a store in this way?  To manage
 * them takes the rights of an admin, to consume those or a grant as consumer.
 */
static bool
may_use(const EsDeliveryTables *tables, EsDeliveryUse use)
{
	if (pg_class_aclcheck(tables->store->log, GetUserId(), ACL_DELETE) == ACLCHECK_OK)
		return true;
	return use == ES_USE_CONSUME && tables->deliveries != NULL &&
		pg_class_aclcheck(RelationGetRelid(tables->deliveries), GetUserId(), ACL_UPDATE) == ACLCHECK_OK;
}

/*
 * Open the tables of the current store for a caller who reads its events, and
 * check that it may use its subscriptions as it wants to.  Where the store has
 * had no subscription, they are NULL.
 */
void
es_delivery_open(EsDeliveryTables *tables, EsDeliveryUse use)
{
	EsTenant	tenant;

	if (use != ES_USE_LOOK)
		es_require_writable();
	tables->log = es_store_open_log(&tables->store, AccessShareLock, ACL_SELECT);
	open_tables(tables, use == ES_USE_LOOK ? AccessShareLock : RowExclusiveLock);
	if (use == ES_USE_LOOK)
		return;

	if (!may_use(tables, use))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(tables->store->schema))),
							"permission denied to %s subscriptions of event store \"%s\"",
							use == ES_USE_MANAGE ? "manage" : "consume from", NameStr(tables->store->schema)),
				 errhint("The owner of the store gives rights with event_store.grant_store(), to a consumer or an admin.")));
	if (es_tenant_of_schema(tables->store->nspid, &tenant))
		es_tenant_require_state(&tenant, true);
	if (tables->log->rd_rel->relrowsecurity && check_enable_rls(tables->store->log, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, ES_MEMBERS(ES_TEXT("store", NameStr(tables->store->schema))),
							"row-level security hides events of event store \"%s\" from this role",
							NameStr(tables->store->schema)),
				 errhint("What one consumer does not see would be passed for all of them: consume as a role that sees every event, and select with a filter.")));
}

/* Make the tables if the store has not got them, and open them. */
void
es_delivery_create_tables(EsDeliveryTables *tables)
{
	if (tables->subscriptions != NULL)
		return;
	es_store_need_table(tables->store, "event_deliveries");
	open_tables(tables, RowExclusiveLock);
	if (tables->subscriptions == NULL)
		elog(ERROR, "tables of subscriptions are missing");
}

/* The locks stay until the transaction ends. */
void
es_delivery_close(EsDeliveryTables *tables)
{
	if (tables->subscriptions != NULL)
	{
		table_close(tables->subscriptions, NoLock);
		table_close(tables->deliveries, NoLock);
	}
	table_close(tables->log, NoLock);
}

/*
 * What was changed is to be seen by the rest of the transaction, and by those
 * who wait for events of the store once it commits.
 */
void
es_delivery_changed(EsDeliveryTables *tables)
{
	int			slot;

	CommandCounterIncrement();
	if (tables->store->copy || nwoken == MAX_WOKEN)
		return;
	slot = es_store_slot(tables->store);
	for (int i = 0; i < nwoken; i++)
		if (woken[i] == slot)
			return;
	woken[nwoken++] = slot;
}

/* Runs in the COMMIT callback: must not fail. */
static void
transaction_ended(bool committed)
{
	for (int i = 0; i < nwoken && committed; i++)
		es_wake_waiters(woken[i]);
	nwoken = 0;
}

/* Whoever waits looks by itself, after a while: what becomes of it later, we are not told. */
static void
transaction_prepared(void)
{
	nwoken = 0;
}

void
EsDeliveryInit(void)
{
	static const EsXactHook hook = {.prepared = transaction_prepared,.end = transaction_ended};

	es_xact_register(&hook);
}

/* --- subscriptions --- */

static void
read_subscription(Relation rel, HeapTuple row, EsSubscription *s)
{
	Datum		values[SUBSCRIPTION_NCOLUMNS];
	bool		nulls[SUBSCRIPTION_NCOLUMNS];

	heap_deform_tuple(row, RelationGetDescr(rel), values, nulls);
	s->row = row;
	s->id = DatumGetInt64(values[SUBSCRIPTION_ID]);
	s->read_position = DatumGetInt64(values[SUBSCRIPTION_READ_POSITION]);
	s->checkpoint = DatumGetInt64(values[SUBSCRIPTION_CHECKPOINT]);
	s->taken = DatumGetInt64(values[SUBSCRIPTION_TAKEN]);
	s->given = DatumGetInt64(values[SUBSCRIPTION_GIVEN]);
	s->changed_at = DatumGetTimestampTz(values[SUBSCRIPTION_CHANGED_AT]);
	s->created_at = DatumGetTimestampTz(values[SUBSCRIPTION_CREATED_AT]);
	s->lease = DatumGetInt64(values[SUBSCRIPTION_LEASE]);
	s->retry_delay = DatumGetInt64(values[SUBSCRIPTION_RETRY_DELAY]);
	s->max_attempts = DatumGetInt32(values[SUBSCRIPTION_MAX_ATTEMPTS]);
	s->max_in_flight = DatumGetInt32(values[SUBSCRIPTION_MAX_IN_FLIGHT]);
	s->buffer_size = DatumGetInt32(values[SUBSCRIPTION_BUFFER_SIZE]);
	s->max_parked = DatumGetInt32(values[SUBSCRIPTION_MAX_PARKED]);
	s->park_key = DatumGetBool(values[SUBSCRIPTION_PARK_KEY]);
	s->stopped = DatumGetBool(values[SUBSCRIPTION_STOPPED]);
	s->name = DatumGetTextPP(values[SUBSCRIPTION_NAME]);
	s->partition_by = DatumGetTextPP(values[SUBSCRIPTION_PARTITION_BY]);
	s->stream = nulls[SUBSCRIPTION_STREAM] ? NULL : DatumGetTextPP(values[SUBSCRIPTION_STREAM]);
	s->category = nulls[SUBSCRIPTION_CATEGORY] ? NULL : DatumGetTextPP(values[SUBSCRIPTION_CATEGORY]);
	s->types = nulls[SUBSCRIPTION_TYPES] ? NULL : DatumGetArrayTypeP(values[SUBSCRIPTION_TYPES]);
	s->filter = nulls[SUBSCRIPTION_FILTER] ? NULL : DatumGetJsonPathP(values[SUBSCRIPTION_FILTER]);
	s->last_problem = nulls[SUBSCRIPTION_LAST_PROBLEM] ? NULL : DatumGetJsonbP(values[SUBSCRIPTION_LAST_PROBLEM]);
}

static HeapTuple
form_subscription(Relation rel, const EsSubscription *s)
{
	Datum		values[SUBSCRIPTION_NCOLUMNS];
	bool		nulls[SUBSCRIPTION_NCOLUMNS] = {0};

	values[SUBSCRIPTION_ID] = Int64GetDatum(s->id);
	values[SUBSCRIPTION_READ_POSITION] = Int64GetDatum(s->read_position);
	values[SUBSCRIPTION_CHECKPOINT] = Int64GetDatum(s->checkpoint);
	values[SUBSCRIPTION_TAKEN] = Int64GetDatum(s->taken);
	values[SUBSCRIPTION_GIVEN] = Int64GetDatum(s->given);
	values[SUBSCRIPTION_CHANGED_AT] = TimestampTzGetDatum(s->changed_at);
	values[SUBSCRIPTION_CREATED_AT] = TimestampTzGetDatum(s->created_at);
	values[SUBSCRIPTION_LEASE] = Int64GetDatum(s->lease);
	values[SUBSCRIPTION_RETRY_DELAY] = Int64GetDatum(s->retry_delay);
	values[SUBSCRIPTION_MAX_ATTEMPTS] = Int32GetDatum(s->max_attempts);
	values[SUBSCRIPTION_MAX_IN_FLIGHT] = Int32GetDatum(s->max_in_flight);
	values[SUBSCRIPTION_BUFFER_SIZE] = Int32GetDatum(s->buffer_size);
	values[SUBSCRIPTION_MAX_PARKED] = Int32GetDatum(s->max_parked);
	values[SUBSCRIPTION_PARK_KEY] = BoolGetDatum(s->park_key);
	values[SUBSCRIPTION_STOPPED] = BoolGetDatum(s->stopped);
	values[SUBSCRIPTION_NAME] = PointerGetDatum(s->name);
	values[SUBSCRIPTION_PARTITION_BY] = PointerGetDatum(s->partition_by);
	values[SUBSCRIPTION_STREAM] = PointerGetDatum(s->stream);
	values[SUBSCRIPTION_CATEGORY] = PointerGetDatum(s->category);
	values[SUBSCRIPTION_TYPES] = PointerGetDatum(s->types);
	values[SUBSCRIPTION_FILTER] = PointerGetDatum(s->filter);
	values[SUBSCRIPTION_LAST_PROBLEM] = PointerGetDatum(s->last_problem);
	for (int i = SUBSCRIPTION_STREAM; i <= SUBSCRIPTION_LAST_PROBLEM; i++)
		nulls[i] = DatumGetPointer(values[i]) == NULL;
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

/* Find a subscription as it stands now; false if there is none of that name. */
bool
es_subscription_find(EsDeliveryTables *tables, text *name, EsSubscription *subscription)
{
	Relation	rel = tables->subscriptions;
	Snapshot	snapshot;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	if (rel == NULL)
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyEntryInitialize(&key, 0, SUBSCRIPTION_NAME + 1, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, PointerGetDatum(name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, snapshot, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		read_subscription(rel, heap_copytuple(row), subscription);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return HeapTupleIsValid(row);
}

/* The same, but 42704 if there is none. */
void
es_subscription_get(EsDeliveryTables *tables, text *name, EsSubscription *subscription)
{
	if (!es_subscription_find(tables, name, subscription))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT,
							ES_MEMBERS(ES_TEXT("store", NameStr(tables->store->schema)),
									   ES_TEXT("subscription", text_to_cstring(name))),
							"subscription \"%s\" does not exist in event store \"%s\"",
							text_to_cstring(name), NameStr(tables->store->schema)),
				 errhint("Make it with event_store.create_subscription(); the view event_store.subscriptions lists those there are.")));
}

static void
set_tag(LOCKTAG *tag, const EsDeliveryTables *tables, int64 id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, RelationGetRelid(tables->subscriptions), (uint32) id, SUBSCRIPTION_LOCK);
	tag->locktag_type = LOCKTAG_USERLOCK;
}

/* Lock a subscription until the transaction ends, and find it as it stands then. */
void
es_subscription_take(EsDeliveryTables *tables, text *name, EsSubscription *subscription)
{
	for (;;)
	{
		LOCKTAG		tag;
		int64		id;

		es_subscription_get(tables, name, subscription);
		id = subscription->id;
		set_tag(&tag, tables, id);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		es_subscription_get(tables, name, subscription);
		if (subscription->id == id)
			return;
		LockRelease(&tag, ExclusiveLock, false);
	}
}

/* Undo es_subscription_take, for a caller that has changed nothing. */
void
es_subscription_release(EsDeliveryTables *tables, const EsSubscription *subscription)
{
	LOCKTAG		tag;

	set_tag(&tag, tables, subscription->id);
	LockRelease(&tag, ExclusiveLock, false);
}

/* All subscriptions as they stand now, in the order of the table; EsSubscription pointers. */
List *
es_subscriptions_load(EsDeliveryTables *tables)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(tables->subscriptions, InvalidOid, false, snapshot, 0, NULL);
	List	   *result = NIL;
	HeapTuple	row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		EsSubscription *subscription = palloc(sizeof(EsSubscription));

		CHECK_FOR_INTERRUPTS();
		read_subscription(tables->subscriptions, heap_copytuple(row), subscription);
		result = lappend(result, subscription);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * Add a subscription under a new number, which is the caller's to keep others
 * from taking at the same time.
 */
void
es_subscription_insert(EsDeliveryTables *tables, EsSubscription *subscription)
{
	ListCell   *lc;

	subscription->id = 1;
	foreach(lc, es_subscriptions_load(tables))
		subscription->id = Max(subscription->id, ((EsSubscription *) lfirst(lc))->id + 1);
	CatalogTupleInsert(tables->subscriptions, form_subscription(tables->subscriptions, subscription));
}

void
es_subscription_save(EsDeliveryTables *tables, EsSubscription *subscription)
{
	HeapTuple	row = form_subscription(tables->subscriptions, subscription);

	CatalogTupleUpdate(tables->subscriptions, &subscription->row->t_self, row);
	subscription->row = row;
}

void
es_subscription_delete(EsDeliveryTables *tables, EsSubscription *subscription)
{
	CatalogTupleDelete(tables->subscriptions, &subscription->row->t_self);
}

/* --- deliveries --- */

static void
read_delivery(TupleTableSlot *slot, EsDelivery *d)
{
	slot_getallattrs(slot);
	d->subscription = DatumGetInt64(slot->tts_values[DELIVERY_SUBSCRIPTION_ID]);
	d->position = DatumGetInt64(slot->tts_values[DELIVERY_POSITION]);
	d->due_at = DatumGetTimestampTz(slot->tts_values[DELIVERY_DUE_AT]);
	d->key = DatumGetInt64(slot->tts_values[DELIVERY_KEY]);
	d->attempts = DatumGetInt32(slot->tts_values[DELIVERY_ATTEMPTS]);
	d->lane = DatumGetInt16(slot->tts_values[DELIVERY_LANE]);
	d->state = DatumGetChar(slot->tts_values[DELIVERY_STATE]);
	d->consumer = slot->tts_isnull[DELIVERY_CONSUMER] ? NULL : DatumGetTextPCopy(slot->tts_values[DELIVERY_CONSUMER]);
	d->cause = slot->tts_isnull[DELIVERY_CAUSE] ? NULL : TextDatumGetCString(slot->tts_values[DELIVERY_CAUSE]);
	d->reason = slot->tts_isnull[DELIVERY_REASON] ? NULL : DatumGetTextPCopy(slot->tts_values[DELIVERY_REASON]);
	d->tid = slot->tts_tid;
}

static void
delivery_values(const EsDelivery *d, Datum *values, bool *nulls)
{
	values[DELIVERY_SUBSCRIPTION_ID] = Int64GetDatum(d->subscription);
	values[DELIVERY_POSITION] = Int64GetDatum(d->position);
	values[DELIVERY_DUE_AT] = TimestampTzGetDatum(d->due_at);
	values[DELIVERY_KEY] = Int64GetDatum(d->key);
	values[DELIVERY_ATTEMPTS] = Int32GetDatum(d->attempts);
	values[DELIVERY_LANE] = Int16GetDatum(d->lane);
	values[DELIVERY_STATE] = CharGetDatum(d->state);
	values[DELIVERY_CONSUMER] = PointerGetDatum(d->consumer);
	values[DELIVERY_CAUSE] = d->cause != NULL ? CStringGetTextDatum(d->cause) : (Datum) 0;
	values[DELIVERY_REASON] = PointerGetDatum(d->reason);
	memset(nulls, false, DELIVERY_NCOLUMNS * sizeof(bool));
	nulls[DELIVERY_CONSUMER] = d->consumer == NULL;
	nulls[DELIVERY_CAUSE] = d->cause == NULL;
	nulls[DELIVERY_REASON] = d->reason == NULL;
}

/* Open the rows of a lane above a position, or at it if exact. */
static IndexScanDesc
begin_scan(Relation rel, Relation index, int64 subscription, int lane, int64 position, bool exact, Snapshot snapshot)
{
	IndexScanDesc scan = es_index_beginscan(rel, index, snapshot, 3);
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(subscription));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(lane));
	ScanKeyInit(&keys[2], 3, exact ? BTEqualStrategyNumber : BTGreaterStrategyNumber,
				exact ? F_INT8EQ : F_INT8GT, Int64GetDatum(position));
	index_rescan(scan, keys, 3, NULL, 0);
	return scan;
}

/*
 * The deliveries of a subscription in one lane as they stand now, by position;
 * palloc'd.  Of the live ones only what is above the checkpoint is looked at:
 * there is nothing below, but the dead rows of all that is done.
 */
EsDelivery *
es_deliveries_load(EsDeliveryTables *tables, const EsSubscription *subscription, int lane, int *count)
{
	Relation	rel = tables->deliveries;
	Relation	index = index_open(es_primary_key(rel), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = begin_scan(rel, index, subscription->id, lane,
									lane == ES_LANE_LIVE ? subscription->checkpoint : 0, false, snapshot);
	int			allocated = 64;
	EsDelivery *result = palloc(allocated * sizeof(EsDelivery));

	*count = 0;
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (*count == allocated)
		{
			allocated *= 2;
			result = repalloc_huge(result, allocated * sizeof(EsDelivery));
		}
		read_delivery(slot, &result[(*count)++]);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	return result;
}

/* Find the delivery of a position as it stands now; false if there is none. */
bool
es_delivery_find(EsDeliveryTables *tables, int64 subscription, int64 position, EsDelivery *delivery)
{
	Relation	rel = tables->deliveries;
	Relation	index = index_open(es_primary_key(rel), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		found = false;

	for (int lane = ES_LANE_LIVE; lane <= ES_LANE_PARKED && !found; lane++)
	{
		IndexScanDesc scan = begin_scan(rel, index, subscription, lane, position, true, snapshot);

		found = index_getnext_slot(scan, ForwardScanDirection, slot);
		if (found)
			read_delivery(slot, delivery);
		index_endscan(scan);
	}
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	return found;
}

/*
 * Lock the row of a delivery, to change it afterwards; false if it has changed
 * since it was read, or another transaction is about to change it.
 */
bool
es_delivery_lock(EsDeliveryTables *tables, const EsDelivery *delivery)
{
	TupleTableSlot *slot = table_slot_create(tables->deliveries, NULL);
	ItemPointerData tid = delivery->tid;
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(tables->deliveries, &tid, SnapshotSelf, slot, GetCurrentCommandId(true),
										  LockTupleExclusive, LockWaitSkip, 0, &failure);

	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

/* Write a delivery that the caller has locked, or that no other may change. */
void
es_delivery_update(EsDeliveryTables *tables, EsDelivery *delivery)
{
	Datum		values[DELIVERY_NCOLUMNS];
	bool		nulls[DELIVERY_NCOLUMNS];
	HeapTuple	row;

	delivery_values(delivery, values, nulls);
	row = heap_form_tuple(RelationGetDescr(tables->deliveries), values, nulls);
	CatalogTupleUpdate(tables->deliveries, &delivery->tid, row);
	delivery->tid = row->t_self;
}

/*
 * Delete a delivery, waiting for whoever is changing it; false if it has
 * changed since it was read.
 */
bool
es_delivery_delete(EsDeliveryTables *tables, const EsDelivery *delivery)
{
	ItemPointerData tid = delivery->tid;
	TM_FailureData failure;

	return table_tuple_delete(tables->deliveries, &tid, GetCurrentCommandId(true), SnapshotAny, InvalidSnapshot,
							  true, &failure, false) == TM_Ok;
}

void
es_deliveries_insert(EsDeliveryTables *tables, const EsDelivery *deliveries, int count)
{
	Relation	rel = tables->deliveries;
	CatalogIndexState indexes = CatalogOpenIndexes(rel);
	int			nslots = Min(count, INSERT_BATCH);
	TupleTableSlot **slots = palloc(nslots * sizeof(TupleTableSlot *));

	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	for (int first = 0; first < count; first += nslots)
	{
		int			n = Min(nslots, count - first);

		for (int i = 0; i < n; i++)
		{
			ExecClearTuple(slots[i]);
			delivery_values(&deliveries[first + i], slots[i]->tts_values, slots[i]->tts_isnull);
			ExecStoreVirtualTuple(slots[i]);
		}
		CatalogTuplesMultiInsertWithInfo(rel, slots, n, indexes);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	CatalogCloseIndexes(indexes);
}
