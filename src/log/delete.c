/*
 * delete.c
 *		Deletion of streams, and of their rows.
 *
 * A soft deletion closes a stream: its row says so, its events stay.  A hard one
 * also takes its events and kept states away and puts one event of type
 * $stream-deleted in their place, at the version after the last.  That event is
 * the record of who did it, when and to how many events; it is as immutable as
 * any, stands in the log's order, so that every follower hears of the deletion
 * in its place, and keeps the name taken: a new stream of that name would repeat
 * versions that followers have seen, and a late retry would bring back what was
 * deleted.
 *
 * Rows go through a DELETE statement, as the caller, so that foreign keys and
 * triggers that users have put on event_log mean what they say, and partitions
 * work.  The guard (store/guard) lets just those rows through.
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "log/append.h"
#include "log/delete.h"
#include "log/expected.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/tag.h"
#include "store/guard.h"
#include "store/statement.h"

#define DELETED_TYPE	"$stream-deleted"

/* Refuse a caller from whom row-level security hides events: it would delete some of a stream. */
void
es_delete_check(const EsStore *store)
{
	if (check_enable_rls(store->log, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"cannot take events away: row-level security on event_log decides which of them you see"),
				 errhint("Let the owner of the store do it, or a role that has BYPASSRLS.")));
}

/* Run a DELETE; returns the number of rows. */
static uint64
run_delete(EsStore *store, EsStatement statement, Datum *parameters)
{
	uint64		deleted;
	int			result;

	SPI_connect();
	result = SPI_execute_plan(es_statement_plan(store, statement), parameters, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	deleted = result == SPI_OK_DELETE ? SPI_processed : 0;
	SPI_finish();
	return deleted;
}

/*
 * Take the versions first to before - 1 of a stream away, which are all that it
 * has below before.  The caller holds the stream's lock and has called
 * es_delete_check.
 */
void
es_delete_events(EsStore *store, int64 stream_id, int64 first, int64 before)
{
	Datum		parameters[] = {Int64GetDatum(stream_id), Int64GetDatum(before)};
	volatile uint64 deleted = 0;

	es_tags_delete(store, stream_id, first, before);
	es_guard_let_delete(store->log, stream_id, before);
	PG_TRY();
	{
		deleted = run_delete(store, ES_STMT_DELETE_EVENTS, parameters);
	}
	PG_FINALLY();
	{
		es_guard_close_delete();
	}
	PG_END_TRY();
	if ((int64) deleted != before - first)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"a trigger or rule on event_log has kept events that are to be deleted"),
				 errhint("Change the trigger or rule: the beginning of a stream goes as a whole.")));
}

static void
delete_snapshots(EsStore *store, int64 stream_id)
{
	Datum		parameter = Int64GetDatum(stream_id);

	/* a store may be without: then there are no kept states */
	if (OidIsValid(get_relname_relid("event_snapshots", store->nspid)))
		(void) run_delete(store, ES_STMT_DELETE_SNAPSHOTS, &parameter);
}

/* Is the stream's last event the one that a hard deletion leaves? */
static bool
is_hard_deleted(EsStore *store, Relation log, const EsStream *stream, int64 version)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	bool		result = false;

	if (!stream->deleted)
		return false;
	es_scan_stream(&scan, store, log, stream->id, version, version, false, SnapshotSelf);
	if (es_scan_next(&scan, &values, &nulls))
	{
		text	   *type = DatumGetTextPP(values[LOG_EVENT_TYPE]);

		result = VARSIZE_ANY_EXHDR(type) == strlen(DELETED_TYPE) &&
			memcmp(VARDATA_ANY(type), DELETED_TYPE, VARSIZE_ANY_EXHDR(type)) == 0;
	}
	es_scan_end(&scan);
	return result;
}

/* Set or clear deleted_at; with truncate_before > 0 also that, and clear what else the row says. */
static void
update_deleted(EsStore *store, text *name, TimestampTz deleted_at, int64 truncate_before)
{
	Datum		values[STREAM_NCOLUMNS] = {0};
	bool		nulls[STREAM_NCOLUMNS] = {0};
	bool		replaces[STREAM_NCOLUMNS] = {0};

	replaces[STREAM_DELETED_AT] = true;
	values[STREAM_DELETED_AT] = TimestampTzGetDatum(deleted_at);
	nulls[STREAM_DELETED_AT] = deleted_at == 0;
	if (truncate_before > 0)
	{
		replaces[STREAM_TRUNCATE_BEFORE] = replaces[STREAM_MAX_AGE] = true;
		replaces[STREAM_MAX_COUNT] = replaces[STREAM_METADATA] = true;
		values[STREAM_TRUNCATE_BEFORE] = Int64GetDatum(truncate_before);
		nulls[STREAM_MAX_AGE] = nulls[STREAM_MAX_COUNT] = nulls[STREAM_METADATA] = true;
	}
	es_stream_update(store, name, values, nulls, replaces);
}

/* Append the event that stands for those from first to version. */
static void
append_deleted(text *name, int64 first, int64 version)
{
	EsEvent		event = {.type = cstring_to_text(DELETED_TYPE)};
	EsAppend	part = {.stream = name, .expected = version, .count = 1, .system = true};
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"events\":" INT64_FORMAT ",\"first_version\":" INT64_FORMAT
					 ",\"last_version\":" INT64_FORMAT ",\"role\":", version - first + 1, first, version);
	escape_json(&json, GetUserNameFromId(GetUserId(), false));
	appendStringInfoString(&json, ",\"session_role\":");
	escape_json(&json, GetUserNameFromId(GetSessionUserId(), false));
	appendStringInfoChar(&json, '}');
	event.data = es_jsonb_in(cstring_to_text(json.data));
	es_append(&part, 1, &event, false);
}

static void
delete_hard(EsStore *store, Relation log, text *name, const EsStream *stream, int64 version)
{
	TimestampTz deleted_at = stream->deleted ? stream->deleted_at : GetCurrentTimestamp();
	int64		first;

	es_delete_check(store);
	if (is_hard_deleted(store, log, stream, version))
		es_stream_raise_deleted(name);
	if (stream->deleted)
		update_deleted(store, name, 0, 0);	/* opened for its last event */
	first = es_stream_first_stored(store, log, stream->id, SnapshotSelf);
	append_deleted(name, first, version);
	es_delete_events(store, stream->id, first, version + 1);
	delete_snapshots(store, stream->id);
	update_deleted(store, name, deleted_at, version + 1);
}

PG_FUNCTION_INFO_V1(event_store_delete_stream);

Datum
event_store_delete_stream(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	int64		expected = PG_GETARG_INT64(1);
	bool		hard = PG_GETARG_BOOL(2);
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	int64		version;

	es_stream_check_name(name);
	if (hard && !es_enable_hard_delete)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("stream", text_to_cstring(name))),
							"hard deletion is not enabled"),
				 errhint("A superuser enables it with event_store.enable_hard_delete; without hard => true the stream is closed and its events stay.")));
	log = es_stream_take(&store, name, &stream, &version);
	if (!hard)
		es_stream_check_open(&stream, name);
	es_expected_check(expected, version, text_to_cstring(name));
	if (stream.id != 0 && hard)
		delete_hard(store, log, name, &stream, version);
	else if (stream.id != 0)
		update_deleted(store, name, GetCurrentTimestamp(), 0);
	table_close(log, NoLock);
	PG_RETURN_INT64(version);
}
