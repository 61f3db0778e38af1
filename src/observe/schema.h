/*
 * schema.h
 *		JSON Schema: is a document what a schema asks for?
 */
#ifndef ES_SCHEMA_H
#define ES_SCHEMA_H

#include "utils/jsonb.h"

extern bool es_schema_is_valid(Jsonb *schema, Jsonb *document);
extern Jsonb *es_schema_validate(Jsonb *schema, Jsonb *document);

#endif							/* ES_SCHEMA_H */
