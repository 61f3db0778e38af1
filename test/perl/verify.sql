-- The verdict on a workload: one row for each invariant, with the number of
-- its violations and an example.  Variables: the schema of the store, and the
-- files that ESTest::Workload gathers from its writers and followers.
--
-- What must hold of any store is verify_store's part, here is what the ledgers
-- and the followers add; of the functions under test it is the only one that
-- is used.  An event is known by its tag, which its writer put
-- into its data; events without one were appended beside the workload.

\set QUIET on
SET client_min_messages = error;
SET jit = off;
DROP SCHEMA IF EXISTS verify CASCADE;
CREATE SCHEMA verify;
SET search_path = verify;

CREATE TABLE ledger (outcome text, txn text, tag text PRIMARY KEY, stream text,
	version bigint, position bigint, event_id uuid,
	invoked float8, done float8);
CREATE TABLE delivered (seq bigint GENERATED ALWAYS AS IDENTITY, follower text,
	position bigint, stream text, version bigint, event_id uuid, type text,
	tag text);
CREATE TABLE followers (follower text, types text[], category text);
COPY ledger FROM :'ledger';
COPY delivered (follower, position, stream, version, event_id, type, tag) FROM :'log';
COPY followers FROM :'followers';

CREATE TABLE stored AS
SELECT l.position, s.stream_name::text AS stream, l.version, l.event_id,
	l.event_type::text AS type, l.data->>'tag' AS tag
FROM :"store".event_log l JOIN :"store".event_streams s USING (stream_id);

-- what each follower has to be given
CREATE TABLE due AS
SELECT f.follower, s.*
FROM followers f JOIN stored s
	ON (f.types IS NULL OR s.type = ANY (f.types))
	AND (f.category IS NULL OR split_part(s.stream, '-', 1) = f.category);

ANALYZE ledger, delivered, stored, due;

SELECT 'no acknowledged event is lost', count(*), min(tag)
FROM ledger l
WHERE l.outcome = 'acked' AND NOT EXISTS (SELECT FROM stored s WHERE s.tag = l.tag)
UNION ALL
SELECT 'acknowledged events are where the answer said', count(*), min(example)
FROM (
	SELECT format('%s at %s/%s, position %s, is at %s/%s, position %s', l.tag,
		l.stream, l.version, l.position, s.stream, s.version, s.position) AS example
	FROM ledger l JOIN stored s USING (tag)
	WHERE l.outcome = 'acked'
		AND (s.stream, s.version, s.position)
			IS DISTINCT FROM (l.stream, l.version, l.position)) v
UNION ALL
SELECT 'event ids that a writer gave are kept', count(*), min(example)
FROM (
	SELECT format('%s: %s instead of %s', l.tag, s.event_id, l.event_id) AS example
	FROM ledger l JOIN stored s USING (tag)
	WHERE l.event_id <> s.event_id) v
UNION ALL
SELECT 'no event is in the log twice', count(*), min(example)
FROM (
	SELECT format('%s is there %s times', tag, count(*)) AS example
	FROM stored WHERE tag IS NOT NULL
	GROUP BY tag HAVING count(*) > 1) v
UNION ALL
SELECT * FROM event_store.verify_store(:'store')
UNION ALL
SELECT 'nothing is in the log that no writer sent', count(*), min(tag)
FROM stored s
WHERE tag IS NOT NULL
	AND NOT EXISTS (SELECT FROM ledger l
		WHERE l.tag = s.tag AND l.outcome IN ('acked', 'unknown'))
UNION ALL
SELECT 'nothing that was rolled back is in the log or was delivered',
	count(*), min(tag)
FROM ledger l
WHERE l.outcome = 'rolled_back'
	AND (EXISTS (SELECT FROM stored s WHERE s.tag = l.tag)
		OR EXISTS (SELECT FROM delivered d WHERE d.tag = l.tag))
UNION ALL
SELECT 'a transaction of unknown outcome is there whole or not at all',
	count(*), min(example)
FROM (
	SELECT format('%s: %s of %s events', l.txn, count(s.tag), count(*)) AS example
	FROM ledger l LEFT JOIN stored s USING (tag)
	WHERE l.outcome = 'unknown'
	GROUP BY l.txn HAVING count(s.tag) NOT IN (0, count(*))) v
UNION ALL
SELECT 'what was acknowledged before a transaction began stands before it',
	count(*), min(example)
FROM (
	SELECT format('%s is at %s', tag, position) AS example
	FROM (SELECT *, min(done) OVER (ORDER BY position DESC) AS done_from_here
		FROM ledger WHERE outcome = 'acked') l
	WHERE done_from_here < invoked) v
UNION ALL
SELECT 'no position ever stood for two events', count(*), min(example)
FROM (
	SELECT format('%s: %s', position, string_agg(DISTINCT tag, ', ')) AS example
	FROM (SELECT position, tag FROM stored
		UNION ALL SELECT position, tag FROM ledger WHERE outcome = 'acked'
		UNION ALL SELECT position, tag FROM delivered) p
	GROUP BY position HAVING count(DISTINCT coalesce(tag, '')) > 1) v
UNION ALL
SELECT 'no event is at two positions', count(*), min(example)
FROM (
	SELECT format('%s: %s', tag, string_agg(DISTINCT position::text, ', ')) AS example
	FROM (SELECT position, tag FROM stored
		UNION ALL SELECT position, tag FROM delivered) p
	GROUP BY tag HAVING tag IS NOT NULL AND count(DISTINCT position) > 1) v
UNION ALL
SELECT 'followers missed nothing', count(*), min(example)
FROM (
	SELECT format('%s missed position %s', e.follower, e.position) AS example
	FROM due e LEFT JOIN delivered d USING (follower, position)
	WHERE d.position IS NULL) v
UNION ALL
SELECT 'followers were given nothing but what is in the log', count(*), min(example)
FROM (
	SELECT format('%s was given %s at position %s', d.follower, d.tag, d.position) AS example
	FROM delivered d LEFT JOIN due e USING (follower, position)
	WHERE (d.stream, d.version, d.event_id, d.type, d.tag)
		IS DISTINCT FROM (e.stream, e.version, e.event_id, e.type, e.tag)) v
UNION ALL
SELECT 'followers were given everything once and in the order of positions',
	count(*), min(example)
FROM (
	SELECT format('%s was given position %s after %s', follower, position, previous) AS example
	FROM (SELECT *, lag(position) OVER (PARTITION BY follower ORDER BY seq) AS previous
		FROM delivered) d
	WHERE position <= previous) v;
