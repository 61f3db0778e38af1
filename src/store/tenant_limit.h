/*
 * tenant_limit.h
 *		What a tenant may do: the table tenant_limit.
 */
#ifndef ES_TENANT_LIMIT_H
#define ES_TENANT_LIMIT_H

#include "store/store.h"

/* What can be limited; those up to ES_LIMIT_LAST_RATE are rates. */
typedef enum EsLimitKind
{
	ES_LIMIT_APPENDS,
	ES_LIMIT_EVENTS,
	ES_LIMIT_BYTES,
	ES_LIMIT_LAST_RATE = ES_LIMIT_BYTES,
	ES_LIMIT_STREAMS,
	ES_LIMIT_STORAGE,
	ES_LIMIT_COUNT
} EsLimitKind;

/* What becomes of an append beyond a limit. */
typedef enum EsLimitAction
{
	ES_LIMIT_REFUSE,
	ES_LIMIT_DELAY,
	ES_LIMIT_WARN
} EsLimitAction;

typedef struct EsLimit
{
	bool		set;
	EsLimitAction action;
	int64		amount;			/* of a rate: a second */
	int64		burst;			/* of a rate: what may come at once */
	int64		max_delay;		/* in ms */
} EsLimit;

extern const char *const es_limit_names[ES_LIMIT_COUNT];
extern const char *const es_limit_actions[];

extern bool es_tenant_limits_exist(void);
extern const EsLimit *es_tenant_limits(EsStore *store);
extern void es_tenant_limits_forget(int64 store_number);

#endif							/* ES_TENANT_LIMIT_H */
