/*
 * extension.c
 *		Is the extension installed here, and does its SQL fit this library?
 *
 * Nothing is cached here: the answers come from the system caches, which
 * invalidation keeps right through DROP and CREATE EXTENSION in one session.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/errors.h"
#include "base/extension.h"

/* The extension's OID, InvalidOid if this database has not got it. */
Oid
es_extension_oid(void)
{
	return get_extension_oid(ES_EXTENSION, true);
}

/* The OID of a relation of the extension's own schema, InvalidOid if none. */
Oid
es_extension_relation(const char *name)
{
	Oid			nspid = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(nspid) ? get_relname_relid(name, nspid) : InvalidOid;
}

static Oid
namespace_owner(Oid nspid)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nspid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

/*
 * Raise an error if the installed SQL is of another version than this library,
 * as after a package upgrade without ALTER EXTENSION UPDATE.
 */
void
es_extension_check_version(void)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	char	   *version = NULL;

	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(ES_EXTENSION));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		if (!isnull)
			version = text_to_cstring(DatumGetTextPP(value));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (version != NULL && strcmp(version, ES_VERSION) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("installed", version), ES_TEXT("library", ES_VERSION)),
							"extension event_store is at version %s but its library is of version %s",
							version, ES_VERSION),
				 errhint("Run ALTER EXTENSION event_store UPDATE, or restart the server with the library of the installed version.")));
}

/* A table of the extension, opened. */
Relation
es_extension_open(const char *name, LOCKMODE lockmode)
{
	Oid			relid = es_extension_relation(name);

	if (!OidIsValid(relid))
		elog(ERROR, "table event_store.%s is missing", name);
	return table_open(relid, lockmode);
}

PG_FUNCTION_INFO_V1(event_store_check_schema);

/*
 * For the install script: refuse a schema that was there before and belongs to
 * somebody else, who could put functions beside ours that calls then go to.
 */
Datum
event_store_check_schema(PG_FUNCTION_ARGS)
{
	Oid			nspid = get_namespace_oid(ES_SCHEMA, false);

	if (namespace_owner(nspid) != GetUserId())
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("schema", ES_SCHEMA)),
							"schema \"%s\" already exists and belongs to another role", ES_SCHEMA),
				 errhint("Drop or rename it; the extension makes its own.")));
	PG_RETURN_VOID();
}
