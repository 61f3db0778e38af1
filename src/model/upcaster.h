/*
 * upcaster.h
 *		Functions that upcast: finding them, and what they take and return.
 */
#ifndef ES_UPCASTER_H
#define ES_UPCASTER_H

#define ES_MAX_SCHEMA_VERSION	1000000

extern Oid	es_upcaster_find(const char *name);
extern bool es_upcaster_inspect(Oid function);

#endif							/* ES_UPCASTER_H */
