/*
 * tenant_domain.c
 *		Hosts: which tenant a request is for that came under a name.
 *
 * A host is kept in the form in which hosts are compared: in lower case,
 * without a port, a final dot and a leading "www.".
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "store/tenant.h"
#include "store/tenant_records.h"

#define MAX_HOST	253

/* Columns of tenant_domain. */
enum DomainColumn
{
	DOMAIN_HOST,
	DOMAIN_TENANT
};

/* A host in the form in which it is compared, palloc'd; NULL if it is none. */
static char *
normalize(const char *host)
{
	char	   *name;
	char	   *port;
	size_t		length;

	if (strlen(host) > MAX_HOST + 7)
		return NULL;
	name = pstrdup(host);
	for (char *c = name; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	port = strchr(name, ':');
	if (port != NULL && strspn(port + 1, "0123456789") == strlen(port + 1))
		*port = '\0';
	length = strlen(name);
	if (length > 0 && name[length - 1] == '.')
		name[--length] = '\0';
	if (strncmp(name, "www.", 4) == 0)
		name += 4;
	length = strlen(name);
	if (length == 0 || length > MAX_HOST || name[0] == '.' || strstr(name, "..") != NULL ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != length)
		return NULL;
	return name;
}

/* The tenant that a host, in its normal form, leads to; palloc'd, NULL if none. */
static char *
find(const char *host)
{
	Relation	rel = es_extension_open("tenant_domain", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *tenant = NULL;

	ScanKeyEntryInitialize(&key, 0, DOMAIN_HOST + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(host));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		tenant = TextDatumGetCString(heap_getattr(tuple, DOMAIN_TENANT + 1, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tenant;
}

static char *
host_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *given;
	char	   *host;

	es_require_argument(fcinfo, argument, "host");
	given = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	host = normalize(given);
	if (host == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("host", given)),
							"\"%s\" is no host", given),
				 errhint("Pass a name as it stands in the Host header, of letters, digits, hyphens and dots.")));
	return host;
}

/* Lock the tenant of a name, which must be the caller's. */
static void
lock_tenant(const char *name)
{
	Relation	registry;
	EsTenant	tenant;

	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	(void) es_tenant_own_row(registry, name, &tenant);
	table_close(registry, NoLock);
}

PG_FUNCTION_INFO_V1(event_store_add_tenant_domain);
PG_FUNCTION_INFO_V1(event_store_remove_tenant_domain);
PG_FUNCTION_INFO_V1(event_store_tenant_for_host);

/* add_tenant_domain(name, host, is_primary) */
Datum
event_store_add_tenant_domain(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	char	   *host = host_argument(fcinfo, 1);
	char	   *other;
	Datum		values[3];

	es_require_argument(fcinfo, 2, "is_primary");
	lock_tenant(name);
	other = find(host);
	if (other != NULL && strcmp(other, name) == 0 && !PG_GETARG_BOOL(2))
		PG_RETURN_VOID();
	SPI_connect();

	/* the tenant may have it already, and it is to be the primary now */
	if (other != NULL && strcmp(other, name) == 0)
	{
		values[0] = CStringGetTextDatum(host);
		values[1] = CStringGetTextDatum(name);
		(void) es_record(ES_RECORD_DOMAIN_REMOVE, values, NULL);
	}
	if (PG_GETARG_BOOL(2))
	{
		values[0] = CStringGetTextDatum(name);
		(void) es_record(ES_RECORD_DOMAIN_DEMOTE, values, NULL);
	}
	values[0] = CStringGetTextDatum(host);
	values[1] = CStringGetTextDatum(name);
	values[2] = PG_GETARG_DATUM(2);
	if (es_record(ES_RECORD_DOMAIN_ADD, values, NULL) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("host", host)),
							"host \"%s\" leads to another tenant already", host),
				 errhint("Take it from that one with event_store.remove_tenant_domain() first.")));
	SPI_finish();
	PG_RETURN_VOID();
}

Datum
event_store_remove_tenant_domain(PG_FUNCTION_ARGS)
{
	char	   *host = host_argument(fcinfo, 0);
	char	   *tenant = find(host);
	Datum		values[2];
	uint64		count = 0;

	if (tenant != NULL)
	{
		/* while we wait for the lock another tenant may get the host */
		lock_tenant(tenant);
		values[0] = CStringGetTextDatum(host);
		values[1] = CStringGetTextDatum(tenant);
		SPI_connect();
		count = es_record(ES_RECORD_DOMAIN_REMOVE, values, NULL);
		SPI_finish();
	}
	if (count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("host", host)),
							tenant == NULL ? "host \"%s\" leads to no tenant" :
							"host \"%s\" has just got another tenant, or none", host),
				 errhint("The table event_store.tenant_domain lists the hosts.")));
	PG_RETURN_VOID();
}

Datum
event_store_tenant_for_host(PG_FUNCTION_ARGS)
{
	char	   *host = normalize(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char	   *tenant = host == NULL ? NULL : find(host);

	if (tenant == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(tenant));
}
