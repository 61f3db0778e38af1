/*
 * payload.h
 *		What a store keeps its events' data as.
 */
#ifndef ES_PAYLOAD_H
#define ES_PAYLOAD_H

#include "store/store.h"

extern const char *es_payload_name(EsPayload payload);
extern Oid	es_payload_type(EsPayload payload);
extern bool es_payload_of_type(Oid type, EsPayload *payload);
extern EsPayload es_payload_argument(text *argument);

extern Datum es_payload_convert(Datum data, EsPayload from, EsPayload to, bool system);
extern Datum es_payload_of_row(const Datum *row, EsPayload from, EsPayload to);
extern bytea *es_payload_from_base64(const char *string, int length);

#endif							/* ES_PAYLOAD_H */
