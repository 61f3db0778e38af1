/*
 * handler_use.h
 *		A handler and how far it has come, for whoever works on them.
 */
#ifndef ES_HANDLER_USE_H
#define ES_HANDLER_USE_H

#include "deliver/event_handler.h"
#include "deliver/handler_state.h"

typedef struct EsHandlerUse
{
	EsStore    *store;
	Relation	log;
	Relation	handlers;		/* the table of states */
	EsHandler  *handler;
} EsHandlerUse;

extern void es_handler_use(EsHandlerUse *use, const char *name, bool shadow);
extern void es_handler_leave(EsHandlerUse *use);
extern int64 es_handler_start_position(EsHandlerUse *use, const char *start_from, bool first);
extern void es_handler_state(EsHandlerUse *use, int partition, EsHandlerState *state);

/* deliver/handler_step */
extern ErrorData *es_handler_attempt(const EsHandlerUse *use, EsHandled *event);

/* deliver/handler_failure */
extern bool es_handler_blameless(int sqlstate);
extern Jsonb *es_handler_problem(const char *name, const ErrorData *error, int64 position, int attempts);
extern bool es_handler_judge(EsHandlerUse *use, EsHandlerState *state, const EsHandled *event, const ErrorData *error);

#endif							/* ES_HANDLER_USE_H */
