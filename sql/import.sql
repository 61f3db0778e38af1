/* import: lines of a table in batches that commit, progress, bad sources, bad lines, rights */
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT event_store.create_store('history');
SET search_path = history, public;

CREATE TABLE staged (
	line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stream text, version bigint, type text, data jsonb, metadata jsonb,
	event_id uuid, correlation_id uuid, causation_id uuid, created_at timestamptz
);
-- streams alternate, times run backwards, one stream begins in the middle of a batch
INSERT INTO staged (stream, version, type, data, metadata, event_id, correlation_id, created_at)
SELECT 'case-' || n % 3, (n + 2) / 3, 'Step', to_jsonb(n), CASE WHEN n % 2 = 0 THEN '{"even": true}'::jsonb END,
	CASE WHEN n % 5 = 0 THEN ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid END,
	CASE WHEN n % 7 = 0 THEN '00000000-0000-4000-8000-00000000c0de'::uuid END,
	timestamptz '2020-01-01 00:00:00+00' - n * interval '1 day'
FROM generate_series(1, 20) n;

SELECT event_store.append_event('before', 'Noted');
CALL event_store.import_events('staged', batch_size => 6);

-- positions follow the lines, versions those given, everything else is as it was
SELECT e.position, e.stream, e.version, e.data, e.created_at = s.created_at AS time,
	(e.metadata, e.correlation_id, e.causation_id) IS NOT DISTINCT FROM (s.metadata, s.correlation_id, s.causation_id) AS rest,
	coalesce(e.event_id = s.event_id, true) AS id
FROM event_store.read_all(max_count => NULL) e LEFT JOIN staged s ON e.position = s.line + 1 ORDER BY position;
-- a stream's id is the position of its first event, as ever
SELECT s.stream_name, s.stream_id = min(l.position) AS first FROM event_streams s JOIN event_log l USING (stream_id)
GROUP BY 1, s.stream_id ORDER BY 1;
SELECT schema, name, source, last_line, events, remaining, events_per_second > 0 AS rate, changed_at >= started_at AS times
FROM event_store.imports;
SELECT * FROM event_store.verify_store();

-- again: nothing; more lines: these
CALL event_store.import_events('staged');
INSERT INTO staged (stream, type, data) VALUES ('case-0', 'Step', '{"more": 1}'), ('case-new', 'Step', '{}');
CALL event_store.import_events('staged', NULL, 1);
SELECT stream, version, type, data FROM event_store.read_all(21);
SELECT last_line, events, remaining FROM event_store.imports;

-- what was imported may be removed, and the next lines put there
TRUNCATE staged;
INSERT INTO staged (stream, type, data) VALUES ('case-0', 'Step', '{"after": "truncate"}');
CALL event_store.import_events('staged');
CALL event_store.import_events('staged');

-- but lines that would be left out are refused
TRUNCATE staged RESTART IDENTITY;
INSERT INTO staged (stream, type, data) SELECT 'other', 'Step', '{}' FROM generate_series(1, 30);
CALL event_store.import_events('staged');
DELETE FROM staged WHERE line > 10;
CALL event_store.import_events('staged');
SELECT count(*) FROM event_store.read_stream('other');
CALL event_store.import_events('staged', name => 'the others');
SELECT name, last_line, events, remaining FROM event_store.imports ORDER BY name;
INSERT INTO staged (line, stream, type, data) OVERRIDING SYSTEM VALUE VALUES (10, 'x', 'Step', '{}');
UPDATE staged SET line = DEFAULT WHERE line = 5;
DELETE FROM staged WHERE line = 10;
INSERT INTO staged (line, stream, type, data) OVERRIDING SYSTEM VALUE VALUES (10, 'x', 'Step', '{}');
CALL event_store.import_events('staged', name => 'the others');
TRUNCATE staged;
INSERT INTO staged (line, stream, type, data) OVERRIDING SYSTEM VALUE VALUES (100, 'y', 'Step', '{}');
CALL event_store.import_events('staged', name => 'late');
INSERT INTO staged (line, stream, type, data) OVERRIDING SYSTEM VALUE VALUES (99, 'y', 'Step', '{}');
CALL event_store.import_events('staged', name => 'late');
SELECT event_store.forget_import('late'), event_store.forget_import('late'), event_store.forget_import(NULL);
DELETE FROM staged WHERE line = 99;
CALL event_store.import_events('staged', name => 'late');

