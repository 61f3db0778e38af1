/*
 * tenant_compare.c
 *		In what a tenant differs from another one, or from a schema.
 *
 * Migrations tell what a tenant should have; this tells what it has, whoever
 * made it.  Rows, rights and the tables of the store are not compared.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "store/tenant.h"
#include "store/tenant_clone.h"
#include "store/tenant_life.h"

PG_FUNCTION_INFO_V1(event_store_tenant_differences);

/* tenant_differences(tenant, template) */
Datum
event_store_tenant_differences(PG_FUNCTION_ARGS)
{
	const char *name = es_tenant_name_argument(fcinfo, 0, "tenant");
	const char *template = es_tenant_name_argument(fcinfo, 1, "template");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			nspid = es_tenant_template_schema(&name);
	Oid			as = es_tenant_template_schema(&template);
	EsDefinition has;
	EsDefinition should_have;
	int			i = 0;
	int			j = 0;
	const EsPart *expected;
	const EsPart *found;
	int			level;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	level = NewGUCNestLevel();
	es_definition_read(as, &should_have);
	es_definition_read(nspid, &has);
	AtEOXact_GUC(true, level);
	while (es_definition_difference(&should_have, &has, &i, &j, &expected, &found))
	{
		const char *texts[3];
		Datum		values[3];
		bool		nulls[3];

		CHECK_FOR_INTERRUPTS();
		texts[0] = expected != NULL ? expected->object : found->object;
		texts[1] = expected != NULL ? expected->statement : NULL;
		texts[2] = found != NULL ? found->statement : NULL;
		for (int k = 0; k < lengthof(values); k++)
		{
			nulls[k] = texts[k] == NULL;
			values[k] = nulls[k] ? (Datum) 0 : CStringGetTextDatum(texts[k]);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
