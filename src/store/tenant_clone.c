/*
 * tenant_clone.c
 *		A schema like another one.
 *
 * The view schema_definition tells what a schema holds, as statements in which
 * names of the schema itself are not qualified; run with the new schema on the
 * search_path they make it there.  What it cannot tell is refused before
 * anything is made.  In the end both schemas must have the same definition,
 * which finds a name that came to mean something else than it did.
 *
 * The store is made as any store, with a number of its own, and then gets the
 * rows of the other: streams and events keep their ids, versions and positions.
 *
 * Tables are locked against changes of their form only.  All rows are read with
 * one snapshot, so a schema that is being written is copied as it was at one
 * moment; sequences are read after it and are never behind.  Events that were
 * under way then are not in the copy, and their positions stay free.
 *
 * Everything is done as the owner of the schema and belongs to it: conditions
 * and expressions of tables are code of theirs.  What belongs to a role that is
 * no member of the owner is refused.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "store/guard.h"
#include "store/manage.h"
#include "store/statement.h"
#include "store/tenant_clone.h"

/* The phases of schema_definition that matter here. */
#define PHASE_IMPOSSIBLE	0
#define PHASE_LAST_OBJECT	5	/* up to here in any order, as far as one needs another */
#define PHASE_ROWS			10
#define PHASE_SEQUENCE		11
#define PHASE_RIGHTS		30	/* takes from PUBLIC; what comes after it gives to others */
#define PHASE_RIGHTS_SCHEMA	32	/* named $S in the statement */

Oid
es_schema_owner(Oid nspid)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nspid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "schema %u is gone", nspid);
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Let unqualified names be those of a schema, before those of pg_catalog. */
static void
set_path(const char *schema)
{
	set("search_path", psprintf("%s, pg_catalog, pg_temp", quote_identifier(schema)));
}

static int
execute(const char *statement, Snapshot snapshot)
{
	SPIPlanPtr	plan = SPI_prepare(statement, 0, NULL);
	int			result;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	result = SPI_execute_snapshot(plan, NULL, NULL, snapshot, InvalidSnapshot, false, true, 0);
	SPI_freeplan(plan);
	return result;
}

/*
 * What a schema holds, in SPI's memory, to which the caller is connected.
 * Sets the search_path for the caller's level of settings.
 */
void
es_definition_read(Oid nspid, EsDefinition *definition)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	set_path(get_namespace_name(nspid));
	if (execute(es_statement_definition(nspid), snapshot) != SPI_OK_SELECT)
		elog(ERROR, "could not read the definition of schema %u", nspid);
	UnregisterSnapshot(snapshot);
	definition->count = (int) SPI_processed;
	definition->parts = palloc0(sizeof(EsPart) * Max(definition->count, 1));
	for (int i = 0; i < definition->count; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		EsPart	   *part = &definition->parts[i];
		bool		isnull;

		part->phase = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
		part->oid = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		part->object = SPI_getvalue(row, desc, 3);
		part->statement = SPI_getvalue(row, desc, 4);
	}
}

/* Refuse what cannot be made again. */
static void
require_possible(Oid nspid, const EsDefinition *definition)
{
	for (int i = 0; i < definition->count; i++)
		if (definition->parts[i].phase == PHASE_IMPOSSIBLE)
			ereport(ERROR,
					(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
								ES_MEMBERS(ES_TEXT("schema", get_namespace_name(nspid)),
										   ES_TEXT("object", definition->parts[i].object)),
								"schema \"%s\" cannot be cloned: it holds %s", get_namespace_name(nspid),
								definition->parts[i].object),
					 errhint("Move that to a shared schema, give what is another role's to the owner of the schema, or make the tenant by migrations.")));
}

/* Keep others from changing the form of the tables that there are. */
static void
lock_tables(Oid nspid)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	if (execute(es_statement_tables(nspid), snapshot) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the tables of schema %u", nspid);
	UnregisterSnapshot(snapshot);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		LockRelationOid(DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)),
						AccessShareLock);
	}
}

/* Are all tables locked that the definition has?  One may have come meanwhile. */
static bool
is_locked(const EsDefinition *definition)
{
	for (int i = 0; i < definition->count; i++)
	{
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, definition->parts[i].oid);
		if (definition->parts[i].phase == PHASE_ROWS && !es_lock_held_by_me(&tag, AccessShareLock))
			return false;
	}
	return true;
}

