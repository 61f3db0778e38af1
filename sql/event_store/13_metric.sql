/* metrics that users define */

CREATE TABLE event_store.metric_definitions (
	number pg_catalog.int8 NOT NULL,
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	type pg_catalog.text NOT NULL,
	event pg_catalog.text NOT NULL,
	measurement pg_catalog.text,
	tags pg_catalog.text[] NOT NULL,
	keep pg_catalog.jsonpath,
	drop pg_catalog.jsonpath,
	description pg_catalog.text,
	unit pg_catalog.text,
	measured_in pg_catalog.text,
	buckets pg_catalog.float8[],
	gauge pg_catalog.bool NOT NULL,
	commit_rule pg_catalog.text NOT NULL,
	defined_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT metric_definitions_pkey PRIMARY KEY (number),
	CONSTRAINT metric_definitions_name_key UNIQUE (name)
);
COMMENT ON TABLE event_store.metric_definitions
IS 'the metrics that users have defined in this database; what they count is in shared memory, see the view metrics';
SELECT pg_catalog.pg_extension_config_dump('event_store.metric_definitions', '');
REVOKE ALL ON TABLE event_store.metric_definitions FROM PUBLIC;
GRANT SELECT ON TABLE event_store.metric_definitions TO pg_monitor;

CREATE FUNCTION event_store.metric_counter(name text, event text DEFAULT NULL, tags text[] DEFAULT '{}', keep text DEFAULT NULL,
	drop text DEFAULT NULL, description text DEFAULT NULL, commit_rule text DEFAULT 'committed')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_counter'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_counter(text, text, text[], text, text, text, text)
IS 'defines a metric that counts events';

CREATE FUNCTION event_store.metric_sum(name text, event text DEFAULT NULL, measurement text DEFAULT NULL, tags text[] DEFAULT '{}',
	keep text DEFAULT NULL, drop text DEFAULT NULL, description text DEFAULT NULL, unit text DEFAULT NULL, measured_in text DEFAULT NULL,
	commit_rule text DEFAULT 'committed', prometheus_type text DEFAULT 'counter')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_sum'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_sum(text, text, text, text[], text, text, text, text, text, text, text)
IS 'defines a metric that adds a measurement up';

CREATE FUNCTION event_store.metric_last_value(name text, event text DEFAULT NULL, measurement text DEFAULT NULL,
	tags text[] DEFAULT '{}', keep text DEFAULT NULL, drop text DEFAULT NULL, description text DEFAULT NULL, unit text DEFAULT NULL,
	measured_in text DEFAULT NULL, commit_rule text DEFAULT 'committed')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_last_value'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_last_value(text, text, text, text[], text, text, text, text, text, text)
IS 'defines a metric that holds the latest measurement';

CREATE FUNCTION event_store.metric_distribution(name text, event text DEFAULT NULL, measurement text DEFAULT NULL,
	tags text[] DEFAULT '{}', keep text DEFAULT NULL, drop text DEFAULT NULL, description text DEFAULT NULL, unit text DEFAULT NULL,
	measured_in text DEFAULT NULL, commit_rule text DEFAULT 'committed', buckets float8[] DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_distribution'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_distribution(text, text, text, text[], text, text, text, text, text, text, float8[])
IS 'defines a metric that counts measurements by size, in buckets with the upper bounds given';

CREATE FUNCTION event_store.metric_summary(name text, event text DEFAULT NULL, measurement text DEFAULT NULL,
	tags text[] DEFAULT '{}', keep text DEFAULT NULL, drop text DEFAULT NULL, description text DEFAULT NULL, unit text DEFAULT NULL,
	measured_in text DEFAULT NULL, commit_rule text DEFAULT 'committed')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_summary'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_summary(text, text, text, text[], text, text, text, text, text, text)
IS 'defines a metric that keeps count, sum, least, greatest and quantiles of measurements';

CREATE FUNCTION event_store.metric_drop(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_metric_drop'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.metric_drop(text)
IS 'drops a metric with what it has counted';

REVOKE ALL ON FUNCTION
	event_store.metric_counter(text, text, text[], text, text, text, text),
	event_store.metric_sum(text, text, text, text[], text, text, text, text, text, text, text),
	event_store.metric_last_value(text, text, text, text[], text, text, text, text, text, text),
	event_store.metric_distribution(text, text, text, text[], text, text, text, text, text, text, float8[]),
	event_store.metric_summary(text, text, text, text[], text, text, text, text, text, text),
	event_store.metric_drop(text)
FROM PUBLIC;
