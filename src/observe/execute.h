/*
 * execute.h
 *		Telemetry events: what is done with each.
 */
#ifndef ES_EXECUTE_H
#define ES_EXECUTE_H

#include "utils/jsonb.h"

extern void es_telemetry_execute(text *event, Jsonb *measurements, Jsonb *metadata);

#endif							/* ES_EXECUTE_H */
