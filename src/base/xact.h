/*
 * xact.h
 *		Transaction callbacks, for the modules to hook into.
 */
#ifndef ES_XACT_H
#define ES_XACT_H

/* Any of the functions may be NULL. */
typedef struct EsXactHook
{
	/* before PREPARE TRANSACTION: may raise an error */
	void		(*pre_prepare) (void);

	/*
	 * The transaction has been prepared.  What becomes of it later, this
	 * session is not told.  The rules of `end` hold.
	 */
	void		(*prepared) (void);

	/* before the commit record is written: may raise an error, then the transaction aborts */
	void		(*pre_commit) (void);

	/*
	 * The transaction has left the proc array, committed or aborted.  At
	 * commit an error here is a PANIC of the whole server: atomics, spinlocks
	 * and SetLatch only, no allocation, no LWLock.
	 */
	void		(*end) (bool committed);

	/*
	 * The transaction has committed and all its locks are free; its client has
	 * no answer yet, and interrupts are held.  An error is a PANIC here too, so
	 * nothing but what the server itself does at a commit: flush WAL, wait for
	 * standbys.
	 */
	void		(*unlocked) (void);

	/*
	 * A subtransaction ends, at the nesting level (2 or deeper; the top is 1).
	 * Committed means that it becomes part of the level above.  The rules of
	 * `end` hold.
	 */
	void		(*sub_end) (bool committed, int level);
} EsXactHook;

extern uint64 es_xact_number(void);
extern void es_xact_register(const EsXactHook *hook);

extern void EsXactInit(void);

#endif							/* ES_XACT_H */
