/*
 * token.h
 *		Positions that a consumer keeps somewhere else.
 */
#ifndef ES_TOKEN_H
#define ES_TOKEN_H

#include "store/store.h"

extern char *es_token_make(EsStore *store, int64 position);
extern int64 es_token_position(EsStore *store, const char *token);

#endif							/* ES_TOKEN_H */
