/*
 * server.c
 *		The HTTP server of the metrics endpoint, run by libmicrohttpd.
 *
 * The library has no threads here and never waits: it offers one descriptor
 * (its epoll set) and a timeout, and does what there is to do when called.  It
 * must not be left by an error, so whatever can raise one is caught before it
 * returns there.
 *
 * A connection serves one request and is cut off when its time is over, idle or
 * not: a client that sends a byte now and then would otherwise hold one of the
 * few places for hours.  Clients that find no place wait in the backlog of the
 * socket.
 */
#include "postgres.h"

#include <sys/socket.h>

#include <microhttpd.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "http/server.h"
#include "http/token.h"

#define MAX_CONNECTIONS	16
#define MAX_SECONDS		5		/* that a connection may last */
#define MAX_REQUEST		4096	/* bytes of a request's line and headers */

/*
 * What the library allocates for a connection.  The parsed headers and those of
 * the answer take from it as well as the request.
 */
#define CONNECTION_MEMORY	(4 * MAX_REQUEST)

#define PLAIN			"text/plain; charset=utf-8"
#define PROMETHEUS		"text/plain; version=0.0.4; charset=utf-8"
#define OPENMETRICS		"application/openmetrics-text; version=1.0.0; charset=utf-8"

typedef struct Connection
{
	struct MHD_Connection *connection;	/* NULL: free */
	int			fd;
	double		deadline;		/* ms */
} Connection;

/* An answer to be. */
typedef struct Answer
{
	unsigned int status;
	const char *type;
	const char *body;
} Answer;

typedef struct Page
{
	const char *path;
	bool		secret;			/* for those with the token */
	void		(*write) (struct MHD_Connection *connection, Answer *answer);
} Page;

static const EsEndpoint *endpoint;
static struct MHD_Daemon *server = NULL;
static Connection connections[MAX_CONNECTIONS];
static bool place_freed;		/* during the last call of MHD_run */
static MemoryContext page_context;

static double
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* --- pages --- */

/*
 * Does a header Accept (NULL: there is none) prefer OpenMetrics?  Who accepts
 * both alike gets it, for it tells more.
 */
static bool
wants_openmetrics(const char *accept)
{
	double		openmetrics = 0;
	double		plain = 0;

	while (accept != NULL && *accept != '\0')
	{
		const char *end = accept + strcspn(accept, ",");
		const char *param;
		char		range[256];
		char		version[16] = "";
		double		quality = 1;

		accept += strspn(accept, " \t");
		if (end - accept < (int) sizeof(range))
		{
			size_t		type;

			memcpy(range, accept, Max(end - accept, 0));
			range[Max(end - accept, 0)] = '\0';
			type = strcspn(range, "; \t");
			for (param = strchr(range, ';'); param != NULL; param = strchr(param, ';'))
			{
				param += 1 + strspn(param + 1, " \t");
				if (pg_strncasecmp(param, "q=", 2) == 0)
					quality = strtod(param + 2, NULL);
				else if (pg_strncasecmp(param, "version=", 8) == 0)
					strlcpy(version, param + 8, Min(sizeof(version), strcspn(param + 8, "; \t") + 1));
			}
			range[type] = '\0';
			if (pg_strcasecmp(range, "application/openmetrics-text") == 0 &&
				(version[0] == '\0' || strcmp(version, "1.0.0") == 0))
				openmetrics = Max(openmetrics, quality);
			else if (pg_strcasecmp(range, "text/plain") == 0 || strcmp(range, "*/*") == 0 || pg_strcasecmp(range, "text/*") == 0)
				plain = Max(plain, quality);
		}
		accept = *end == ',' ? end + 1 : end;
	}
	return openmetrics > 0 && openmetrics >= plain;
}