-- in a transaction block all is one transaction
TRUNCATE staged;
INSERT INTO staged (stream, type, data) SELECT 'block-' || n % 4, 'Step', '{}' FROM generate_series(1, 12) n;
BEGIN;
CALL event_store.import_events('staged', 'block', 5);
SELECT event_store.append_event('block-0', 'After', expected => 3);
ROLLBACK;
SELECT count(*) FROM event_store.read_category('block');
SELECT count(*) FROM event_store.imports WHERE name = 'block';
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL event_store.import_events('staged', 'block', 5);
CALL event_store.import_events('staged', 'block', 5);
COMMIT;
SELECT count(*) FROM event_store.read_category('block');

-- a batch ends where the locks of its streams would be too many: the log is never locked
TRUNCATE staged;
INSERT INTO staged (stream, type, data) SELECT 'many-' || n, 'Step', '{}' FROM generate_series(1, 100) n;
CREATE FUNCTION no_lock_on_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_locks WHERE relation = 'history.event_log'::regclass AND mode = 'ShareRowExclusiveLock') THEN
		RAISE 'the log is locked';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER no_lock BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION no_lock_on_log();
SET event_store.max_stream_locks = 7;
CALL event_store.import_events('staged', 'many');
BEGIN;
CALL event_store.import_events('staged', 'many in a block');
ROLLBACK;
RESET event_store.max_stream_locks;
-- that was also the way through SQL: order and versions hold there too
SELECT count(*), min(version), max(version), bool_and(position = first_value) AS in_order
FROM (SELECT version, position, min(position) OVER () + substr(stream, 6)::int - 1 AS first_value
	FROM event_store.read_category('many', max_count => NULL)) x;
TRUNCATE staged;
INSERT INTO staged (stream, type, data) SELECT 'sql-' || n % 3, 'Step', to_jsonb(n) FROM generate_series(1, 9) n;
CALL event_store.import_events('staged', 'sql');
SELECT stream, version, data, position - min(position) OVER () AS place FROM event_store.read_category('sql') ORDER BY position;
DROP TRIGGER no_lock ON event_log;

-- columns: json and text are parsed, other integers and names will do, views give what is not there
CREATE TABLE raw (line smallint, stream varchar(20), type varchar(20), data text, metadata json, version int);
INSERT INTO raw VALUES (2, 'raw-1', 'B', '{"b":  [1, 2.50, "\u00e4"]}', NULL, NULL),
	(1, 'raw-1', 'A', '1', '{"m": 1}', 1), (30, 'raw-1', 'C', 'null', '{}', 3);
CALL event_store.import_events('raw');
SELECT version, type, data, metadata FROM event_store.read_stream('raw-1');
CREATE VIEW shaped AS SELECT line + 100 AS line, 'view-' || line AS stream, type, data::json, 'epoch'::timestamptz AS created_at FROM raw;
CALL event_store.import_events('shaped');
SELECT stream, created_at AT TIME ZONE 'UTC' AS created_at FROM event_store.read_category('view');
SELECT name, last_line FROM event_store.imports WHERE name LIKE '%raw' OR name LIKE '%shaped' ORDER BY 1;

-- bad sources
CREATE TABLE bad1 (line bigint, stream text, type text, data jsonb, creatd_at timestamptz);
CREATE TABLE bad2 (line bigint, stream text, data jsonb);
CREATE TABLE bad3 (line bigint, stream text, type text, data date);
CREATE TABLE bad4 (line bigint, stream text, type text, data jsonb, created_at timestamp);
CALL event_store.import_events('bad1');
CALL event_store.import_events('bad2');
CALL event_store.import_events('bad3');
CALL event_store.import_events('bad4');
CALL event_store.import_events('nowhere');
CALL event_store.import_events(NULL);
CALL event_store.import_events(0);
CALL event_store.import_events('raw', '');
CALL event_store.import_events('raw', '$x');
CALL event_store.import_events('raw', batch_size => 0);
CALL event_store.import_events('raw', batch_size => 100001);
CALL event_store.import_events('raw', batch_size => NULL);

