/*
 * repeat.h
 *		Commands that were dispatched before.
 */
#ifndef ES_REPEAT_H
#define ES_REPEAT_H

#include "utils/uuid.h"

#include "store/store.h"

/* What a command has done. */
typedef struct EsCommandDone
{
	int64		version;		/* of the aggregate afterwards */
	int64		events;
	int64		first_position; /* if there are any */
	int64		last_position;
} EsCommandDone;

extern bool es_command_recall(EsStore *store, const pg_uuid_t *id, int64 request, EsCommandDone *done);
extern void es_command_remember(EsStore *store, const pg_uuid_t *id, int64 request, const EsCommandDone *done);
extern int64 es_commands_forget(TimestampTz before);

#endif							/* ES_REPEAT_H */
