/*
 * upkeep.h
 *		Tasks that do what tenants need by themselves.
 */
#ifndef ES_RUNTIME_UPKEEP_H
#define ES_RUNTIME_UPKEEP_H

extern void EsUpkeepInit(void);

#endif							/* ES_RUNTIME_UPKEEP_H */
