/*
 * parameters.c
 *		The parameters of a query that is an argument of a function.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/lsyscache.h"

#include "base/parameters.h"

/* The arguments of a VARIADIC "any" function from the given one on. */
void
es_parameters_get(FunctionCallInfo fcinfo, int first, EsParameters *p)
{
	memset(p, 0, sizeof(EsParameters));
	if (PG_NARGS() > first)
		p->count = extract_variadic_args(fcinfo, first, false, &p->values, &p->types, &p->nulls);
	if (p->count < 0)
		p->count = 0;
}

/*
 * Give literals without a type the type that the query expects in their place;
 * text if it does not say.
 */
void
es_parameters_resolve(const char *query, EsParameters *p)
{
	Oid		   *types = palloc(sizeof(Oid) * p->count);
	int			ntypes = p->count;
	bool		any = false;
	ListCell   *lc;

	for (int i = 0; i < p->count; i++)
	{
		types[i] = p->types[i];
		any |= types[i] == UNKNOWNOID;
	}
	if (!any)
		return;

	foreach(lc, raw_parser(query, RAW_PARSE_DEFAULT))
		(void) parse_analyze_varparams(lfirst_node(RawStmt, lc), query, &types, &ntypes, NULL);
	for (int i = 0; i < p->count; i++)
	{
		Oid			input;
		Oid			ioparam;

		if (p->types[i] != UNKNOWNOID)
			continue;
		p->types[i] = types[i] == UNKNOWNOID || types[i] == InvalidOid ? TEXTOID : types[i];
		getTypeInputInfo(p->types[i], &input, &ioparam);
		p->values[i] = OidInputFunctionCall(input, p->nulls[i] ? NULL : DatumGetCString(p->values[i]), ioparam, -1);
	}
}

/* Run the query, resolved, through SPI, to which the caller is connected; returns its result code. */
int
es_parameters_execute(const char *query, EsParameters *p)
{
	char	   *nulls = palloc(p->count + 1);

	for (int i = 0; i < p->count; i++)
		nulls[i] = p->nulls[i] ? 'n' : ' ';
	return SPI_execute_with_args(query, p->count, p->types, p->values, nulls, false, 0);
}
