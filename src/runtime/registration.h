/*
 * registration.h
 *		The rows of registered tasks, for scheduler and workers.
 */
#ifndef ES_REGISTRATION_H
#define ES_REGISTRATION_H

#include "runtime/task.h"

/* A row of event_store.task. */
typedef struct EsRegistration
{
	int64		number;
	char	   *kind;
	char	   *name;
	int64		store_number;	/* 0: of no store */
	char	   *schema_name;	/* where the store was, NULL: of no store */
	Oid			schema_oid;
	Oid			owner;
} EsRegistration;

extern const EsTaskKind *es_task_kind(const char *name);

extern bool es_registration_read(int64 number, EsRegistration *registration);
extern void es_registration_each(void (*callback) (const EsRegistration *registration));
extern EsStore *es_registration_store(const EsRegistration *registration);

extern void es_failure_each(void (*callback) (int64 number, int failures, TimestampTz next_try));
extern void es_failure_write(int64 number, int failures, TimestampTz now, TimestampTz next_try, Datum problem);
extern void es_failure_clear(int64 number);

#endif							/* ES_REGISTRATION_H */
