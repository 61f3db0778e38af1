/*
 * index.c
 *		The indexes that a store may have besides those it must have.
 *
 * Each serves one kind of read (log/read, log/find) and costs every append.
 * What counts is the columns of an index, not its name or who made it: store.c
 * finds what is there, and an append fills it like any other.  Here is only a
 * short way to CREATE INDEX and DROP INDEX.
 *
 * Both are procedures, because CREATE INDEX CONCURRENTLY, which lets appends go
 * on, must not run in a transaction: it commits several times.  So it is as if
 * the CALL had been that command.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "store/statement.h"
#include "store/store.h"

static const struct Kind
{
	const char *kind;
	const char *name;
	const char *columns;
}			kinds[] = {
	{"type", "event_log_by_type", "(event_type, position)"},
	{"correlation", "event_log_by_correlation", "(correlation_id, position) WHERE correlation_id IS NOT NULL"},
	{"time", "event_log_by_time", "(created_at, position)"},
};

static const struct Kind *
kind_argument(FunctionCallInfo fcinfo)
{
	char	   *kind;

	es_require_argument(fcinfo, 0, "kind");
	es_require_argument(fcinfo, 1, "concurrently");
	kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kind, kinds[i].kind) == 0)
			return &kinds[i];
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("kind", kind)),
						"there is no index of kind \"%s\"", kind),
			 errhint("Use type, correlation or time.")));
}

/* Refuse what cannot be done in the transaction that the call is in. */
static void
require_no_transaction(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic || SPI_inside_nonatomic_context())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot work on an index concurrently in a transaction block or from a function"),
				 errhint("CALL it by itself, or with concurrently => false, which keeps appends out until the transaction ends.")));
}

/* The schema of the current store, which must be the caller's; palloc'd. */
static char *
own_store(void)
{
	EsStore    *store;

	es_require_writable();
	store = es_store_current(false);
	if (!es_owns_relation(store->log, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"must be owner of event store \"%s\"", NameStr(store->schema)),
				 errhint("Ask the owner, or become a member of the owning role.")));
	return pstrdup(NameStr(store->schema));
}

PG_FUNCTION_INFO_V1(event_store_add_index);
PG_FUNCTION_INFO_V1(event_store_drop_index);

Datum
event_store_add_index(PG_FUNCTION_ARGS)
{
	const struct Kind *kind = kind_argument(fcinfo);
	bool		concurrently = PG_GETARG_BOOL(1);
	char	   *schema = own_store();
	Oid			index = get_relname_relid(kind->name, get_namespace_oid(schema, false));

	if (concurrently)
		require_no_transaction(fcinfo);
	if (OidIsValid(index) && get_index_isvalid(index))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("store", schema), ES_TEXT("kind", kind->kind)),
							"event store \"%s\" already has an index of kind \"%s\"", schema, kind->kind),
				 errhint("To build it anew, use REINDEX INDEX CONCURRENTLY %s.%s.", quote_identifier(schema), kind->name)));

	/* what an earlier call left behind that was interrupted */
	if (OidIsValid(index))
		es_statement_drop_index(schema, kind->name, concurrently);
	es_statement_create_index(schema, kind->name, kind->columns, concurrently);
	PG_RETURN_VOID();
}

Datum
event_store_drop_index(PG_FUNCTION_ARGS)
{
	const struct Kind *kind = kind_argument(fcinfo);
	bool		concurrently = PG_GETARG_BOOL(1);
	char	   *schema = own_store();

	if (concurrently)
		require_no_transaction(fcinfo);
	if (!OidIsValid(get_relname_relid(kind->name, get_namespace_oid(schema, false))))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("store", schema), ES_TEXT("kind", kind->kind)),
							"event store \"%s\" has no index of kind \"%s\"", schema, kind->kind),
				 errhint("An index that was made by hand under another name is dropped with DROP INDEX.")));
	es_statement_drop_index(schema, kind->name, concurrently);
	PG_RETURN_VOID();
}
