/*
 * handler_task.h
 *		Event handlers as background tasks.
 */
#ifndef ES_HANDLER_TASK_H
#define ES_HANDLER_TASK_H

#include "store/store.h"

extern void es_handler_tasks_add(const char *name, int concurrency, EsStore *store, Oid owner);
extern void es_handler_tasks_add_spawner(const char *name, Oid owner);
extern void es_handler_tasks_add_shadow(const char *name, int concurrency, EsStore *store, Oid owner);
extern void es_handler_tasks_remove_shadow(const char *name, int concurrency, EsStore *store);
extern void es_handler_tasks_remove(const char *name);
extern void es_handler_tasks_poke(const char *name, int concurrency, EsStore *store);

extern void EsHandlerTaskInit(void);

#endif							/* ES_HANDLER_TASK_H */
