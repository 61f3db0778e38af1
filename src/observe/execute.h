/*
 * execute.h
 *		Telemetry events: what is done with each.
 */
#ifndef ES_EXECUTE_H
#define ES_EXECUTE_H

#include "utils/jsonb.h"

/* Events that the extension executes itself. */
typedef enum EsOwnEvent
{
	ES_EVENT_APPEND,
	ES_EVENT_CONFLICT,
	ES_EVENT_READ,
	ES_EVENT_HANDLE,
	ES_EVENT_HANDLE_BATCH,
	ES_EVENT_PROCESS,
	ES_NEVENTS
} EsOwnEvent;

extern void es_telemetry_execute(text *event, Jsonb *measurements, Jsonb *metadata);

extern const char *es_event_name(EsOwnEvent event);
extern bool es_event_is_wanted(EsOwnEvent event);
extern void es_event_execute(EsOwnEvent event, int64 events, int64 bytes, double duration,
							 const char *label, const char *value);

#endif							/* ES_EXECUTE_H */
