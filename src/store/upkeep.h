/*
 * upkeep.h
 *		Work on tenants that goes on by itself, where workers run (runtime/upkeep).
 */
#ifndef ES_UPKEEP_H
#define ES_UPKEEP_H

#include "utils/timestamp.h"

/* How it goes on after a step. */
typedef enum EsUpkeepNext
{
	ES_UPKEEP_MORE,
	ES_UPKEEP_LATER,			/* at a time that the step gives; DT_NOEND: when something has changed */
	ES_UPKEEP_DONE
} EsUpkeepNext;

/* What the floor of workers is told, in the transaction that changes it. */
typedef struct EsUpkeepHooks
{
	void		(*tenant_dropped) (const char *name, bool kept);	/* kept until its time; else gone, or taken back */
	void		(*pool_taken) (const char *template, bool with_data);	/* one of the current role's */
	void		(*rollout_goes_on) (int64 rollout);
} EsUpkeepHooks;

extern const EsUpkeepHooks *es_upkeep_hooks;

/* steps, each for a transaction, as the current role */
extern EsUpkeepNext es_tenant_purge_step(const char *name, TimestampTz *at);
extern EsUpkeepNext es_tenant_pool_step(int size, const char *template, bool with_data);
extern EsUpkeepNext es_rollout_step(int64 rollout, TimestampTz *at);

#endif							/* ES_UPKEEP_H */
