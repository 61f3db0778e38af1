/*
 * delete.h
 *		Taking rows of event_log away.
 */
#ifndef ES_DELETE_H
#define ES_DELETE_H

#include "store/store.h"

extern void es_delete_check(const EsStore *store);
extern void es_delete_events(EsStore *store, int64 stream_id, int64 first, int64 before);

#endif							/* ES_DELETE_H */
