/*
 * index.h
 *		The indexes of a store.
 */
#ifndef ES_INDEX_H
#define ES_INDEX_H

#include "store/store.h"

extern void es_store_load_log_indexes(EsStore *store, Relation log);
extern void es_store_load_stream_indexes(EsStore *store, Relation streams);
extern void es_store_load_tag_indexes(EsStore *store, Relation tags);

#endif							/* ES_INDEX_H */
