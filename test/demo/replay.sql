-- The log's lines (table replay.line, a column of text for each column of the file) as the arguments of one append each.
-- What a case looked like when the event happened goes into data, who did it into metadata.
CREATE UNLOGGED TABLE replay.event AS
SELECT :'category' || '-' || case_concept_name AS stream,
	row_number() OVER (PARTITION BY case_concept_name ORDER BY time_timestamp::timestamptz, line) - 1 AS expected,
	concept_name AS type,
	jsonb_strip_nulls(to_jsonb(l) - '{line,case_concept_name,concept_name,time_timestamp,org_resource,org_group,lifecycle_transition}'::text[]) AS data,
	jsonb_strip_nulls(jsonb_build_object('resource', org_resource, 'group', org_group,
		'transition', to_jsonb(l) -> 'lifecycle_transition')) AS metadata,
	time_timestamp::timestamptz AS created_at,
	line
FROM replay.line l;
ANALYZE replay.event;
