/*
 * handler.h
 *		Functions that run when a telemetry event happens.
 */
#ifndef ES_HANDLER_H
#define ES_HANDLER_H

#include "utils/jsonb.h"

extern uint64 es_handlers_load(void);
extern bool es_handlers_want(const char *event);
extern void es_handlers_run(text *event, Jsonb *measurements, Jsonb *metadata);

extern void EsHandlerInit(void);

#endif							/* ES_HANDLER_H */
