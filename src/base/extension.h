/*
 * extension.h
 *		Is the extension installed here, and does its SQL fit this library?
 */
#ifndef ES_EXTENSION_H
#define ES_EXTENSION_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

#define ES_VERSION		"1.0"	/* the version of the SQL this library serves */
#define ES_EXTENSION	"event_store"
#define ES_SCHEMA		"event_store"

extern Oid	es_extension_oid(void);
extern Oid	es_extension_relation(const char *name);
extern Relation es_extension_open(const char *name, LOCKMODE lockmode);
extern void es_extension_check_version(void);

#endif							/* ES_EXTENSION_H */
