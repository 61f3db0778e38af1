/*
 * xact.c
 *		The one place that registers transaction callbacks.
 *
 * Modules register their hooks from XxxInit(); they run in the order of
 * registration.  Why the COMMIT event is the right place to release what holds
 * readers back, and what may be done there, is argued in doc/ordering.md.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "base/xact.h"

#define MAX_HOOKS	16

static const EsXactHook *hooks[MAX_HOOKS];
static int	nhooks = 0;
static uint64 number = 1;
static bool committed = false;	/* its locks are not yet free */

/* Add a hook; only while _PG_init runs.  hook must live as long as the process. */
void
es_xact_register(const EsXactHook *hook)
{
	Assert(nhooks < MAX_HOOKS);
	hooks[nhooks++] = hook;
}

/* A number of the transaction in progress, unique in this session, never 0. */
uint64
es_xact_number(void)
{
	return number;
}

static void
xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		number++;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			for (int i = 0; i < nhooks; i++)
				if (hooks[i]->pre_commit)
					hooks[i]->pre_commit();
			break;

		case XACT_EVENT_PRE_PREPARE:
			for (int i = 0; i < nhooks; i++)
				if (hooks[i]->pre_prepare)
					hooks[i]->pre_prepare();
			break;

		case XACT_EVENT_PREPARE:
			for (int i = 0; i < nhooks; i++)
				if (hooks[i]->prepared)
					hooks[i]->prepared();
			break;

		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			committed = event == XACT_EVENT_COMMIT;
			for (int i = 0; i < nhooks; i++)
				if (hooks[i]->end)
					hooks[i]->end(event == XACT_EVENT_COMMIT);
			break;

		default:

			/* parallel workers never hold anything */
			break;
	}
}

/*
 * The locks of a transaction are free when a resource owner of it comes to the
 * phase after them; one that has children below it comes more than once.
 */
static void
resource_callback(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (!committed || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	committed = false;
	for (int i = 0; i < nhooks; i++)
		if (hooks[i]->unlocked)
			hooks[i]->unlocked();
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	for (int i = 0; i < nhooks; i++)
		if (hooks[i]->sub_end)
			hooks[i]->sub_end(event == SUBXACT_EVENT_COMMIT_SUB, GetCurrentTransactionNestLevel());
}

void
EsXactInit(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	RegisterResourceReleaseCallback(resource_callback, NULL);
}
