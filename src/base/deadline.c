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

static void
set_timer(void)
{
	fired = false;
	if (current != NULL)
		enable_timeout_at(timer, current->at);
}

/*
 * Cancel what runs from here on after timeout (in ms), until es_deadline_end,
 * which must be called, also on error.
 */
void
es_deadline_begin(EsDeadline *deadline, int64 timeout)
{
	if (!registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, cancel);
		registered = true;
	}
	deadline->at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	if (current != NULL && current->at < deadline->at)
		deadline->at = current->at;
	deadline->outer = current;
	current = deadline;
	set_timer();
}

/* End the limit; has it passed? */
bool
es_deadline_end(EsDeadline *deadline)
{
	bool		passed;

	disable_timeout(timer, false);
	passed = fired;

	/* one that came after the work was done must not cancel something else */
	if (passed)
		QueryCancelPending = false;
	current = deadline->outer;
	set_timer();
	return passed;
}