/* Does an error say that something is not there, which may be made yet? */
static bool
is_missing(int sqlstate)
{
	return sqlstate == ERRCODE_UNDEFINED_TABLE || sqlstate == ERRCODE_UNDEFINED_FUNCTION ||
		sqlstate == ERRCODE_UNDEFINED_OBJECT || sqlstate == ERRCODE_UNDEFINED_COLUMN;
}

/* Try to make an object; returns what is missing for it, NULL if it is made. */
static ErrorData *
try_part(EsPart *part)
{
	EsAttempt	attempt;
	ErrorData  *volatile error = NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		(void) execute(part->statement, InvalidSnapshot);
		es_attempt_succeeded(&attempt);
		part->done = true;
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
		if (!is_missing(error->sqlerrcode))
			ReThrowError(error);
	}
	PG_END_TRY();
	return error;
}

/* Make types, sequences, tables, functions and views: those that can be made, and again those that are left. */
static void
make_objects(EsDefinition *definition)
{
	ErrorData  *error;
	bool		progress;

	do
	{
		error = NULL;
		progress = false;
		for (int i = 0; i < definition->count; i++)
		{
			EsPart	   *part = &definition->parts[i];
			ErrorData  *missing;

			CHECK_FOR_INTERRUPTS();
			if (part->phase > PHASE_LAST_OBJECT || part->done)
				continue;
			missing = try_part(part);
			if (missing == NULL)
				progress = true;
			else if (error == NULL)
				error = missing;
		}
	} while (error != NULL && progress);
	if (error != NULL)
		ReThrowError(error);
}

/* Copy the rows of a table, also of one that only our functions write. */
static void
copy_rows(const EsPart *part, Oid target, Snapshot snapshot)
{
	char	   *name = get_rel_name(part->oid);
	bool		guarded = es_store_table_is_guarded(name);

	PG_TRY();
	{
		if (guarded)
			es_guard_let_insert(get_relname_relid(name, target));
		(void) execute(part->statement, snapshot);
	}
	PG_FINALLY();
	{
		es_guard_close();
	}
	PG_END_TRY();
}

/* Give a store the tables that another one has and not every store, empty. */
static void
make_optional_tables(Oid source, Oid target)
{
	static const char *const tables[] = {"event_tags", "event_subscriptions", "event_handlers"};

	for (int i = 0; i < lengthof(tables) && es_store_of_schema(source) != NULL; i++)
		if (OidIsValid(get_relname_relid(tables[i], source)))
			es_store_need_table(es_store_of_schema(target), tables[i]);
}

/* Of the same thing, however it is? */
static int
compare_objects(const EsPart *a, const EsPart *b)
{
	int			order = (a->phase > b->phase) - (a->phase < b->phase);

	return order != 0 ? order : strcmp(a->object, b->object);
}

static int
compare_parts(const void *a, const void *b)
{
	const EsPart *x = a;
	const EsPart *y = b;
	int			order = compare_objects(x, y);

	if (order == 0 && x->statement != NULL && y->statement != NULL)
		order = strcmp(x->statement, y->statement);
	return order;
}

/* Is it a table, or a constraint of one, that a store gets when it is needed? */
static bool
is_of_store(const char *object)
{
	static const char *const tables[] = {
		"event_tags", "event_subscriptions", "event_deliveries", "event_handlers", "event_parked", "event_processes"
	};
	const char *last = strrchr(object, ' ');

	if (strncmp(object, "table ", strlen("table ")) == 0 || strncmp(object, "constraint ", strlen("constraint ")) == 0)
		for (int i = 0; i < lengthof(tables); i++)
			if (strcmp(last + 1, tables[i]) == 0)
				return true;
	return false;
}

/* Leave the parts that two schemas have in common, whatever rows and rights they have; in an order of their own. */
static void
keep_compared(EsDefinition *definition)
{
	int			kept = 0;

	for (int i = 0; i < definition->count; i++)
	{
		const EsPart *part = &definition->parts[i];

		if ((part->phase < PHASE_ROWS || (part->phase > PHASE_SEQUENCE && part->phase < PHASE_RIGHTS)) &&
			!is_of_store(part->object))
			definition->parts[kept++] = *part;
	}
	definition->count = kept;
	qsort(definition->parts, kept, sizeof(EsPart), compare_parts);
}

