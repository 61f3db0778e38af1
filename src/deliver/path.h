/*
 * path.h
 *		A jsonpath over a recorded event.
 */
#ifndef ES_PATH_H
#define ES_PATH_H

#include "utils/jsonb.h"
#include "utils/jsonpath.h"

#include "store/store.h"

typedef struct EsPath
{
	JsonPath   *path;
	bool		variables;		/* it speaks of more than data */
} EsPath;

extern EsPath *es_path_make(JsonPath *path);
extern Jsonb *es_path_value(const EsPath *path, EsPayload kept, text *stream, const Datum *row, const bool *nulls);
extern bool es_path_holds(const EsPath *path, EsPayload kept, text *stream, const Datum *row, const bool *nulls);

#endif							/* ES_PATH_H */
