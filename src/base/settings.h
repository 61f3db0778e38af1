/*
 * settings.h
 *		All settings (GUCs) of the extension.
 */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

extern int	es_handler_timeout;
extern int	es_mark_interval;
extern int	es_max_batch_events;
extern int	es_max_event_size;
extern int	es_max_json_depth;
extern int	es_max_metrics;
extern int	es_max_name_length;
extern int	es_max_series;
extern int	es_max_stores;
extern int	es_max_stream_locks;
extern int	es_stream_cache_size;
extern bool es_telemetry;
extern char *es_traceparent;

extern void EsSettingsInit(void);

#endif							/* ES_SETTINGS_H */
