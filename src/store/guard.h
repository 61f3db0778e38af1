/*
 * guard.h
 *		The tables of a store change through our functions only.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

#include "utils/rel.h"

extern Oid	es_guard_function(void);
extern void es_guard_let_insert(Oid relid);
extern void es_guard_let_replace(Oid relid);
extern void es_guard_let_refill(Oid relid);
extern void es_guard_let_delete(Oid log, int64 stream_id, int64 before);
extern void es_guard_close(void);
extern void es_guard_close_delete(void);
extern const char *es_guard_missing(Relation rel);

#endif							/* ES_GUARD_H */
