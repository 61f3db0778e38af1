/*
 * projection.h
 *		Projections: tables that a handler fills, built beside themselves.
 */
#ifndef ES_PROJECTION_H
#define ES_PROJECTION_H

#include "deliver/handler_use.h"

/* Partitions of a handler whose tables are built beside those in use. */
#define ES_SHADOW(partition)	(-1 - (partition))
#define ES_LIVE_READ			(-1000000)	/* and below: for one read, by this process */

extern char *es_shadow_schema(const EsStore *store, const char *name, int partition);
extern int	es_shadow_enter(const char *name, int partition);
extern void es_shadow_leave(int level);
extern List *es_projection_writes(EsHandler *handler);
extern void es_projection_check_writes(EsHandler *handler, List *before);
extern bool es_projection_finish(const char *name);
extern void es_projection_forget(EsStore *store, const char *name);
extern void es_projection_forget_gone(int64 store_number, const char *name);

#endif							/* ES_PROJECTION_H */
