/*
 * registry.c
 *		What the tables of registered things have in common.
 *
 * Their rows are written directly, past the caller's rights: who may create
 * schemas in the database or owns the store in use may register, and a
 * registration belongs to the role that made it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"

#include "base/compat.h"
#include "base/errors.h"
#include "model/prepared.h"
#include "model/registry.h"

/* Refuse a name that is empty or too long. */
void
es_registry_check_name(const char *what, const char *name)
{
	if (name[0] == '\0' || strlen(name) >= ES_PREPARED_NAME)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT(what, name)),
							"the name of the %s has %zu bytes", what, strlen(name)),
				 errhint("A name has 1 to %d bytes.", ES_PREPARED_NAME - 1)));
}

static bool
may_register(void)
{
	EsStore    *store;

	if (es_may_create_in_database(GetUserId()))
		return true;
	store = es_store_current(true);
	return store != NULL && es_owns_relation(store->log, GetUserId());
}

/* Refuse a role that may not register. */
void
es_registry_check_rights(const char *what, const char *name)
{
	if (!may_register())
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT(what, name)),
							"permission denied to register %s \"%s\"", what, name),
				 errhint("This takes CREATE on the database, or to own the store in use.")));
}

/* Refuse a row that is not the caller's to change.  owner is the column of the role, from 0. */
void
es_registry_check_owner(Relation rel, const char *what, const char *name, HeapTuple tuple, int owner)
{
	bool		isnull;

	if (!has_privs_of_role(GetUserId(), DatumGetObjectId(heap_getattr(tuple, owner + 1, RelationGetDescr(rel), &isnull))))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT(what, name)),
							"%s \"%s\" was registered by another role", what, name),
				 errhint("Ask that role, or become a member of it.")));
}

/*
 * The row with a name, palloc'd, NULL if there is none; an error if it is not
 * the caller's to change.  owner is the column of the role, from 0.
 */
HeapTuple
es_registry_row_to_change(Relation rel, const char *what, const char *name, int owner)
{
	HeapTuple	tuple = es_prepared_find_row(rel, name);

	if (HeapTupleIsValid(tuple))
		es_registry_check_owner(rel, what, name, tuple, owner);
	return tuple;
}

/* The row of a registry whose key has two columns, the first a text; palloc'd, NULL if there is none. */
HeapTuple
es_registry_find_pair(Relation rel, const char *first, const ScanKeyData *second)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(first));
	keys[1] = *second;
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* Write a row in the place of the old one, or with NULL as a new one, for all sessions to look again; closes the table. */
void
es_registry_write(Relation rel, HeapTuple old, Datum *values, bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	if (old == NULL)
		CatalogTupleInsert(rel, tuple);
	else
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
