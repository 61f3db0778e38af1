/*
 * columns.h
 *		What the tables of a store must be like.
 */
#ifndef ES_COLUMNS_H
#define ES_COLUMNS_H

#include "utils/rel.h"

/* The tables whose columns we rely on. */
typedef enum EsColumns
{
	ES_COLUMNS_LOG,
	ES_COLUMNS_STREAMS,
	ES_COLUMNS_MARK,
	ES_COLUMNS_TAGS
} EsColumns;

extern char *es_columns_defect(Relation rel, EsColumns table);
extern bool es_columns_are_plain(Relation rel, EsColumns table);
extern bool es_has_foreign_trigger(Relation rel, int events);

#endif							/* ES_COLUMNS_H */
