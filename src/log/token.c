/*
 * token.c
 *		Positions that a consumer keeps somewhere else, and may bring back to a
 *		server that has lost them.
 *
 * A token is a position and the epoch (log/mark) in which it was read.  When it
 * comes back, the store still has the events up to it unless an epoch began in
 * the meantime below it.  That is decided by the mark as the new epoch found it:
 * everything up to there is complete, and what is above may be another event
 * now, or gone.
 *
 * The text is "position:timeline:system:database:mark", all of it numbers.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "log/horizon.h"
#include "log/mark.h"
#include "log/token.h"

/* Does this server know the store's horizon, or only its mark? */
static bool
is_writer(const EsStore *store)
{
	return !RecoveryInProgress() && !store->copy;
}

static char *
token_text(int64 position, const EsEpoch *epoch)
{
	return psprintf("%lld:%u:%llu:%u:%u", (long long) position, (unsigned) epoch->timeline,
					(unsigned long long) epoch->system, (unsigned) ((uint64) epoch->place >> 32), (unsigned) epoch->place);
}

/* Take a token apart; false if it is none. */
static bool
parse_token(const char *text, int64 *position, EsEpoch *epoch)
{
	long long	p;
	unsigned	timeline;
	unsigned long long system;
	unsigned	database;
	unsigned	mark;

	if (sscanf(text, "%lld:%u:%llu:%u:%u", &p, &timeline, &system, &database, &mark) != 5)
		return false;
	*position = p;
	*epoch = (EsEpoch) {.system = (int64) system,.timeline = timeline,.place = (int64) ((uint64) database << 32 | mark)};

	/* only the very text that we make */
	return p >= 0 && strcmp(token_text(p, epoch), text) == 0;
}

/*
 * The token of a position that a reader in order was given; palloc'd.  Others
 * are refused: what is below them may yet come.
 */
char *
es_token_make(EsStore *store, int64 position)
{
	EsEpoch		epoch = {0};
	int64		final;

	if (is_writer(store))
	{
		final = es_horizon(store, NULL) - 1;
		es_epoch_here(store, &epoch);
	}
	else
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		List	   *epochs = es_mark_epochs(store);

		final = es_mark_read(store, snapshot);
		UnregisterSnapshot(snapshot);
		if (epochs != NIL)
			epoch = *(EsEpoch *) llast(epochs);
	}
	if (position < 0 || position > final)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_INT("position", position)),
							"position %lld of event store \"%s\" is not final", (long long) position, NameStr(store->schema)),
				 errhint("Take tokens of positions that read_all, read_category or poll have returned.")));
	return token_text(position, &epoch);
}

/*
 * The position of a token, to read on after.  Raises an error if the store may
 * not have all that was read up to there.
 */
int64
es_token_position(EsStore *store, const char *token)
{
	EsEpoch		epoch;
	List	   *epochs;
	int64		position;
	int64		kept = PG_INT64_MAX;
	bool		known = false;
	ListCell   *lc;

	if (!parse_token(token, &position, &epoch))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("token", token)),
							"\"%s\" is not a token", token),
				 errhint("Pass what event_store.token() has returned, or read from a position.")));
	if (position == 0)
		return 0;

	epochs = es_mark_epochs(store);
	foreach(lc, epochs)
	{
		EsEpoch    *e = lfirst(lc);

		if (known)
			kept = Min(kept, e->after);
		else
			known = es_epoch_equal(e, &epoch);
	}
	if (!known)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_HISTORY_LOST,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_INT("position", position)),
							"token is of a history that event store \"%s\" does not know", NameStr(store->schema)),
				 errhint("It was made by another store, or by a server that this one does not continue: begin again, or at a position known to be common.")));
	if (position > kept)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_HISTORY_LOST,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_INT("position", position),
									   ES_INT("kept_position", kept)),
							"events of event store \"%s\" after position %lld may have been lost since the token of position %lld was made",
							NameStr(store->schema), (long long) kept, (long long) position),
				 errhint("Undo what came of later events, and read on after position %lld.", (long long) kept)));
	if (is_writer(store))
		es_position_check(store, position);
	return position;
}

PG_FUNCTION_INFO_V1(event_store_token);
PG_FUNCTION_INFO_V1(event_store_token_position);

Datum
event_store_token(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	char	   *token = es_token_make(store, PG_GETARG_INT64(0));

	table_close(log, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(token));
}

Datum
event_store_token_position(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	int64		position = es_token_position(store, text_to_cstring(PG_GETARG_TEXT_PP(0)));

	table_close(log, AccessShareLock);
	PG_RETURN_INT64(position);
}
