-- The time of the appends that succeeded as a histogram of text: the buckets from the first that holds one to the last.
WITH bucket AS (
	SELECT n, (b ->> 'le')::float8 * 1000 AS ms,
		(b ->> 'count')::bigint - lag((b ->> 'count')::bigint, 1, 0::bigint) OVER (ORDER BY n) AS appends
	FROM event_store.metrics, jsonb_array_elements(buckets) WITH ORDINALITY AS u (b, n)
	WHERE name = 'event_store_append_duration_seconds' AND tags ->> 'outcome' = 'ok'
)
SELECT format('%14s %s %s', CASE WHEN ms < 'Infinity' THEN 'up to ' || round(ms::numeric, 2) || ' ms' ELSE 'longer' END,
	rpad(repeat('#', ceil(50.0 * appends / max(appends) OVER ())::int), 50), appends)
FROM bucket
WHERE n BETWEEN (SELECT min(n) FROM bucket WHERE appends > 0) AND (SELECT max(n) FROM bucket WHERE appends > 0)
ORDER BY n;
