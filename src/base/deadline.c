/*
 * deadline.c
 *		A time limit on a part of a statement.
 *
 * The server's timer cancels what runs, like statement_timeout.  Whoever sets
 * a limit catches the error and asks es_deadline_end whether it was its own
 * limit that has passed, or somebody's wish to cancel the statement.
 *
 * Limits nest: the earliest of those in force sets the timer.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"

#include "base/deadline.h"

#define LONGEST		(INT64CONST(1000) * 366 * SECS_PER_DAY)	/* ms; what is longer never passes */

static TimeoutId timer;
static bool registered = false;
static EsDeadline *current = NULL;
static volatile sig_atomic_t fired = false;

/* Runs in a signal handler. */
static void
cancel(void)
{
	fired = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Set the timer for the limit in force, to be cancelled at once if that has passed. */
static void
set_timer(void)
{
	fired = false;
	if (current != NULL && current->earliest != DT_NOEND)
		enable_timeout_at(timer, current->earliest);
}

/*
 * Cancel what runs from here on after timeout (in ms, 0: never), until
 * es_deadline_end, which must be called, also on error.
 */
void
es_deadline_begin(EsDeadline *deadline, int64 timeout)
{
	if (!registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, cancel);
		registered = true;
	}
	deadline->own = DT_NOEND;
	if (timeout > 0 && timeout < LONGEST)
		deadline->own = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	deadline->earliest = current != NULL ? Min(current->earliest, deadline->own) : deadline->own;
	deadline->outer = current;
	current = deadline;
	set_timer();
}

/* End the limit; has it passed?  An outer one that has passed will cancel again. */
bool
es_deadline_end(EsDeadline *deadline)
{
	bool		passed;

	disable_timeout(timer, false);
	passed = fired && GetCurrentTimestamp() >= deadline->own;

	/*
	 * One that came after the work was done must not cancel something else.
	 * The server's own timers may have asked for a cancel as well.
	 */
	if (fired && !get_timeout_indicator(STATEMENT_TIMEOUT, false) && !get_timeout_indicator(LOCK_TIMEOUT, false))
		QueryCancelPending = false;
	current = deadline->outer;
	set_timer();
	return passed;
}
