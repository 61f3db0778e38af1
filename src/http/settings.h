/*
 * settings.h
 *		All settings (GUCs) of the metrics endpoint.
 */
#ifndef ES_HTTP_SETTINGS_H
#define ES_HTTP_SETTINGS_H

extern bool es_http_allow_remote;
extern char *es_http_listen;
extern int	es_http_socket_permissions;
extern char *es_http_token_file;

extern void EsHttpSettingsInit(void);

#endif							/* ES_HTTP_SETTINGS_H */
