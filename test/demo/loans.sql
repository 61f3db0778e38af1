-- The lines of the log of loan applications as events of one stream an application, in the order in which they happened.
CREATE UNLOGGED TABLE replay.loan_event (line bigint PRIMARY KEY, stream text, type text, data jsonb, created_at timestamptz);
INSERT INTO replay.loan_event
SELECT row_number() OVER (ORDER BY at, line), 'application-' || application, activity,
	jsonb_strip_nulls(jsonb_build_object('transition', transition, 'resource', resource,
		'amount', CASE WHEN row_number() OVER (PARTITION BY application ORDER BY at, line) = 1 THEN amount END)), at
FROM replay.loan_line;
ANALYZE replay.loan_event;
