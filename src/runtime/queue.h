/*
 * queue.h
 *		The tasks of a database, as its scheduler knows them.
 */
#ifndef ES_QUEUE_H
#define ES_QUEUE_H

#include "utils/timestamp.h"

extern bool es_queue_open(void);
extern void es_queue_close(void);
extern bool es_queue_look(bool all);
extern void es_queue_turn(void);
extern TimestampTz es_queue_next_time(void);

#endif							/* ES_QUEUE_H */
