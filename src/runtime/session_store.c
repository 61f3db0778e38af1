/*
 * session_store.c
 *		Sessions of applications that outlive the server: rows of a table.
 *
 * event_store.session_rows is written directly, past the caller's rights: who
 * may see which session is decided in runtime/session.  What is done here is
 * part of the transaction, as with any table.  Whoever changes a session holds
 * a lock on its id to the end of the transaction, so that nobody meets a row
 * that another is changing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/extension.h"
#include "runtime/session_store.h"

#define TABLE	"session_rows"

/* Columns of session_rows. */
enum SessionColumn
{
	SESSION_TENANT_SCHEMA,
	SESSION_ID,
	SESSION_OWNER,
	SESSION_STARTED_AT,
	SESSION_EXPIRES_AT,
	SESSION_IDLE_MS,
	SESSION_USED_AT,
	SESSION_ON_EXPIRE,
	SESSION_DATA,
	SESSION_NCOLUMNS
};

/* Wait for other transactions that change the session, and keep them away from it until this one ends. */
void
es_durable_session_lock(Oid nspid, const char *id)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) id, strlen(id), nspid);
	LOCKTAG		tag;

	/* in the class of our own locks, where the relation is no store's log */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, es_extension_relation(TABLE), (uint32) hash, (uint16) (hash >> 32));
	tag.locktag_type = LOCKTAG_USERLOCK;
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* The row of a session, copied, NULL if there is none. */
static HeapTuple
find_row(Relation rel, Oid nspid, const char *id)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], SESSION_TENANT_SCHEMA + 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(nspid));
	ScanKeyEntryInitialize(&key[1], 0, SESSION_ID + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(id));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, lengthof(key), key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static EsSession *
read_row(Relation rel, HeapTuple tuple)
{
	Datum		values[SESSION_NCOLUMNS];
	bool		nulls[SESSION_NCOLUMNS];
	EsSession  *session = palloc0(sizeof(EsSession));

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	session->durable = true;
	session->nspid = DatumGetObjectId(values[SESSION_TENANT_SCHEMA]);
	session->id = TextDatumGetCString(values[SESSION_ID]);
	session->owner = DatumGetObjectId(values[SESSION_OWNER]);
	session->started_at = DatumGetTimestampTz(values[SESSION_STARTED_AT]);
	session->expires_at = DatumGetTimestampTz(values[SESSION_EXPIRES_AT]);
	session->idle_timeout = DatumGetInt64(values[SESSION_IDLE_MS]);
	session->used_at = DatumGetTimestampTz(values[SESSION_USED_AT]);
	session->on_expire = TextDatumGetCString(values[SESSION_ON_EXPIRE]);
	session->data = DatumGetJsonbPCopy(values[SESSION_DATA]);
	return session;
}

static void
set_values(const EsSession *session, Datum *values)
{
	values[SESSION_TENANT_SCHEMA] = ObjectIdGetDatum(session->nspid);
	values[SESSION_ID] = CStringGetTextDatum(session->id);
	values[SESSION_OWNER] = ObjectIdGetDatum(session->owner);
	values[SESSION_STARTED_AT] = TimestampTzGetDatum(session->started_at);
	values[SESSION_EXPIRES_AT] = TimestampTzGetDatum(session->expires_at);
	values[SESSION_IDLE_MS] = Int64GetDatum(session->idle_timeout);
	values[SESSION_USED_AT] = TimestampTzGetDatum(session->used_at);
	values[SESSION_ON_EXPIRE] = CStringGetTextDatum(session->on_expire);
	values[SESSION_DATA] = JsonbPGetDatum(session->data);
}

/* Add a session, whose id is locked; false if there is one of this id whose time is not over or whose function has not run. */
bool
es_durable_session_add(const EsSession *session)
{
	Relation	rel = es_extension_open(TABLE, RowExclusiveLock);
	HeapTuple	old = find_row(rel, session->nspid, session->id);
	Datum		values[SESSION_NCOLUMNS];
	bool		nulls[SESSION_NCOLUMNS] = {0};
	bool		free = true;

	if (HeapTupleIsValid(old))
	{
		EsSession  *was = read_row(rel, old);

		free = es_session_ends(was) <= session->started_at && was->on_expire[0] == '\0';
		if (free)
			CatalogTupleDelete(rel, &old->t_self);
	}
	if (free)
	{
		set_values(session, values);
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return free;
}

/* The session with an id, palloc'd, NULL if there is none; its time may be over. */
EsSession *
es_durable_session_find(Oid nspid, const char *id)
{
	Relation	rel = es_extension_open(TABLE, AccessShareLock);
	HeapTuple	tuple = find_row(rel, nspid, id);
	EsSession  *session = HeapTupleIsValid(tuple) ? read_row(rel, tuple) : NULL;

	table_close(rel, AccessShareLock);
	return session;
}

/* Write what has changed of a session, whose id is locked and which is there. */
void
es_durable_session_update(const EsSession *session)
{
	Relation	rel = es_extension_open(TABLE, RowExclusiveLock);
	HeapTuple	tuple = find_row(rel, session->nspid, session->id);
	Datum		values[SESSION_NCOLUMNS];
	bool		nulls[SESSION_NCOLUMNS] = {0};
	bool		replace[SESSION_NCOLUMNS];

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "session \"%s\" is locked and gone", session->id);
	memset(replace, true, sizeof(replace));
	set_values(session, values);
	CatalogTupleUpdate(rel, &tuple->t_self, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* End a session, whose id is locked; false if it is gone. */
bool
es_durable_session_remove(const EsSession *session)
{
	Relation	rel = es_extension_open(TABLE, RowExclusiveLock);
	HeapTuple	tuple = find_row(rel, session->nspid, session->id);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return HeapTupleIsValid(tuple);
}

/* Sessions whose time is over, or is not, at most as many as wanted; palloc'd. */
EsSession **
es_durable_sessions_find(bool expired, int most, int *count)
{
	Relation	rel = es_extension_open(TABLE, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	TimestampTz now = GetCurrentTimestamp();
	int			room = 16;
	EsSession **sessions = palloc(room * sizeof(EsSession *));
	HeapTuple	tuple;

	*count = 0;
	while (*count < most && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EsSession  *session = read_row(rel, tuple);

		CHECK_FOR_INTERRUPTS();
		if ((es_session_ends(session) <= now) != expired)
			continue;
		if (*count == room)
		{
			room *= 2;
			sessions = repalloc_huge(sessions, room * sizeof(EsSession *));
		}
		sessions[(*count)++] = session;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return sessions;
}
