/*
 * listen.h
 *		The socket that the metrics endpoint listens on.
 */
#ifndef ES_HTTP_LISTEN_H
#define ES_HTTP_LISTEN_H

#include <sys/socket.h>

/* What event_store_http.listen says. */
typedef struct EsHttpAddress
{
	struct sockaddr_storage address;
	socklen_t	length;			/* 0: nowhere */
} EsHttpAddress;

extern const char *es_http_parse_address(const char *text, EsHttpAddress *address);
extern int	es_http_listen_on(const EsHttpAddress *address, const char **error);
extern void es_http_unlink_socket(void);

#endif							/* ES_HTTP_LISTEN_H */
