/*
 * problem.c
 *		Problem details: the catalogue of error conditions as SQL sees it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/errors.h"

PG_FUNCTION_INFO_V1(event_store_problem_types);

Datum
event_store_problem_types(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	const EsProblemType *types = es_problem_types(&count);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		Datum		values[5];
		bool		nulls[5] = {0};

		values[0] = CStringGetTextDatum(unpack_sql_state(types[i].sqlstate));
		values[1] = types[i].name ? CStringGetTextDatum(types[i].name) : (Datum) 0;
		nulls[1] = types[i].name == NULL;
		values[2] = CStringGetTextDatum(es_problem_type_uri(&types[i]));
		values[3] = CStringGetTextDatum(types[i].title);
		values[4] = Int32GetDatum(types[i].status);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