/*
 * The next difference between two definitions, from *i and *j on, which are 0
 * at first: a part of each, NULL where there is none; false if there are no
 * more.  Takes from the definitions what is not compared.
 */
bool
es_definition_difference(EsDefinition *a, EsDefinition *b, int *i, int *j, const EsPart **of_a, const EsPart **of_b)
{
	if (*i == 0 && *j == 0)
	{
		keep_compared(a);
		keep_compared(b);
	}
	while (*i < a->count || *j < b->count)
	{
		const EsPart *x = *i < a->count ? &a->parts[*i] : NULL;
		const EsPart *y = *j < b->count ? &b->parts[*j] : NULL;
		int			order = x == NULL ? 1 : y == NULL ? -1 : compare_objects(x, y);

		if (order <= 0)
			(*i)++;
		if (order >= 0)
			(*j)++;
		if (order == 0 && compare_parts(x, y) == 0)
			continue;
		*of_a = order <= 0 ? x : NULL;
		*of_b = order >= 0 ? y : NULL;
		return true;
	}
	return false;
}

/*
 * Refuse a clone that is not defined as the original is: something of the
 * original's, or of the server's, would stand in it for something of its own.
 */
static void
require_equal(EsDefinition *original, EsDefinition *clone)
{
	int			i = 0;
	int			j = 0;
	const EsPart *expected;
	const EsPart *found;

	if (es_definition_difference(original, clone, &i, &j, &expected, &found))
	{
		const char *object = expected != NULL ? expected->object : found->object;

		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, ES_MEMBERS(ES_TEXT("object", object)),
							"the schema cannot be cloned: the clone's %s would not be that of the original", object),
				 errhint("Names in it may mean something else until all is made: create it anew there, or make the tenant by migrations.")));
	}
}

/* Fill the new schema, which has a store in it; as the owner. */
static void
fill(Oid source, const char *target, bool with_data, bool with_grants)
{
	Oid			nspid = get_namespace_oid(target, false);
	EsDefinition definition;
	EsDefinition clone;
	Snapshot	snapshot;

	SPI_connect();
	do
	{
		lock_tables(source);
		es_definition_read(source, &definition);
	} while (!is_locked(&definition));
	require_possible(source, &definition);
	snapshot = RegisterSnapshot(GetLatestSnapshot());

	set_path(target);
	make_optional_tables(source, nspid);
	make_objects(&definition);
	for (int i = 0; i < definition.count; i++)
	{
		EsPart	   *part = &definition.parts[i];

		CHECK_FOR_INTERRUPTS();
		if (part->done || ((part->phase == PHASE_ROWS || part->phase == PHASE_SEQUENCE) && !with_data) ||
			(part->phase > PHASE_RIGHTS && !with_grants))
			continue;
		if (part->phase == PHASE_ROWS)
			copy_rows(part, nspid, snapshot);
		else if (part->phase == PHASE_RIGHTS_SCHEMA)
			(void) execute(es_statement_in_schema(target, part->statement), InvalidSnapshot);
		else
			(void) execute(part->statement, InvalidSnapshot);
	}
	UnregisterSnapshot(snapshot);
	es_store_guard_tables(nspid);
	es_definition_read(nspid, &clone);
	require_equal(&definition, &clone);
	SPI_finish();
}

/*
 * Make a schema like another one, which is the caller's or of a role that the
 * caller is a member of; with a store in it, whose number is returned.  payload
 * is what the store keeps: that of the other schema, if there is one in it.
 */
int64
es_tenant_clone_schema(Oid source, const char *target, EsPayload payload, bool with_data, bool with_grants)
{
	Oid			user;
	int			security;
	Oid			owner = es_schema_owner(source);
	int			level;
	int64		number;

	GetUserIdAndSecContext(&user, &security);
	if (owner != user)
	{
		es_statement_create_schema_for(target, GetUserNameFromId(owner, false));
		SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	}
	level = es_tenant_lift_guard();
	set("check_function_bodies", "off");
	set("row_security", "off");
	set("session_replication_role", "origin");
	/* values that go by way of text come out as they went in */
	set("datestyle", "ISO");
	set("intervalstyle", "postgres");
	set("extra_float_digits", "1");
	number = es_store_create(target, payload);
	fill(source, target, with_data, with_grants);
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, security);
	return number;
}
