/*
 * parameters.h
 *		The parameters of a query that is an argument of a function.
 */
#ifndef ES_PARAMETERS_H
#define ES_PARAMETERS_H

#include "fmgr.h"

typedef struct EsParameters
{
	int			count;
	Datum	   *values;
	Oid		   *types;
	bool	   *nulls;
} EsParameters;

extern void es_parameters_get(FunctionCallInfo fcinfo, int first, EsParameters *p);
extern void es_parameters_resolve(const char *query, EsParameters *p);
extern int	es_parameters_execute(const char *query, EsParameters *p);

#endif							/* ES_PARAMETERS_H */
