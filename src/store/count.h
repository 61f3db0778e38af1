/*
 * count.h
 *		What is counted for a store.
 */
#ifndef ES_COUNT_H
#define ES_COUNT_H

#include "observe/series.h"
#include "store/store.h"

extern EsSeries *es_store_series(EsStore *store);
extern void es_store_drop_series(EsStore *store);

#endif							/* ES_COUNT_H */
