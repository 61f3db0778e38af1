/*
 * event.h
 *		New events: taking them from the caller, checking them.
 */
#ifndef ES_EVENT_H
#define ES_EVENT_H

#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/json_text.h"
#include "store/store.h"

/* An event to append, as the caller gave it. */
typedef struct EsEvent
{
	text	   *type;			/* required */
	void	   *data;			/* required: a jsonb, JSON text or bytea ... */
	EsPayload	payload;		/* ... as this says */
	Jsonb	   *metadata;		/* an object, or NULL */
	pg_uuid_t  *event_id;		/* NULL: made at append */
	pg_uuid_t  *correlation_id;
	pg_uuid_t  *causation_id;
	TimestampTz created_at;
	bool		has_created_at;
} EsEvent;

extern EsEvent *es_events_from_jsonb(Jsonb *events, int *count);
extern EsEvent *es_events_from_text(const text *json, EsPayload payload, int *count);
extern EsEvent *es_events_from_array(ArrayType *events, int *count);
extern void es_events_check_count(int64 count);
extern void es_events_add_trace(EsEvent *events, int count);
extern int64 es_events_check(EsEvent *events, int count);
extern void es_events_keep_text(EsEvent *events, int count, const EsJsonPart *json);
extern void *es_event_data_in(const text *json, EsPayload payload);
extern int64 es_event_fit(EsEvent *event, int index, const EsStore *store);
extern int	es_events_find_duplicate(EsEvent *events, int count);

#endif							/* ES_EVENT_H */
