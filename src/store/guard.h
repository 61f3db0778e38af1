/*
 * guard.h
 *		The tables of a store change through our functions only.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

extern void es_guard_let_insert(Oid relid);
extern void es_guard_close(void);

#endif							/* ES_GUARD_H */
