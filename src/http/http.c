/*
 * http.c
 *		The library event_store_http: an endpoint for those who collect metrics.
 *
 * An optional background worker that answers GET /metrics.  It has access to
 * shared memory and no connection to a database, so it answers on a standby,
 * when all connections are taken, and when everybody waits for a lock; and it
 * stands in nobody's way.  What it tells it has from the library event_store
 * (runtime/endpoint).
 */
#include "postgres.h"

#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/extension.h"
#include "http/listen.h"
#include "http/server.h"
#include "http/settings.h"
#include "http/token.h"
#include "runtime/endpoint.h"

#define RETRY_INTERVAL	5000	/* ms between two tries to listen */
#define LONG_TIME		3600000	/* ms to sleep when there is nothing to wait for */

ES_MODULE_MAGIC("event_store_http");

PGDLLEXPORT void es_http_main(Datum argument);

/* The settings by which the present socket was made. */
typedef struct Listening
{
	char	   *listen;
	bool		allow_remote;
	int			permissions;
} Listening;

static Listening listening = {NULL};
static bool failed;				/* and it has been said */
static TimestampTz retry_at = 0;

static const EsEndpoint *
find_endpoint(void)
{
	return *(EsEndpoint **) find_rendezvous_variable(ES_ENDPOINT_VARIABLE);
}

static void
remove_socket(int code, Datum argument)
{
	es_http_unlink_socket();
}

static bool
settings_changed(void)
{
	return listening.listen == NULL || strcmp(listening.listen, es_http_listen) != 0 ||
		listening.allow_remote != es_http_allow_remote || listening.permissions != es_http_socket_permissions;
}

/* Listen where the settings say, unless that is done. */
static void
listen_as_set(void)
{
	EsHttpAddress address;
	const char *error;
	int			sock;

	if (settings_changed())
	{
		es_http_server_stop();
		es_http_unlink_socket();
		if (listening.listen != NULL)
			pfree(listening.listen);
		listening.listen = MemoryContextStrdup(TopMemoryContext, es_http_listen);
		listening.allow_remote = es_http_allow_remote;
		listening.permissions = es_http_socket_permissions;
		failed = false;
		retry_at = 0;
	}
	if (es_http_server_fd() != PGINVALID_SOCKET || es_http_listen[0] == '\0' || GetCurrentTimestamp() < retry_at)
		return;

	error = es_http_parse_address(es_http_listen, &address);
	sock = error ? PGINVALID_SOCKET : es_http_listen_on(&address, &error);
	if (sock != PGINVALID_SOCKET && !es_http_server_start(sock))
	{
		close(sock);
		es_http_unlink_socket();
		error = "libmicrohttpd does not start";
	}
	if (error == NULL)
		ereport(LOG, (errmsg("metrics endpoint listens on \"%s\"", es_http_listen)));
	else if (!failed)
		ereport(LOG,
				(errmsg("metrics endpoint cannot listen on \"%s\": %s", es_http_listen, error),
				 errdetail("It goes on trying.")));
	failed = error != NULL;
	retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL);
}

void
es_http_main(Datum argument)
{
	uint32		wait_event;
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	on_proc_exit(remove_socket, (Datum) 0);

	context = AllocSetContextCreate(TopMemoryContext, "event_store metrics endpoint", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	wait_event = es_wait_event("EventStoreMetrics");
	es_http_server_init(find_endpoint());
	es_http_load_token();

	for (;;)
	{
		int			events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			break;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			es_http_load_token();
		}
		listen_as_set();
		MemoryContextReset(context);

		if (es_http_server_fd() != PGINVALID_SOCKET)
			events |= WL_SOCKET_READABLE;
		(void) WaitLatchOrSocket(MyLatch, events, es_http_server_fd(),
								 es_http_server_timeout(failed ? RETRY_INTERVAL : LONG_TIME), wait_event);
		es_http_server_run();
	}

	/* not 0, which would mean that it need not be started again */
	es_http_server_stop();
	proc_exit(1);
}

void
_PG_init(void)
{
	BackgroundWorker worker = {0};

	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event_store_http must be loaded when the server starts"),
				 errhint("Write shared_preload_libraries = 'event_store, event_store_http' into postgresql.conf and restart the server.")));
	if (find_endpoint() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event_store_http must be loaded after event_store"),
				 errhint("Write shared_preload_libraries = 'event_store, event_store_http' into postgresql.conf, in this order.")));
	if (strcmp(find_endpoint()->version, ES_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("event_store_http is of version %s, event_store of version %s", ES_VERSION, find_endpoint()->version),
				 errhint("Install both libraries in one version.")));

	EsHttpSettingsInit();

	/* pg_upgrade wants nobody to answer behind its back */
	if (IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store_http");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_http_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "event_store metrics endpoint");
	snprintf(worker.bgw_type, BGW_MAXLEN, "event_store metrics endpoint");
	RegisterBackgroundWorker(&worker);
}
