/*
 * process_manager.h
 *		Process managers: from events to commands, with a state for each instance.
 */
#ifndef ES_PROCESS_MANAGER_H
#define ES_PROCESS_MANAGER_H

#include "deliver/event_handler.h"

extern void es_process_handle(EsHandler *handler, EsStore *store, const EsHandled *event);
extern void es_process_sweep(EsHandler *handler, EsStore *store);
extern void es_process_forget(EsStore *store, const char *manager);

#endif							/* ES_PROCESS_MANAGER_H */
