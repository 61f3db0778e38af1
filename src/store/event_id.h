/*
 * event_id.h
 *		The event ids that a store makes.
 */
#ifndef ES_EVENT_ID_H
#define ES_EVENT_ID_H

#include "store/store.h"
#include "utils/uuid.h"

extern void es_event_id_make(const EsStore *store, int64 position, pg_uuid_t *id);
extern bool es_event_id_made_here(const EsStore *store, const pg_uuid_t *id, int64 *position);
extern void es_event_id_range(int64 number, pg_uuid_t *low, pg_uuid_t *high);
extern char *es_event_id_to_string(const pg_uuid_t *id);

#endif							/* ES_EVENT_ID_H */
