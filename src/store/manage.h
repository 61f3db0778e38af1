/*
 * manage.h
 *		What is done with a whole store: create, attach, drop, grant.
 */
#ifndef ES_MANAGE_H
#define ES_MANAGE_H

#include "store/store.h"

extern EsStore *es_store_named(text *schema_name);

#endif							/* ES_MANAGE_H */
