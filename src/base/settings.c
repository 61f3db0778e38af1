/*
 * settings.c
 *		All settings (GUCs) of the extension, in alphabetical order.
 *
 * Limits that protect the server may be changed by superusers and roles with
 * the SET privilege only; what sizes shared memory needs a restart.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/xact.h"

#define MAX_LANGUAGE_TAG	35	/* what RFC 5646 asks for at least */

int			es_command_retention;
int			es_handler_timeout;
bool		es_enable_hard_delete;
int			es_guard;
bool		es_hot_streams;
int			es_mailbox_size;
int			es_mark_interval;
int			es_max_batch_events;
int			es_max_event_size;
int			es_max_event_tags;
int			es_max_json_depth;
int			es_max_metrics;
int			es_max_name_length;
int			es_max_query_terms;
int			es_max_registered;
int			es_max_series;
int			es_max_stores;
int			es_max_stream_locks;
int			es_max_tasks;
int			es_max_workers;
int			es_notify_interval;
int			es_pooler;
bool		es_problem_debug;
int			es_problem_detail_size = 8192;	/* errors may come before the settings are defined */
char	   *es_problem_language;
double		es_problem_log_rate;
int			es_problem_log_size;
bool		es_require_tenant;
int			es_session_max;
int			es_session_max_bytes;
int			es_shared_pool_size;
int			es_store_cache_size;
int			es_stream_cache_size;
int			es_task_timeout;
bool		es_telemetry;
char	   *es_traceparent;
bool		es_trace_is_sampled = false;
char	   *es_tenant;
uint64		es_tenant_set_in;
char	   *es_tenant_name_pattern;
char	   *es_tenant_shared_schemas;
int			es_tidy_interval;
bool		es_upkeep;

static const struct config_enum_entry guard_options[] = {
	{"off", ES_GUARD_OFF},
	{"warn", ES_GUARD_WARN},
	{"enforce", ES_GUARD_ENFORCE},
	{NULL}
};

static const struct config_enum_entry pooler_options[] = {
	{"none", ES_POOLER_NONE},
	{"transaction", ES_POOLER_TRANSACTION},
	{"tracked", ES_POOLER_TRACKED},
	{NULL}
};

/*
 * The form of the W3C recommendation: version, trace, parent and flags in
 * lower-case hexadecimal digits; no version ff, no trace or parent of zeros.
 */
static bool
check_traceparent(char **value, void **extra, GucSource source)
{
	static const char form[] = "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff";
	bool		trace = false;
	bool		parent = false;
	bool		ok = strlen(*value) == strlen(form) && strncmp(*value, "ff", 2) != 0;

	if ((*value)[0] == '\0')
		return true;
	for (int i = 0; ok && form[i]; i++)
	{
		char		c = (*value)[i];

		ok = form[i] == '-' ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		trace = trace || (form[i] == 't' && c != '0');
		parent = parent || (form[i] == 'p' && c != '0');
	}
	if (ok && trace && parent)
		return true;
	GUC_check_errdetail("A traceparent is 00-<32 digits>-<16 digits>-<2 digits>, lower-case hexadecimal.");
	return false;
}

/* The last of the flags says whether the trace is kept by those who collect traces. */
static void
assign_traceparent(const char *value, void *extra)
{
	size_t		length = value != NULL ? strlen(value) : 0;

	es_trace_is_sampled = length > 0 && strchr("13579bdf", value[length - 1]) != NULL;
}

/* Is it formed like a language tag, as de or pt-BR? */
bool
es_is_language_tag(const char *tag)
{
	int			length = 0;

	if (strlen(tag) > MAX_LANGUAGE_TAG)
		return false;
	for (const char *c = tag;; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (c > tag + 1 && *c >= '0' && *c <= '9'))
		{
			if (++length > 8)
				return false;
		}
		else if ((*c != '-' && *c != '\0') || length == 0)
			return false;
		else if (*c == '\0')
			return true;
		else
			length = 0;
	}
}

static bool
check_language(char **newval, void **extra, GucSource source)
{
	if (es_is_language_tag(*newval))
		return true;
	GUC_check_errhint("A language is written as en or pt-BR.");
	return false;
}

/*
 * The value travels with the transaction that set it: through savepoints,
 * rollback and the end of a function's own settings.
 */
