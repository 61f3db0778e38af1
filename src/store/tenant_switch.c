/*
 * tenant_switch.c
 *		From one tenant to another, for a session, a transaction or one query.
 *
 * A switch sets two settings together: event_store.tenant, which the calls of
 * this extension follow, and the search_path, which unqualified names in
 * anybody's SQL follow.  pg_temp comes last on it: where it is not named it is
 * searched first, and a temporary table would stand in for a tenant's.
 *
 * with_tenant and each_tenant (runtime/each_tenant) set them on a level of their
 * own, which ends with the call, however it ends.  What the query itself sets for the session
 * outlives that level; that is found out afterwards and made an error, which
 * undoes it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/parameters.h"
#include "base/settings.h"
#include "observe/try.h"
#include "store/statement.h"
#include "store/tenant.h"

/* The settings that a switch changes, as they were before. */
typedef struct Before
{
	char	   *path;
	char	   *tenant;
	int			level;
} Before;

/* The quoted name of a schema; an error if it has been dropped. */
static const char *
quoted_schema(Oid nspid)
{
	char	   *schema = get_namespace_name(nspid);

	if (schema == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STORE_NOT_FOUND, ES_MEMBERS(ES_INT("schema", nspid)),
							"the schema that this is for does not exist any more")));
	return quote_identifier(schema);
}

/* The search_path of a tenant's schema, palloc'd. */
static char *
tenant_path(Oid nspid)
{
	return psprintf("%s, %s%spg_temp", quoted_schema(nspid), es_tenant_shared_schemas,
					es_tenant_shared_schemas[0] == '\0' ? "" : ", ");
}

static void
set(const char *name, const char *value, GucAction action)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, action, true, 0, false);
}

/* Switch to a tenant and its schema, or with an empty name to a schema that is to become one's. */
void
es_tenant_switch(const char *name, Oid nspid, GucAction action)
{
	set("event_store.tenant", name, action);
	set("search_path", tenant_path(nspid), action);
}

static void
switch_to(const EsTenant *tenant, GucAction action)
{
	es_tenant_switch(NameStr(tenant->name), tenant->nspid, action);
}

/*
 * Set the search_path, and the tenant, of what runs in the background for the
 * store in a schema, or for none (InvalidOid); on the level of settings that
 * the caller has begun.
 */
void
es_tenant_enter(Oid nspid)
{
	EsTenant	tenant;

	if (OidIsValid(nspid) && es_tenant_of_schema(nspid, &tenant))
	{
		switch_to(&tenant, GUC_ACTION_SAVE);
		return;
	}
	set("event_store.tenant", "", GUC_ACTION_SAVE);
	set("search_path", OidIsValid(nspid) ? psprintf("%s, pg_temp", quoted_schema(nspid)) : "pg_catalog, pg_temp",
		GUC_ACTION_SAVE);
}

/* The usable tenant that the first argument names. */
static void
tenant_argument(FunctionCallInfo fcinfo, EsTenant *tenant)
{
	es_tenant_get(es_tenant_name_argument(fcinfo, 0, "tenant"), tenant);
	es_tenant_require_state(tenant, false);
}

static void
begin_level(Before *before)
{
	before->path = pstrdup(namespace_search_path);
	before->tenant = pstrdup(es_tenant);
	before->level = NewGUCNestLevel();
}

/* End the level; an error if what was set before is not what is set now. */
static void
end_level(Before *before)
{
	AtEOXact_GUC(true, before->level);
	if (strcmp(before->path, namespace_search_path) != 0 || strcmp(before->tenant, es_tenant) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("search_path", namespace_search_path), ES_TEXT("tenant", es_tenant)),
							"the query has set the search_path or event_store.tenant for the session"),
				 errhint("Use SET LOCAL in it, or nothing: the tenant is set already.")));
}

/* Append the rows of the last SPI query to the result, in the form that the caller of the function wants. */
static void
return_rows(ReturnSetInfo *rsinfo, MemoryContext per_query)
{
	SPITupleTable *table = SPI_tuptable;
	TupleConversionMap *map = NULL;
	MemoryContext spi = MemoryContextSwitchTo(per_query);

	/* a query that returns nothing has no rows to describe */
	if (rsinfo->expectedDesc != NULL)
		rsinfo->setDesc = CreateTupleDescCopy(rsinfo->expectedDesc);
	else
		rsinfo->setDesc = table != NULL ? CreateTupleDescCopy(table->tupdesc) : CreateTemplateTupleDesc(0);
	BlessTupleDesc(rsinfo->setDesc);
	MemoryContextSwitchTo(spi);

	if (table == NULL)
		return;
	map = convert_tuples_by_position(table->tupdesc, rsinfo->setDesc,
									 "the query of with_tenant returns other columns than its column definition list says");
	for (uint64 i = 0; i < table->numvals; i++)
	{
		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(rsinfo->setResult, map == NULL ? table->vals[i] : execute_attr_map_tuple(table->vals[i], map));
	}
}

