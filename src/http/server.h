/*
 * server.h
 *		The HTTP server of the metrics endpoint.
 */
#ifndef ES_HTTP_SERVER_H
#define ES_HTTP_SERVER_H

#include "runtime/endpoint.h"

extern void es_http_server_init(const EsEndpoint *source);
extern bool es_http_server_start(int sock);
extern void es_http_server_stop(void);
extern int	es_http_server_fd(void);
extern long es_http_server_timeout(long most);
extern void es_http_server_run(void);

#endif							/* ES_HTTP_SERVER_H */