static bool
check_tenant(char **newval, void **extra, GucSource source)
{
	uint64	   *set_in;

	if (strlen(*newval) >= NAMEDATALEN)
	{
		GUC_check_errcode(ERRCODE_ES_INVALID_TENANT_NAME);
		GUC_check_errmsg("a tenant name has at most %d bytes", NAMEDATALEN - 1);
		return false;
	}
	set_in = es_guc_malloc(sizeof(uint64));
	if (set_in == NULL)
		return false;
	*set_in = source <= PGC_S_DATABASE_USER ? ES_SET_BY_CONFIGURATION : es_xact_number();
	*extra = set_in;
	return true;
}

static void
assign_tenant(const char *newval, void *extra)
{
	es_tenant_set_in = *(uint64 *) extra;
}

static bool
check_schemas(char **newval, void **extra, GucSource source)
{
	char	   *raw = pstrdup(*newval);
	List	   *names = NIL;
	bool		ok = SplitIdentifierString(raw, ',', &names);

	if (!ok)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(raw);
	return ok;
}

void
EsSettingsInit(void)
{
	DefineCustomIntVariable("event_store.command_retention",
							"Time for which a store that is kept tidy remembers the ids of commands.",
							"-1 means for ever.",
							&es_command_retention,
							7 * MINS_PER_HOUR * HOURS_PER_DAY, -1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.handler_timeout",
							"Longest time a telemetry handler may take before it counts as failed.",
							"0 means no limit.",
							&es_handler_timeout,
							1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.enable_hard_delete",
							 "Lets delete_stream take the events of a stream away for good.",
							 NULL,
							 &es_enable_hard_delete,
							 false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("event_store.guard",
							 "What becomes of a statement that touches a table of another tenant than the current one.",
							 NULL,
							 &es_guard,
							 ES_GUARD_ENFORCE, guard_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.hot_streams",
							 "Lets the next append to a stream go on while this one is flushed.",
							 "An answer still means that the events are safe; others may see them a little before.",
							 &es_hot_streams,
							 false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.mailbox_size",
							"Messages that wait for a session at most.",
							NULL,
							&es_mailbox_size,
							100, 1, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.mark_interval",
							"Shortest time between two moves of a store's durable mark.",
							"Readers on standbys, on logical copies and in REPEATABLE READ see new events after this time.",
							&es_mark_interval,
							20, 1, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_batch_events",
							"Most events that one append takes.",
							NULL,
							&es_max_batch_events,
							100000, 1, 10000000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_event_size",
							"Largest size of one event: type, data and metadata together, as stored before compression.",
							NULL,
							&es_max_event_size,
							1024, 1, 256 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_event_tags",
							"Most tags of one event, in stores with tags.",
							NULL,
							&es_max_event_tags,
							64, 1, 10000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_json_depth",
							"Deepest nesting of objects and arrays in data and metadata.",
							NULL,
							&es_max_json_depth,
							100, 1, 5000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_metrics",
							"Metrics that users can define, over all databases.",
							NULL,
							&es_max_metrics,
							500, 1, 100000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_name_length",
							"Longest name of a stream or an event type, in bytes.",
							NULL,
							&es_max_name_length,
							512, 16, 2000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_query_terms",
							"Most items, types and tags, together, of a query over types and tags.",
							NULL,
							&es_max_query_terms,
							1000, 1, 100000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_registered",
							"Names that sessions hold in registries, over all databases.",
							"Shared memory is reserved for each.",
							&es_max_registered,
							10000, 16, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_series",
							"Label sets of metrics that are counted apart, over all databases.",
							"Shared memory is reserved for each; what comes beyond is counted together, in one series of its metric.",
							&es_max_series,
							10000, 16, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_stores",
							"Stores that can be in use at once, over all databases.",
							"Shared memory is reserved for each; stores not in use need none.",
							&es_max_stores,
							10000, 8, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_stream_locks",
							"Streams and tags that a transaction locks one by one before it locks the whole store for appends.",
							NULL,
							&es_max_stream_locks,
							1000, 1, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_tasks",
							"Background tasks that can be registered, over all databases.",
							"Shared memory is reserved for each.",
							&es_max_tasks,
							10000, 16, 1000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.max_workers",
							"Workers that run background tasks at once, over all databases.",
							"Taken from max_worker_processes when there is work; 0 lets no task run.",
							&es_max_workers,
							4, 0, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.notify_interval",
							"Shortest time between two notifications of a store whose events have become more.",
							"Sent to the channel \"event_store\" of the database; 0 sends none.",
							&es_notify_interval,
							0, 0, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomEnumVariable("event_store.pooler",
							 "What stands between clients and server: decides how far a tenant set earlier is trusted.",
							 "With transaction, a tenant counts only in the transaction that set it.",
							 &es_pooler,
							 ES_POOLER_NONE, pooler_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.problem_debug",
							 "Shows names of tables, columns and constraints and the query in problem documents of server errors.",
							 "For development: such documents may be passed on to strangers.",
							 &es_problem_debug,
							 false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.problem_detail_size",
							"Longest text in a problem document that is made by the extension, in bytes; what is longer is cut.",
							NULL,
							&es_problem_detail_size,
							8192, 256, 1024 * 1024,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("event_store.problem_language",
							   "Language of the titles of problem documents, where there are titles in it.",
							   NULL,
							   &es_problem_language,
							   "en",
							   PGC_USERSET, 0, check_language, NULL, NULL);
	DefineCustomRealVariable("event_store.problem_log_rate",
							 "Share of the problems that get an instance and are kept in the log of problems.",
							 "0 keeps none, 1 keeps all.",
							 &es_problem_log_rate,
							 0, 0, 1,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.problem_log_size",
							"Size of the log of problems, in shared memory.",
							"The newest problems that fit are kept, of all databases together.",
							&es_problem_log_size,
							256, 16, 1024 * 1024,
							PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.require_tenant",
							 "Refuses calls that are for no tenant.",
							 NULL,
							 &es_require_tenant,
							 false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.session_max",
							"Sessions of applications in shared memory, over all databases.",
							"Shared memory is reserved for each.",
							&es_session_max,
							1000, 16, 10000000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.session_max_bytes",
							"Largest data of a session of an application, as jsonb.",
							NULL,
							&es_session_max_bytes,
							8192, 64, 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.shared_pool_size",
							"Shared memory for values of registries, messages and sessions.",
							"What was never used costs address space only.",
							&es_shared_pool_size,
							16 * 1024, 64, 1024 * 1024 * 1024,
							PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.store_cache_size",
							"Stores that a session remembers.",
							"What is known of the store not used for longest is freed.",
							&es_store_cache_size,
							200, 4, 1000000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.stream_cache_size",
							"Streams of a store that a session remembers by name.",
							NULL,
							&es_stream_cache_size,
							10000, 16, 10000000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("event_store.task_timeout",
							"Longest time that a background task may take for one step before it is cancelled.",
							"0 means no limit.",
							&es_task_timeout,
							300000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.telemetry",
							 "Count what happens.",
							 NULL,
							 &es_telemetry,
							 true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("event_store.traceparent",
							   "Trace context (W3C) that appended events get into their metadata.",
							   NULL,
							   &es_traceparent,
							   "",
							   PGC_USERSET, 0, check_traceparent, assign_traceparent, NULL);
	DefineCustomStringVariable("event_store.tenant",
							   "The tenant that calls are for; empty for the one that the search_path names.",
							   "Reported to clients, so that poolers can track it.",
							   &es_tenant,
							   "",
							   PGC_USERSET, GUC_REPORT, check_tenant, assign_tenant, NULL);
	DefineCustomStringVariable("event_store.tenant_name_pattern",
							   "Regular expression that the name of a new tenant must match.",
							   NULL,
							   &es_tenant_name_pattern,
							   "^[a-z_][a-z0-9_-]*$",
							   PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("event_store.tenant_shared_schemas",
							   "Schemas that follow the tenant's on the search_path of with_tenant and tenant_use.",
							   NULL,
							   &es_tenant_shared_schemas,
							   "public",
							   PGC_SUSET, GUC_LIST_INPUT, check_schemas, NULL, NULL);
	DefineCustomIntVariable("event_store.tidy_interval",
							"Time after which a store that is kept tidy is gone through again.",
							NULL,
							&es_tidy_interval,
							SECS_PER_HOUR, 1, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("event_store.upkeep",
							 "Lets workers purge dropped tenants, keep pools filled, go on with rollouts and tidy stores.",
							 "With off this waits for calls of the procedures.",
							 &es_upkeep,
							 true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);

	MarkGUCPrefixReserved("event_store");
}
