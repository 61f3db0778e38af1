/*
 * token.h
 *		The bearer token of the metrics endpoint.
 */
#ifndef ES_HTTP_TOKEN_H
#define ES_HTTP_TOKEN_H

extern void es_http_load_token(void);
extern bool es_http_token_fits(const char *authorization);

#endif							/* ES_HTTP_TOKEN_H */
