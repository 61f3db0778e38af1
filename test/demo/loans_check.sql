-- What the lines of the log say of each application, without the store: the amount, the last status, how many offers were sent,
-- how long somebody worked on it; and how many states differ from that.
WITH work AS (
	SELECT application, at, transition, lag(transition) OVER w AS before, at - lag(at) OVER w AS since
	FROM replay.loan_line WHERE activity LIKE 'W%' AND transition IN ('START', 'COMPLETE')
	WINDOW w AS (PARTITION BY application ORDER BY at, line)),
worked AS (
	SELECT application, sum(since) AS worked FROM work WHERE transition = 'COMPLETE' AND before = 'START' GROUP BY application),
truth AS (
	SELECT l.application, count(*) AS events, min(amount) AS amount,
		(array_agg(activity ORDER BY at DESC, line DESC) FILTER (WHERE activity LIKE 'A%'))[1] AS status,
		count(*) FILTER (WHERE activity = 'O_SENT') AS offers, coalesce(min(w.worked), '0') AS worked
	FROM replay.loan_line l LEFT JOIN worked w USING (application) GROUP BY l.application)
SELECT (SELECT count(*) FROM truth), count(*) FILTER (WHERE s.version = t.events AND (s.state ->> 'amount')::numeric = t.amount
	AND s.state ->> 'status' = t.status AND (s.state ->> 'offers')::int = t.offers AND (s.state ->> 'worked')::interval = t.worked)
FROM truth t JOIN replay.loan_state s ON s.id = t.application;
