/*
 * settings.c
 *		All settings (GUCs) of the metrics endpoint, in alphabetical order.
 *
 * Their prefix is the library's own: event_store has reserved that of its
 * settings, and refuses others with it, before this library is loaded.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "http/listen.h"
#include "http/settings.h"

bool		es_http_allow_remote;
char	   *es_http_listen;
int			es_http_socket_permissions;
char	   *es_http_token_file;

static bool
check_listen(char **value, void **extra, GucSource source)
{
	EsHttpAddress address;
	const char *error = es_http_parse_address(*value, &address);

	if (error != NULL)
		GUC_check_errdetail("%s", error);
	return error == NULL;
}

static const char *
show_socket_permissions(void)
{
	static char buf[8];

	snprintf(buf, sizeof(buf), "%04o", es_http_socket_permissions);
	return buf;
}

void
EsHttpSettingsInit(void)
{
	DefineCustomBoolVariable("event_store_http.allow_remote",
							 "Lets the metrics endpoint listen on addresses that other machines can reach.",
							 NULL,
							 &es_http_allow_remote,
							 false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("event_store_http.listen",
							   "Where the metrics endpoint listens: address:port, or the absolute path of a Unix socket.",
							   "Empty: nowhere.",
							   &es_http_listen,
							   "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_listen, NULL, NULL);
	DefineCustomIntVariable("event_store_http.socket_permissions",
							"Access permissions of the Unix socket of the metrics endpoint.",
							"A number as chmod takes it, in octal with a leading 0.",
							&es_http_socket_permissions,
							0700, 0000, 0777,
							PGC_SIGHUP, 0, NULL, NULL, show_socket_permissions);
	DefineCustomStringVariable("event_store_http.token_file",
							   "File with the bearer token that whoever asks the metrics endpoint must show.",
							   "A path, relative to the data directory. Empty: no token is needed.",
							   &es_http_token_file,
							   "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);

	MarkGUCPrefixReserved("event_store_http");
}