static void
metrics_page(struct MHD_Connection *connection, Answer *answer)
{
	bool		openmetrics = wants_openmetrics(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept"));

	double		start = now_ms();

	answer->type = openmetrics ? OPENMETRICS : PROMETHEUS;
	answer->body = endpoint->metrics(openmetrics ? ES_FORMAT_OPENMETRICS : ES_FORMAT_PROMETHEUS);
	endpoint->scraped((now_ms() - start) / 1000);
}

static void
health_page(struct MHD_Connection *connection, Answer *answer)
{
	answer->body = "ok\n";
}

static void
ready_page(struct MHD_Connection *connection, Answer *answer)
{
	StringInfoData report;

	initStringInfo(&report);
	if (!endpoint->ready(&report))
		answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	answer->body = report.data;
}

static const Page pages[] = {
	{"/metrics", true, metrics_page},
	{"/healthz", false, health_page},
	{"/readyz", true, ready_page},
};

/* Have the page written, in page_context; an error is logged and becomes an answer. */
static void
write_page(const Page *page, struct MHD_Connection *connection, Answer *answer)
{
	MemoryContext caller = MemoryContextSwitchTo(page_context);

	PG_TRY();
	{
		page->write(connection, answer);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(page_context);
		EmitErrorReport();
		FlushErrorState();
		LWLockReleaseAll();
		*answer = (Answer) {MHD_HTTP_INTERNAL_SERVER_ERROR, PLAIN, "something went wrong, see the server log\n"};
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

/* --- what the library calls --- */

static enum MHD_Result
send_answer(struct MHD_Connection *connection, const Answer *answer)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(answer->body), unconstify(char *, answer->body), MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	(void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
	(void) MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (answer->status == MHD_HTTP_UNAUTHORIZED)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"event_store\"");
	if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		(void) MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

/*
 * A request has come, up to the end of its headers.  What follows them is of no
 * interest: the answer is given at once, and the connection ends with it.
 */
static enum MHD_Result
take_request(void *closure, struct MHD_Connection *connection, const char *path, const char *method,
			 const char *version, const char *upload, size_t *upload_size, void **request_closure)
{
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	const Page *page = NULL;
	Answer		answer = {MHD_HTTP_OK, PLAIN, ""};
	enum MHD_Result result;

	for (int i = 0; i < lengthof(pages) && page == NULL; i++)
		if (strcmp(path, pages[i].path) == 0)
			page = &pages[i];

	if (size != NULL && size->header_size > MAX_REQUEST)
		answer = (Answer) {MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, PLAIN, "the request is too large\n"};
	else if (page == NULL)
		answer = (Answer) {MHD_HTTP_NOT_FOUND, PLAIN, "there are /metrics, /healthz and /readyz\n"};
	else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		answer = (Answer) {MHD_HTTP_METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n"};
	else if (page->secret &&
			 !es_http_token_fits(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION)))
		answer = (Answer) {MHD_HTTP_UNAUTHORIZED, PLAIN, "the token is missing or wrong\n"};
	else
		write_page(page, connection, &answer);

	endpoint->answered(answer.status);
	result = send_answer(connection, &answer);
	MemoryContextReset(page_context);
	return result;
}

/* Leaves paths as they are: nothing here is spelled with escapes. */
static size_t
keep_escapes(void *closure, struct MHD_Connection *connection, char *path)
{
	return strlen(path);
}

/* A connection has come or gone. */
static void
note_connection(void *closure, struct MHD_Connection *connection, void **socket_closure,
				enum MHD_ConnectionNotificationCode what)
{
	bool		comes = what == MHD_CONNECTION_NOTIFY_STARTED;

	for (int i = 0; i < MAX_CONNECTIONS; i++)
	{
		Connection *c = &connections[i];

		if (c->connection != (comes ? NULL : connection))
			continue;
		*c = (Connection) {NULL};
		place_freed = place_freed || !comes;
		if (comes)
		{
			c->connection = connection;
			c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
			c->deadline = now_ms() + MAX_SECONDS * 1000.0;
		}
		return;
	}
}

static void log_line(void *closure, const char *format, va_list args) pg_attribute_printf(2, 0);

/* What the library has to say of its clients is of interest while debugging. */
static void
log_line(void *closure, const char *format, va_list args)
{
	char		line[512];
	int			length = vsnprintf(line, sizeof(line), format, args);

	while (length > 0 && (length >= sizeof(line) || line[length - 1] == '\n'))
		length = Min(length, sizeof(line)) - 1;
	line[Max(length, 0)] = '\0';
	ereport(DEBUG1, (errmsg_internal("metrics endpoint: %s", line)));
}

/* The library would abort, and the postmaster then restart the whole server. */
static void
end_process(void *closure, const char *file, unsigned int line, const char *reason)
{
	ereport(FATAL, (errmsg_internal("libmicrohttpd: %s (%s:%u)", reason, file, line)));
}

/* --- for the worker --- */

void
es_http_server_init(const EsEndpoint *source)
{
	endpoint = source;
	page_context = AllocSetContextCreate(TopMemoryContext, "event_store metrics page", ALLOCSET_DEFAULT_SIZES);
	MHD_set_panic_func(end_process, NULL);
}

/* Serve the clients of a listening socket, which belongs to the server from now on; false if that fails. */
bool
es_http_server_start(int sock)
{
	memset(connections, 0, sizeof(connections));
	server = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, take_request, NULL,
							  MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
							  MHD_OPTION_LISTEN_SOCKET, sock,
							  MHD_OPTION_CONNECTION_LIMIT, (unsigned int) MAX_CONNECTIONS,
							  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) MAX_SECONDS,
							  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_MEMORY,
							  MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL,
							  MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
							  MHD_OPTION_END);
	return server != NULL;
}

void
es_http_server_stop(void)
{
	if (server != NULL)
		MHD_stop_daemon(server);
	server = NULL;
}

/* The descriptor to wait for until it is readable; PGINVALID_SOCKET if there is no server. */
int
es_http_server_fd(void)
{
	return server ? MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd : PGINVALID_SOCKET;
}

/* How long to wait for it at most, in ms. */
long
es_http_server_timeout(long most)
{
	unsigned long long timeout;

	if (server == NULL)
		return most;
	if (MHD_get_timeout(server, &timeout) == MHD_YES)
		most = Min(timeout, most);
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i].connection != NULL)
			most = Min(most, (long) Max(connections[i].deadline - now_ms() + 1, 0));
	return most;
}

/* Do what there is to do. */
void
es_http_server_run(void)
{
	double		now = now_ms();

	if (server == NULL)
		return;
	for (int i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i].connection != NULL && connections[i].deadline <= now)
		{
			/* the library notices, and closes it */
			(void) shutdown(connections[i].fd, SHUT_RDWR);
			connections[i].deadline = now + MAX_SECONDS * 1000.0;
		}

	/* only at its next call does the library look for new clients again, if there was no place for them */
	do
	{
		place_freed = false;
		(void) MHD_run(server);
	} while (place_freed);
}
