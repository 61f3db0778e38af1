/*
 * notify.h
 *		The bridge from the horizon of stores to LISTEN.
 */
#ifndef ES_NOTIFY_H
#define ES_NOTIFY_H

#include "utils/timestamp.h"

extern void es_notify_turn(void);
extern TimestampTz es_notify_next_time(void);

#endif							/* ES_NOTIFY_H */