/* The names of all tenants, palloc'd, in their order. */
List *
es_tenant_names(void)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	Relation	index = index_open(es_primary_key(registry), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(registry, index, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *names = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;

		names = lappend(names, TextDatumGetCString(heap_getattr(tuple, TENANT_NAME + 1, RelationGetDescr(registry), &isnull)));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(registry, AccessShareLock);
	return names;
}

/*
 * Run the query for a tenant, in a subtransaction; the answer is a document as
 * of es_try, with *failed set a problem.  A tenant that cannot be used says
 * itself why.  False if there is none of the name.
 */
bool
es_tenant_try(const char *name, const char *query, Datum *answer, bool *failed)
{
	EsTenant	tenant;
	Before		before;
	EsParameters none = {0};
	bool		usable;

	if (!es_tenant_find(name, &tenant))
		return false;
	usable = OidIsValid(tenant.nspid) && tenant.state != ES_TENANT_SUSPENDED;
	begin_level(&before);
	if (usable)
		switch_to(&tenant, GUC_ACTION_SAVE);
	else
		set("event_store.tenant", name, GUC_ACTION_SAVE);
	*answer = es_try(usable ? query : es_statement_require_tenant, &none, failed);
	end_level(&before);
	return true;
}

PG_FUNCTION_INFO_V1(event_store_tenant_use);
PG_FUNCTION_INFO_V1(event_store_tenant_use_session);
PG_FUNCTION_INFO_V1(event_store_with_tenant);
PG_FUNCTION_INFO_V1(event_store_pooler_check);

Datum
event_store_tenant_use(PG_FUNCTION_ARGS)
{
	EsTenant	tenant;

	tenant_argument(fcinfo, &tenant);
	switch_to(&tenant, GUC_ACTION_LOCAL);
	PG_RETURN_VOID();
}

Datum
event_store_tenant_use_session(PG_FUNCTION_ARGS)
{
	EsTenant	tenant;

	if (es_pooler == ES_POOLER_TRANSACTION)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
							"behind a pooler in transaction mode a tenant cannot be set for the session"),
				 errhint("Begin each transaction with event_store.tenant_use().")));
	tenant_argument(fcinfo, &tenant);
	switch_to(&tenant, GUC_ACTION_SET);
	PG_RETURN_VOID();
}

/* with_tenant(tenant, query, VARIADIC params) */
Datum
event_store_with_tenant(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EsTenant	tenant;
	char	   *query;
	EsParameters p;
	Before		before;
	MemoryContext per_query;
	MemoryContext caller;
	int			status;

	tenant_argument(fcinfo, &tenant);
	es_require_argument(fcinfo, 1, "query");
	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || (rsinfo->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "with_tenant is called where rows cannot be returned"),
				 errhint("Call it as SELECT * FROM event_store.with_tenant(...) AS (name type, ...).")));
	query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	es_parameters_get(fcinfo, 2, &p);

	per_query = rsinfo->econtext->ecxt_per_query_memory;
	caller = MemoryContextSwitchTo(per_query);
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	MemoryContextSwitchTo(caller);

	begin_level(&before);
	switch_to(&tenant, GUC_ACTION_SAVE);
	es_parameters_resolve(query, &p);
	SPI_connect();
	status = es_parameters_execute(query, &p);
	if (status < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "with_tenant cannot run a statement of this kind: %s",
							SPI_result_code_string(status)),
				 errhint("Transactions cannot be begun or ended and data cannot be copied inside of it.")));
	return_rows(rsinfo, per_query);
	SPI_finish();
	end_level(&before);
	return (Datum) 0;
}

/*
 * pooler_check(previous): a token that names this server process and the
 * tenant set in it; and, given the token of an earlier call of the same client,
 * what must be between them.
 */
Datum
event_store_pooler_check(PG_FUNCTION_ARGS)
{
	char	   *process = psprintf("%d.%lld", MyProcPid, (long long) MyStartTimestamp);
	Datum		values[2];
	bool		nulls[2] = {false, true};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "pooler_check must return a row");
	values[0] = CStringGetTextDatum(psprintf("%s:%s", process, es_tenant));
	if (!PG_ARGISNULL(0))
	{
		char	   *previous = text_to_cstring(PG_GETARG_TEXT_PP(0));
		char	   *tenant = strchr(previous, ':');

		if (tenant == NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("previous", previous)),
								"\"%s\" is no token of pooler_check", previous),
					 errhint("Pass the token that an earlier call of the same client has returned.")));
		*tenant++ = '\0';
		nulls[1] = false;
		values[1] = CStringGetTextDatum(strcmp(previous, process) == 0 ? "none" :
										tenant[0] != '\0' && strcmp(tenant, es_tenant) == 0 ? "tracked" : "transaction");
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
