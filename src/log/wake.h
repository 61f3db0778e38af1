/*
 * wake.h
 *		Waiting for the horizon of a store to move.
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

extern void es_wake_prepare(int slot);
extern void es_wake_sleep(long timeout);
extern void es_wake_cancel(void);

extern void es_wake_slot(int slot, Oid dbid);

/* the scheduler of a database waits for all of its stores */
extern void es_wake_watch_database(Oid dbid);
extern void es_wake_watch(int slot, bool watch);
extern bool es_wake_take(int slot);
extern void es_wake_new_slot(int slot, Oid dbid);

/* the launcher waits for databases whose stores nobody watches */
extern void es_wake_set_launcher(bool present);
extern bool es_wake_launcher_runs(void);
extern Oid	es_wake_take_database(void);
extern void es_wake_ask_for_watcher(Oid dbid);

extern void EsWakeInit(void);

#endif							/* ES_WAKE_H */
