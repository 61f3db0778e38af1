/*
 * listen.c
 *		The socket that the metrics endpoint listens on: an address with a
 *		port, or a Unix socket.
 *
 * Addresses are numbers, or localhost, so that nothing here waits for a name
 * server.  The file of a Unix socket is made under another name, given its
 * permissions, and then renamed: nobody can connect before they hold.  A file
 * of that name that is no socket, or one that somebody listens on, is left
 * alone.
 */
#include "postgres.h"

#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/listen.h"
#include "http/settings.h"

#define BACKLOG		128			/* connections that wait for their turn */

static char made[MAXPGPATH];	/* path of the socket that this process has made, or empty */

/*
 * Read a setting of the form address:port, [address]:port, localhost:port or
 * /path; the empty string means nowhere.  Returns what is wrong with it, as a
 * sentence, or NULL.
 */
const char *
es_http_parse_address(const char *text, EsHttpAddress *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *) &address->address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) &address->address;
	struct sockaddr_un *un = (struct sockaddr_un *) &address->address;
	const char *colon = strrchr(text, ':');
	const char *end;
	char		host[INET6_ADDRSTRLEN];
	int			port = 0;

	memset(address, 0, sizeof(*address));
	if (text[0] == '\0')
		return NULL;
	if (text[0] == '/')
	{
		/* room for what the file is called before it is renamed */
		if (strlen(text) + strlen(".new") >= sizeof(un->sun_path))
			return "The path of a Unix socket may not be that long.";
		un->sun_family = AF_UNIX;
		strcpy(un->sun_path, text);
		address->length = sizeof(*un);
		return NULL;
	}

	if (colon == NULL)
		return "Write address:port, or the absolute path of a Unix socket.";
	for (const char *c = colon + 1; *c; c++)
	{
		if (*c < '0' || *c > '9' || port > 65535)
			return "The port must be a number from 1 to 65535.";
		port = port * 10 + (*c - '0');
	}
	if (port < 1 || port > 65535)
		return "The port must be a number from 1 to 65535.";

	end = colon;
	if (*text == '[' && end - text > 2 && end[-1] == ']')
	{
		text++;
		end--;
	}
	if (end - text >= (int) sizeof(host))
		return "The address must be a number, or localhost.";
	memcpy(host, text, end - text);
	host[end - text] = '\0';
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");

	if (end == colon && inet_pton(AF_INET, host, &in->sin_addr) == 1)
	{
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		address->length = sizeof(*in);
	}
	else if (end != colon && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1)
	{
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		address->length = sizeof(*in6);
	}
	else
		return "The address must be a number, one of IPv6 in brackets, or localhost.";
	return NULL;
}

static bool
is_loopback(const EsHttpAddress *address)
{
	if (address->address.ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *) &address->address)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) &address->address)->sin6_addr);
}

/* Bind a Unix socket to its path; false with errno, or with *error for what has no errno. */
static bool
bind_path(int sock, const struct sockaddr_un *wanted, const char **error)
{
	struct sockaddr_un un = *wanted;
	struct stat st;

	if (lstat(wanted->sun_path, &st) == 0)
	{
		int			probe;
		bool		answered;

		if (!S_ISSOCK(st.st_mode))
		{
			*error = "there is a file of this name that is no socket";
			return false;
		}
		probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (probe < 0)
			return false;
		/* one with a full backlog is somebody's too */
		answered = connect(probe, (const struct sockaddr *) wanted, sizeof(*wanted)) == 0 || errno != ECONNREFUSED;
		close(probe);
		if (answered)
		{
			errno = EADDRINUSE;
			return false;
		}
	}

	strcat(un.sun_path, ".new");
	(void) unlink(un.sun_path);
	if (bind(sock, (struct sockaddr *) &un, sizeof(un)) != 0)
		return false;
	if (chmod(un.sun_path, es_http_socket_permissions) != 0 || listen(sock, BACKLOG) != 0 ||
		rename(un.sun_path, wanted->sun_path) != 0)
	{
		int			save_errno = errno;

		(void) unlink(un.sun_path);
		errno = save_errno;
		return false;
	}
	strlcpy(made, wanted->sun_path, sizeof(made));
	return true;
}

/*
 * A socket that listens on an address, or -1 with *error, static or palloc'd.
 */
int
es_http_listen_on(const EsHttpAddress *address, const char **error)
{
	int			family = address->address.ss_family;
	int			on = 1;
	int			sock;
	bool		listening;

	*error = NULL;
	if (family != AF_UNIX && !is_loopback(address) && !es_http_allow_remote)
	{
		*error = "other machines can reach this address, and event_store_http.allow_remote is off";
		return -1;
	}
	sock = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sock < 0)
	{
		*error = psprintf("%m");
		return -1;
	}
	if (family == AF_UNIX)
		listening = bind_path(sock, (const struct sockaddr_un *) &address->address, error);
	else
		listening = setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
			(family != AF_INET6 || setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
			bind(sock, (const struct sockaddr *) &address->address, address->length) == 0 &&
			listen(sock, BACKLOG) == 0;
	if (listening)
		return sock;
	if (*error == NULL)
		*error = psprintf("%m");
	close(sock);
	return -1;
}

/* Remove the file of the Unix socket that es_http_listen_on has made, if it has made one. */
void
es_http_unlink_socket(void)
{
	if (made[0] != '\0')
		(void) unlink(made);
	made[0] = '\0';
}
