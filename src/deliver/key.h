/*
 * key.h
 *		The keys by which events are kept in order.
 */
#ifndef ES_KEY_H
#define ES_KEY_H

#include "deliver/path.h"

typedef enum EsKeyKind
{
	ES_KEY_STREAM,
	ES_KEY_CATEGORY,
	ES_KEY_CORRELATION,
	ES_KEY_ALL,
	ES_KEY_NONE,
	ES_KEY_PATH
} EsKeyKind;

typedef struct EsKeyRule
{
	EsKeyKind	kind;
	EsPath	   *path;
} EsKeyRule;

extern EsKeyRule *es_key_parse(const char *partition_by);
extern int64 es_key_of(const EsKeyRule *rule, EsPayload kept, text *stream, const Datum *row, const bool *nulls);

#endif							/* ES_KEY_H */
