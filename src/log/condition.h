/*
 * condition.h
 *		Appends on the condition that no event matches a query.
 */
#ifndef ES_CONDITION_H
#define ES_CONDITION_H

#include "fmgr.h"

#include "base/compat.h"
#include "log/query.h"

/* No event after the position may match the query. */
typedef struct EsCondition
{
	const EsQuery *query;
	int64		after;
} EsCondition;

/* An event that does. */
typedef struct EsConditionMatch
{
	int64		position;
	char	   *type;
	bool		unseen;			/* newer than the snapshot of the transaction */
} EsConditionMatch;

extern const EsCondition *es_condition_argument(FunctionCallInfo fcinfo, int argument);
extern bool es_condition_failed(const EsCondition *condition, EsStore *store, Relation log, EsConditionMatch *match);
pg_noreturn extern void es_condition_raise(const EsCondition *condition, const EsConditionMatch *match);

#endif							/* ES_CONDITION_H */
