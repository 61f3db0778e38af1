/*
 * apply.h
 *		Apply functions: finding them, and what they take and return.
 */
#ifndef ES_APPLY_H
#define ES_APPLY_H

#include "model/aggregate.h"

extern Oid	es_apply_event_type(void);
extern Oid	es_function_find(const char *name);
extern Oid	es_apply_find(const char *name);
extern void es_apply_inspect(Oid function, EsApplyForm *form, Oid *state_type);
extern char *es_apply_signature(Oid function);
extern uint64 es_apply_hash(Oid function, uint64 seed);
extern uint64 es_type_hash(Oid type, uint64 seed);

#endif							/* ES_APPLY_H */
