/*
 * settings.h
 *		All settings (GUCs) of the extension.
 */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

typedef enum EsGuard
{
	ES_GUARD_OFF,
	ES_GUARD_WARN,
	ES_GUARD_ENFORCE
} EsGuard;

typedef enum EsPooler
{
	ES_POOLER_NONE,
	ES_POOLER_TRANSACTION,
	ES_POOLER_TRACKED
} EsPooler;

#define ES_SET_BY_CONFIGURATION	PG_UINT64_MAX	/* of the server, the database or the role */

extern int	es_command_retention;
extern int	es_handler_timeout;
extern bool es_enable_hard_delete;
extern int	es_guard;
extern bool es_hot_streams;
extern int	es_mark_interval;
extern int	es_max_batch_events;
extern int	es_max_event_size;
extern int	es_max_event_tags;
extern int	es_max_json_depth;
extern int	es_max_metrics;
extern int	es_max_name_length;
extern int	es_max_query_terms;
extern int	es_mailbox_size;
extern int	es_max_registered;
extern int	es_max_series;
extern int	es_max_stores;
extern int	es_max_stream_locks;
extern int	es_max_tasks;
extern int	es_max_workers;
extern int	es_notify_interval;
extern int	es_pooler;
extern bool es_problem_debug;
extern int	es_problem_detail_size;
extern char *es_problem_language;
extern double es_problem_log_rate;
extern int	es_problem_log_size;
extern bool es_require_tenant;
extern int	es_session_max;
extern int	es_session_max_bytes;
extern int	es_shared_pool_size;
extern int	es_store_cache_size;
extern int	es_stream_cache_size;
extern int	es_task_timeout;
extern bool es_telemetry;
extern bool es_trace_is_sampled;
extern char *es_traceparent;
extern char *es_tenant;
extern uint64 es_tenant_set_in; /* es_xact_number() or ES_SET_BY_CONFIGURATION */
extern char *es_tenant_name_pattern;
extern char *es_tenant_shared_schemas;
extern int	es_tidy_interval;
extern bool es_upkeep;

extern bool es_is_language_tag(const char *tag);

extern void EsSettingsInit(void);

#endif							/* ES_SETTINGS_H */