-- bad lines: the error names the line, what came before it in whole batches stays, nothing of its own batch does
CREATE TABLE wrong (line bigint, stream text, version int, type text, data text, metadata text, event_id uuid, created_at timestamptz);
CREATE PROCEDURE try_line(line_number bigint, given wrong) LANGUAGE plpgsql AS $$
DECLARE
	number bigint;
	caught text;
	state text;
	told text;
BEGIN
	TRUNCATE wrong;
	INSERT INTO wrong (line, stream, type, data) SELECT n, 'wrong-' || line_number, 'Step', '{}' FROM generate_series(1, 3) n;
	INSERT INTO wrong SELECT given.*;
	BEGIN
		CALL event_store.import_events('wrong', 'wrong-' || line_number, 2, number);
		RAISE NOTICE 'line % was taken', line_number;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS caught = MESSAGE_TEXT, state = RETURNED_SQLSTATE, told = PG_EXCEPTION_CONTEXT;
		RAISE NOTICE '%: % (%)', state, caught, replace(split_part(told, E'\nSQL statement', 1), E'\n', ', ');
	END;
END $$;
SET client_min_messages = notice;
CALL try_line(1, ROW(4, NULL, NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(2, ROW(4, 's', NULL, NULL, '{}', NULL, NULL, NULL));
CALL try_line(3, ROW(4, 's', NULL, 'Step', NULL, NULL, NULL, NULL));
CALL try_line(4, ROW(4, 's', NULL, 'Step', '{"a": }', NULL, NULL, NULL));
CALL try_line(5, ROW(4, 's', NULL, 'Step', '{}', '[]', NULL, NULL));
CALL try_line(6, ROW(4, 's', NULL, '$Step', '{}', NULL, NULL, NULL));
CALL try_line(7, ROW(4, 's', NULL, 'Step', '{}', NULL, NULL, 'infinity'));
CALL try_line(8, ROW(4, '$s', NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(9, ROW(4, 's', 0, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(10, ROW(4, 's', 2, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(11, ROW(4, 'wrong-11', 5, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(12, ROW(4, 'wrong-12', 1, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(13, ROW(4, 'wrong-13', 4, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(14, ROW(3, 's', NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(15, ROW(2, 's', NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(16, ROW(NULL, 's', NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(17, ROW(0, 's', NULL, 'Step', '{}', NULL, NULL, NULL));
CALL try_line(18, ROW(4, 's', NULL, 'Step', '{}', NULL, '00000000-0000-4000-8000-000000000005', NULL));
SELECT event_store.append_event('gone', 'Noted');
SELECT event_store.delete_stream('gone');
CALL try_line(19, ROW(4, 'gone', NULL, 'Step', '{}', NULL, NULL, NULL));
SET client_min_messages = warning;
-- in try_line the savepoint takes all back; by itself a CALL keeps whole batches
TRUNCATE wrong;
INSERT INTO wrong (line, stream, type, data) VALUES (1, 'kept', 'A', '1'), (2, 'kept', 'A', '2'), (3, 'kept', 'A', '3'), (4, 'kept', 'A', '{');
\set VERBOSITY default
\set SHOW_CONTEXT always
CALL event_store.import_events('wrong', 'kept', 2);
SELECT version, data FROM event_store.read_stream('kept');
SELECT last_line, events, remaining FROM event_store.imports WHERE name = 'kept';
UPDATE wrong SET data = '{}' WHERE line = 4;
CALL event_store.import_events('wrong', 'kept', 2);
SELECT version, data FROM event_store.read_stream('kept');
-- ids and versions: twice in a batch, then from another batch; the same lines once more are known
TRUNCATE wrong;
INSERT INTO wrong VALUES (1, 'twice', 1, 'A', '1', NULL, '00000000-0000-4000-8000-0000000a0001'),
	(2, 'twice-2', 1, 'A', '1', NULL, '00000000-0000-4000-8000-0000000a0002'), (3, 'twice', 2, 'A', '1', NULL, '00000000-0000-4000-8000-0000000a0001');
CALL event_store.import_events('wrong', 'twice');
CALL event_store.import_events('wrong', 'twice', 2);
UPDATE wrong SET event_id = '00000000-0000-4000-8000-0000000a0003' WHERE line = 3;
CALL event_store.import_events('wrong', 'twice', 2);
CALL event_store.import_events('wrong', 'under another name', 2);
CALL event_store.import_events('wrong', 'and another', 3);
SELECT count(*) FROM event_store.read_stream('twice');
UPDATE wrong SET version = 4, event_id = NULL WHERE line = 3;
SELECT event_store.forget_import('and another');
CALL event_store.import_events('wrong', 'and another', 2);
\set VERBOSITY terse

-- the store may not change under it: SET LOCAL ends with the first batch
SELECT event_store.create_store('elsewhere');
DO $$ DECLARE n bigint; BEGIN
	SET LOCAL search_path = elsewhere, public;
	CALL event_store.import_events('history.staged', 'local', 5, n);
END $$;
SELECT schema, name, events FROM event_store.imports WHERE name = 'local';
-- a plain DO block may call it, and it commits
SET client_min_messages = notice;
DO $$ DECLARE n bigint; BEGIN
	CALL event_store.import_events('history.staged', 'do', 5, n);
	RAISE NOTICE '% imported', n;
END $$;
SET client_min_messages = warning;
-- a temporary table that loses its rows at commit
CREATE TEMP TABLE fleeting (line bigint, stream text, type text, data jsonb) ON COMMIT DELETE ROWS;
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ DECLARE number bigint; BEGIN
	INSERT INTO fleeting SELECT n, 'fleeting', 'A', '{}' FROM generate_series(1, 5) n;
	CALL event_store.import_events('fleeting', 'fleeting', 2, number);
END $$;
\set VERBOSITY sqlstate
CALL fill();
\set VERBOSITY terse
SELECT last_line, events, remaining FROM event_store.imports WHERE name = 'fleeting';

-- rights: INSERT on the log and SELECT on the source; only the owner forgets
CREATE ROLE es_importer;
GRANT USAGE ON SCHEMA history TO es_importer;
GRANT SELECT ON raw TO es_importer;
SET ROLE es_importer;
CALL event_store.import_events('raw', 'mine');
SELECT count(*) > 0 AS sees FROM event_store.imports;
RESET ROLE;
SELECT event_store.grant_store('history', 'es_importer', 'writer');
SET ROLE es_importer;
CALL event_store.import_events('staged', 'mine');
SELECT count(*) > 0 AS sees FROM event_store.imports;
SELECT count(*) FROM event_store.import_progress;
RESET ROLE;
GRANT SELECT ON staged TO es_importer;
SET ROLE es_importer;
CALL event_store.import_events('staged', 'mine');
SELECT event_store.forget_import('mine');
SELECT DISTINCT schema FROM event_store.imports;
RESET ROLE;
BEGIN READ ONLY;
CALL event_store.import_events('staged', 'mine');
ROLLBACK;
SET search_path = public;
CALL event_store.import_events('history.staged');
SELECT event_store.forget_import('x');
SET search_path = history, public;

SELECT * FROM event_store.verify_store();
SELECT event_store.drop_store('elsewhere', 'elsewhere');
DROP TABLE staged, raw, bad1, bad2, bad3, bad4, wrong CASCADE;
DROP PROCEDURE fill;
SELECT event_store.drop_store('history', 'history');
SELECT count(*) FROM event_store.import_progress;
DROP OWNED BY es_importer;
DROP ROLE es_importer;
