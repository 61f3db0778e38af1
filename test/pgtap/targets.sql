-- reliability 61: what the owner may have made of a store's tables. Whatever is allowed gives the same answers and the same rows as
-- the tables that create_store makes, though an append then goes another way; whatever is not is refused, with nothing stored.
\ir lib/problem.sql
SELECT no_plan();

CREATE ROLE regress_es_targets;
GRANT CREATE ON DATABASE :DBNAME TO regress_es_targets;
GRANT pg_read_all_data TO regress_es_targets;
CREATE TABLE types (type text PRIMARY KEY);
CREATE TABLE audit (type text, version bigint);
GRANT ALL ON types, audit TO PUBLIC;

CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'TRIG1'; END $$;

SET ROLE regress_es_targets;

-- make a store of a kind: the commands are run with $S for its name
CREATE FUNCTION pg_temp.make(store text, commands text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM event_store.create_store(store);
	EXECUTE replace(commands, '$S', store);
END $$;

-- ---- the same history on every kind of table that is allowed

CREATE TEMP TABLE kinds (kind text PRIMARY KEY, commands text);
INSERT INTO kinds VALUES
	('plain', ''),
	('trigger', 'CREATE TRIGGER t AFTER INSERT ON $S.event_log FOR EACH ROW EXECUTE FUNCTION nothing()'),
	('before', 'CREATE TRIGGER t BEFORE INSERT ON $S.event_log FOR EACH ROW EXECUTE FUNCTION nothing()'),
	('statement', 'CREATE TRIGGER a AFTER INSERT ON $S.event_log REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION nothing()'),
	('constraint', 'CREATE CONSTRAINT TRIGGER t AFTER INSERT ON $S.event_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nothing()'),
	('disabled', 'CREATE TRIGGER t AFTER INSERT ON $S.event_log FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE $S.event_log DISABLE TRIGGER t'),
	('check', 'ALTER TABLE $S.event_log ADD CHECK (version > 0)'),
	('default', $$ALTER TABLE $S.event_log ALTER metadata SET DEFAULT '{"by": "default"}'$$),
	('policy', 'ALTER TABLE $S.event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON $S.event_log USING (true)'),
	('rule', 'CREATE RULE r AS ON INSERT TO $S.event_log DO ALSO INSERT INTO audit VALUES (NEW.event_type, NEW.version)'),
	('referenced', 'CREATE TABLE $S.seen (position bigint REFERENCES $S.event_log (position))'),
	('index', 'CREATE INDEX i ON $S.event_log (created_at, event_type)'),
	('indexes', 'CREATE INDEX i ON $S.event_log (event_type text_pattern_ops DESC NULLS LAST) INCLUDE (version); CREATE INDEX h ON $S.event_log USING hash (stream_id)'),
	('unique', 'CREATE UNIQUE INDEX i ON $S.event_log (position, version, created_at)'),
	('expression', 'CREATE INDEX i ON $S.event_log (lower(event_type))'),
	('partial', $$CREATE INDEX i ON $S.event_log (created_at) WHERE event_type = 'Paid'$$),
	('gin', 'CREATE INDEX i ON $S.event_log USING gin (data)'),
	('deferred', 'ALTER TABLE $S.event_log ADD UNIQUE (position, version) DEFERRABLE INITIALLY DEFERRED'),
	('streams', 'CREATE INDEX i ON $S.event_streams (category); CREATE UNIQUE INDEX u ON $S.event_streams (category, stream_name)'),
	('json', 'ALTER TABLE $S.event_log ALTER data TYPE json'),
	('json_trigger', 'ALTER TABLE $S.event_log ALTER data TYPE json; CREATE TRIGGER t BEFORE INSERT ON $S.event_log FOR EACH ROW EXECUTE FUNCTION nothing()'),
	('json_policy', 'ALTER TABLE $S.event_log ALTER data TYPE json; ALTER TABLE $S.event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON $S.event_log USING (true)'),
	('clustered', 'ALTER TABLE $S.event_log CLUSTER ON event_log_pkey; ALTER TABLE $S.event_log SET (fillfactor = 50)');

CREATE TEMP TABLE history (step serial, command text);
INSERT INTO history (command) VALUES
	($$SELECT event_store.append_event('order-1', 'Placed', '{"total": 10}', '{"by": "me"}', 'no_stream', '00000000-0000-4000-8000-000000000001',
		'00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b', '2020-02-02 02:02:02+00')$$),
	($$SELECT event_store.append('order-1', '[{"type": "Paid", "data": 1}, {"type": "Sent", "data": [2, {"x": null}], "metadata": {}, "event_id": "00000000-0000-4000-8000-000000000002"}]', 1)$$),
	($$SELECT event_store.append('order-2', ARRAY[ROW('Placed', '"text"', NULL, NULL, NULL, NULL, NULL), ROW('Paid', 'true', '{"k": [1]}', '00000000-0000-4000-8000-000000000003',
		'00000000-0000-4000-8000-00000000000c', NULL, '2020-01-01 00:00:00+00')]::event_store.new_event[])$$),
	-- refused
	($$SELECT event_store.append_event('order-1', 'A', expected => 2)$$),
	($$SELECT event_store.append_event('order-1', 'A', expected => 9)$$),
	($$SELECT event_store.append_event('order-1', 'A', expected => 'no_stream')$$),
	($$SELECT event_store.append_event('order-9', 'A', expected => 'exists')$$),
	($$SELECT event_store.append_event('order-3', 'A', event_id => '00000000-0000-4000-8000-000000000002')$$),
	($$SELECT event_store.append('order-3', '[{"type": "A", "data": 1}, {"type": "B", "data": 1, "event_id": "00000000-0000-4000-8000-000000000002"}, {"type": "C", "data": 1}]')$$),
	($$SELECT event_store.append('order-3', '[{"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000009"}, {"type": "A", "data": 1, "event_id": "00000000-0000-4000-8000-000000000009"}]')$$),
	($$SELECT event_store.append('order-3', '[{"type": "A", "data": 1}, {"type": "A"}]')$$),
	($$SELECT event_store.append_event('order-3', 'A', event_id => (SELECT event_id FROM event_store.read_stream('order-2', 1, 1)))$$),
	($$SELECT event_store.stream_version('order-3')$$),
	-- retried
	($$SELECT event_store.append('order-1', '[{"type": "Sent", "data": 0, "event_id": "00000000-0000-4000-8000-000000000002"}]', 2)$$),
	($$SELECT event_store.append('order-1', '[{"type": "Sent", "data": 0, "event_id": "00000000-0000-4000-8000-000000000002"}]', 3)$$),
	-- several in one statement, and what a savepoint undoes
	($$SELECT a, b FROM event_store.append_event('order-3', 'A', expected => 'no_stream') a, event_store.append_event('order-3', 'B', expected => 1) b$$),
	($$DO $d$ BEGIN PERFORM event_store.append_event('order-4', 'A'); PERFORM event_store.append_event('order-3', 'C', expected => 2); RAISE EXCEPTION 'undo'; END $d$ $$),
	($$SELECT event_store.append_event('order-3', 'C', expected => 2)$$),
	($$SELECT event_store.append_event('order-4', 'A', expected => 0)$$),
	-- more than one chunk, more than one block of positions
	($$SELECT event_store.append('many-1', (SELECT jsonb_agg(jsonb_build_object('type', 'N' || n % 3, 'data', n)) FROM generate_series(1, 700) n))$$),
	($$SELECT event_store.append('many-1', (SELECT jsonb_agg(jsonb_build_object('type', 'N', 'data', n)) FROM generate_series(1, 3) n), 700)$$),
	-- read
	($$SELECT string_agg(format('%s %s %s %s %s', version, type, data, metadata, correlation_id), ', ') FROM event_store.read_stream('order-1')$$),
	($$SELECT string_agg(version::text, ' ') FROM event_store.read_stream('order-1', direction => 'backward')$$),
	($$SELECT string_agg(version::text, ' ') FROM event_store.read_stream('many-1', 395, 210)$$),
	($$SELECT string_agg(version::text, ' ') FROM event_store.read_stream('many-1', 395, 210, 'backward')$$),
	($$SELECT string_agg(version::text, ' ') FROM event_store.read_stream('many-1', 702)$$),
	($$SELECT count(*) FROM event_store.read_stream('many-1', max_count => NULL)$$),
	($$SELECT count(*) FROM event_store.read_stream('order-9')$$),
	($$SELECT stream, version, type FROM event_store.event('00000000-0000-4000-8000-000000000003')$$),
	($$SELECT e.stream, e.version FROM event_store.read_stream('order-2', 1, 1) r, event_store.event(r.event_id) e$$),
	($$SELECT count(*) FROM event_store.event('00000000-0000-4000-8000-0000000000ff')$$),
	($$SELECT stream, category, status, version, last_position FROM event_store.stream_info('many-1')$$),
	-- delete
	($$SELECT event_store.delete_stream('order-4', 2)$$),
	($$SELECT event_store.delete_stream('order-4', 1)$$),
	($$SELECT event_store.append_event('order-4', 'B')$$),
	($$SELECT event_store.read_stream('order-4')$$),
	($$SELECT status, version FROM event_store.stream_info('order-4')$$),
	('SET CONSTRAINTS ALL IMMEDIATE'),
	-- by plain SQL nothing
	('INSERT INTO event_log SELECT * FROM event_log LIMIT 1'),
	('UPDATE event_log SET version = 7'),
	('DELETE FROM event_log'),
	('TRUNCATE event_log CASCADE');

-- what each step answers: its rows, or its SQLSTATE
CREATE FUNCTION pg_temp.answers(store text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	h record;
	r record;
	answer text;
BEGIN
	PERFORM set_config('search_path', store || ', public', true);
	FOR h IN SELECT * FROM history ORDER BY step LOOP
		BEGIN
			answer := '';
			IF h.command LIKE 'SELECT%' THEN
				FOR r IN EXECUTE h.command LOOP
					answer := answer || r::text;
				END LOOP;
			ELSE
				EXECUTE h.command;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			answer := SQLSTATE;
		END;
		RETURN NEXT format('%s: %s -> %s', h.step, h.command, answer);
	END LOOP;
END $$;

-- what lies in the tables, without the times and ids that cannot be the same
CREATE FUNCTION pg_temp.content(store text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', store || ', public', true);
	RETURN QUERY SELECT concat_ws(' ', position, stream_name, category, version, event_type, data, l.metadata, correlation_id, causation_id,
			CASE WHEN event_id::text LIKE '00000000%' THEN event_id::text ELSE 'made' END,
			CASE WHEN l.created_at < '2021-01-01' THEN l.created_at::text END, deleted_at IS NOT NULL)
		FROM event_log l JOIN event_streams USING (stream_id) ORDER BY position;
	RETURN QUERY SELECT concat_ws(' ', 'read_all', position, stream, version, type, data, metadata) FROM event_store.read_all(max_count => NULL);
	RETURN QUERY SELECT concat_ws(' ', 'backward', position) FROM event_store.read_all(direction => 'backward', max_count => 150);
	RETURN QUERY SELECT concat_ws(' ', 'category', position) FROM event_store.read_category('order', types => '{Paid,A}');
	RETURN QUERY SELECT concat_ws(' ', 'head', event_store.head(), event_store.horizon());
END $$;

SELECT lives_ok(format('SELECT pg_temp.make(%L, %L)', kind || '_' || level, commands), format('a store of kind %s at %s', kind, level))
FROM kinds, unnest('{rc,rr,ser}'::text[]) level;
CREATE TEMP TABLE answers (kind text, level text, answer text);
SET default_transaction_isolation = 'read committed';
INSERT INTO answers SELECT kind, 'rc', pg_temp.answers(kind || '_rc') FROM kinds;
SET default_transaction_isolation = 'repeatable read';
INSERT INTO answers SELECT kind, 'rr', pg_temp.answers(kind || '_rr') FROM kinds;
SET default_transaction_isolation = 'serializable';
INSERT INTO answers SELECT kind, 'ser', pg_temp.answers(kind || '_ser') FROM kinds;
RESET default_transaction_isolation;

-- the answers on plain tables, looked through by hand
SELECT is(answer, step || ': ' || command || ' -> ' || expected, 'plain: step ' || step)
FROM history JOIN (VALUES
	(1, '("(1,1,1,1)")'), (2, '("(2,3,2,3)")'), (3, '("(1,2,4,5)")'), (4, 'VE001'), (5, 'VE001'), (6, 'VE002'), (7, 'VE003'), (8, 'VE005'), (9, 'VE005'),
	(10, 'VE005'), (11, '22023'), (12, '22023'), (13, '(0)'), (14, '("(3,3,3,3)")'), (15, 'VE005'), (17, 'P0001'), (27, '(703)'), (28, '(0)'),
	(29, '(order-2,2,Paid)'), (30, '(order-2,1)'), (31, '(0)'), (33, 'VE001'), (34, '(1)'), (35, 'VE004'), (36, 'VE004'), (37, '(deleted,1)'),
	(39, '0A000'), (40, '0A000'), (41, '0A000'), (42, '0A000')) v(step, expected) USING (step)
JOIN answers ON kind = 'plain' AND level = 'rc' AND answer LIKE step || ': %';

SELECT is_empty(
	format('SELECT answer FROM answers WHERE kind = %L AND level = %L EXCEPT SELECT answer FROM answers WHERE kind = %1$L AND level = %L', kind, level, 'rc'),
	format('the kind %s answers at %s as at read committed', kind, level))
FROM kinds, unnest('{rr,ser}'::text[]) level;
SELECT is_empty(
	format('SELECT answer FROM answers WHERE kind = %L AND level = %L EXCEPT SELECT answer FROM answers WHERE kind = %L AND level = %2$L', kind, 'rc', 'plain'),
	format('the kind %s answers as plain tables do', kind))
FROM kinds WHERE kind <> 'plain';
CREATE TEMP TABLE content AS SELECT kind, level, pg_temp.content(kind || '_' || level) AS line FROM kinds, unnest('{rc,rr,ser}'::text[]) level;
SELECT cmp_ok((SELECT count(*)::int FROM content WHERE kind = 'plain' AND level = 'rc'), '>', 1500, 'there is something to compare');
SELECT is_empty(
	format('(SELECT line FROM content WHERE kind = %1$L AND level = %2$L EXCEPT ALL SELECT line FROM content WHERE kind = %3$L AND level = %4$L)
		UNION ALL (SELECT line FROM content WHERE kind = %3$L AND level = %4$L EXCEPT ALL SELECT line FROM content WHERE kind = %1$L AND level = %2$L)', kind, level, 'plain', 'rc'),
	format('the kind %s holds the same at %s', kind, level))
FROM kinds, unnest('{rc,rr,ser}'::text[]) level WHERE (kind, level) <> ('plain', 'rc');

-- every index holds every event, whoever has filled it
SET enable_seqscan = off;
SELECT is(
	(SELECT string_agg(n::text, ' ') FROM (
		SELECT count(*) AS n FROM index_rc.event_log WHERE created_at > '2000-01-01'
		UNION ALL SELECT count(*) FROM indexes_rc.event_log WHERE event_type ~>=~ ''
		UNION ALL SELECT count(*) FROM expression_rc.event_log WHERE lower(event_type) = 'paid'
		UNION ALL SELECT count(*) FROM partial_rc.event_log WHERE event_type = 'Paid' AND created_at > '2000-01-01'
		UNION ALL SELECT count(*) FROM gin_rc.event_log WHERE data @> '{"total": 10}') x),
	'712 712 2 2 1', 'the indexes of users are filled');
RESET enable_seqscan;
DO $$
DECLARE
	store text;
BEGIN
	FOR store IN SELECT kind || '_' || level FROM kinds, unnest('{rc,rr,ser}'::text[]) level LOOP
		EXECUTE format('DROP SCHEMA %I CASCADE', store);
	END LOOP;
END $$;

-- ---- constraints, policies and triggers have their say, in both ways of writing alike

-- what a command ends with on a new store with some change, and what is stored then; nothing of it stays
CREATE FUNCTION pg_temp.attempt(commands text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text;
	stored text;
BEGIN
	BEGIN
		PERFORM event_store.create_store('attempt');
		PERFORM set_config('search_path', 'attempt, public', true);
		PERFORM event_store.append_event('first', 'First', metadata => '{}', correlation_id => '00000000-0000-4000-8000-00000000000a');
		EXECUTE commands;
		state := pg_temp.state(command);
		IF to_regclass('attempt.event_log') IS NOT NULL AND pg_temp.state('SELECT event_type, version FROM event_log') = '00000' THEN
			EXECUTE $q$SELECT string_agg(event_type || version, ' ' ORDER BY position) FROM event_log$q$ INTO stored;
		END IF;
		RAISE EXCEPTION 'undo' USING ERRCODE = 'TEST1';
	EXCEPTION WHEN SQLSTATE 'TEST1' THEN
		NULL;
	END;
	RETURN concat_ws(': ', replace(state, '00000', 'ok'), stored);
END $$;

INSERT INTO types VALUES ('First'), ('Known');
SELECT is(pg_temp.attempt(commands, command), answer, commands || ': ' || command) FROM (VALUES
	($$ALTER TABLE event_log ADD CHECK (event_type <> 'Forbidden')$$, $$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "Forbidden", "data": 1}]')$$, '23514: First1'),
	($$ALTER TABLE event_log ADD CHECK (event_type <> 'Forbidden')$$, $$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]')$$, 'ok: First1 A1 B2'),
	($$ALTER TABLE event_log ADD CHECK (event_type <> 'First') NOT VALID$$, $$SELECT event_store.append_event('s', 'First')$$, '23514: First1'),
	($$ALTER TABLE event_log ALTER correlation_id SET NOT NULL$$, $$SELECT event_store.append_event('s', 'A')$$, '23502: First1'),
	($$ALTER TABLE event_log ALTER metadata SET NOT NULL$$, $$SELECT event_store.append('s', '[{"type": "A", "data": 1, "metadata": {}}, {"type": "B", "data": 1}]')$$, '23502: First1'),
	($$ALTER TABLE event_log ALTER metadata SET NOT NULL$$, $$SELECT event_store.append_event('s', 'A', metadata => '{}')$$, 'ok: First1 A1'),
	($$ALTER TABLE event_log ADD FOREIGN KEY (event_type) REFERENCES types$$, $$SELECT event_store.append_event('s', 'Unknown')$$, '23503: First1'),
	($$ALTER TABLE event_log ADD FOREIGN KEY (event_type) REFERENCES types$$, $$SELECT event_store.append_event('s', 'Known')$$, 'ok: First1 Known1'),
	($$CREATE UNIQUE INDEX ON event_log (correlation_id)$$, $$SELECT event_store.append_event('s', 'A', correlation_id => '00000000-0000-4000-8000-00000000000a')$$, '23505: First1'),
	($$CREATE UNIQUE INDEX ON event_log ((correlation_id::text))$$, $$SELECT event_store.append_event('s', 'A', correlation_id => '00000000-0000-4000-8000-00000000000a')$$, '23505: First1'),
	($$ALTER TABLE event_log ADD EXCLUDE (correlation_id WITH =)$$, $$SELECT event_store.append_event('s', 'A', correlation_id => '00000000-0000-4000-8000-00000000000a')$$, '23P01: First1'),
	-- indexes that are like ours, but for one thing
	($$CREATE UNIQUE INDEX ON event_log (stream_id, version DESC)$$, $$SELECT event_store.append_event('first', 'A'), event_store.append_event('first', 'B'), event_store.append_event('first', 'C')$$, 'ok: First1 A2 B3 C4'),
	($$CREATE UNIQUE INDEX ON event_log (stream_id DESC, version DESC)$$, $$SELECT event_store.append_event('first', 'A'), event_store.append_event('first', 'B'), event_store.append_event('first', 'C')$$, 'ok: First1 A2 B3 C4'),
	($$CREATE UNIQUE INDEX ON event_log (stream_id, version DESC)$$,
		$$DO $d$ BEGIN PERFORM event_store.append('first', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]');
			ASSERT (SELECT array_agg(version) FROM event_store.read_stream('first')) = '{1,2,3}'; END $d$ $$, 'ok: First1 A2 B3'),
	($$CREATE UNIQUE INDEX ON event_log (event_id) WHERE event_type = 'X'$$, $$DO $d$ BEGIN
		PERFORM event_store.append_event('s', 'A', event_id => '00000000-0000-4000-8000-000000000001');
		DROP INDEX event_log_event_id_key; END $d$; SELECT event_store.append_event('s', 'B')$$, '55000: First1'),
	($$CREATE UNIQUE INDEX mine ON event_log (event_id) WHERE event_type = 'X'; SET LOCAL enable_seqscan = off;$$,
		$$DO $d$ BEGIN
			PERFORM event_store.append_event('s', 'A', event_id => '00000000-0000-4000-8000-000000000001'), event_store.append_event('s', 'X');
			ASSERT (SELECT count(*) FROM event_log WHERE event_type = 'X') = 1, 'missing from the index';
		END $d$ $$, 'ok: First1 A1 X2'),
	-- policies
	($$ALTER TABLE event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY$$, $$SELECT event_store.append_event('s', 'A')$$, '42501'),
	($$ALTER TABLE event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY r ON event_log FOR SELECT USING (true); CREATE POLICY w ON event_log FOR INSERT WITH CHECK (event_type = 'Allowed')$$,
		$$SELECT event_store.append('s', '[{"type": "Allowed", "data": 1}, {"type": "A", "data": 1}]')$$, '42501: First1'),
	($$ALTER TABLE event_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY r ON event_log FOR SELECT USING (true); CREATE POLICY w ON event_log FOR INSERT WITH CHECK (event_type = 'Allowed')$$,
		$$SELECT event_store.append_event('s', 'Allowed')$$, 'ok: First1 Allowed1'),
	-- triggers
	('CREATE TRIGGER t AFTER INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION refuse()', $$SELECT event_store.append_event('s', 'A')$$, 'TRIG1: First1'),
	('CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH STATEMENT EXECUTE FUNCTION refuse()', $$SELECT event_store.append_event('s', 'A')$$, 'TRIG1: First1'),
	('CREATE TRIGGER t AFTER INSERT ON event_log FOR EACH ROW WHEN (NEW.version = 2) EXECUTE FUNCTION refuse()', $$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]')$$, 'TRIG1: First1'),
	('CREATE CONSTRAINT TRIGGER t AFTER INSERT ON event_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()',
		$$DO $d$ BEGIN PERFORM event_store.append_event('s', 'A'); SET CONSTRAINTS ALL IMMEDIATE; END $d$ $$, 'TRIG1: First1'),
	('CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION suppress()', $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	('CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW WHEN (NEW.version = 2) EXECUTE FUNCTION suppress()', $$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]')$$, '0A000: First1'),
	('CREATE RULE r AS ON INSERT TO event_log DO INSTEAD NOTHING', $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	('CREATE RULE r AS ON INSERT TO event_log WHERE NEW.version = 2 DO INSTEAD NOTHING', $$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]')$$, '0A000: First1'),
	('CREATE RULE r AS ON INSERT TO event_log DO INSTEAD INSERT INTO audit VALUES (NEW.event_type, NEW.version)', $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	-- a trigger may change what the event says, not where it stands
	($$CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.data := '{"changed": true}'; NEW.event_type := 'Changed'; RETURN NEW; END $f$;
		CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION change()$$,
		$$DO $d$ BEGIN PERFORM event_store.append_event('s', 'A'); ASSERT (SELECT data FROM event_store.read_stream('s')) = '{"changed": true}'; END $d$ $$, 'ok: First1 Changed1'),
	($$CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.version := NEW.version + 1; RETURN NEW; END $f$;
		CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION change()$$, $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	($$CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.position := NEW.position + 1; RETURN NEW; END $f$;
		CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION change()$$, $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	($$CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.stream_id := 1; NEW.version := 2; RETURN NEW; END $f$;
		CREATE TRIGGER t BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION change()$$, $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	-- a trigger may append to another stream, and its appends have their guard too
	($$CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.event_type = 'A' THEN PERFORM event_store.append_event('t', 'More'); END IF; RETURN NEW; END $f$;
		CREATE TRIGGER t AFTER INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION more()$$,
		$$SELECT event_store.append('s', '[{"type": "A", "data": 1}, {"type": "A", "data": 1}]')$$, 'ok: First1 A1 A2 More1 More2'),
	-- nothing else gets in on the statement of an append
	($$CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF pg_trigger_depth() = 1 THEN INSERT INTO event_log SELECT 77, 1, 77, now(),
			'00000000-0000-4000-8000-000000000077', NULL, NULL, 'Stolen', '{}'; END IF; RETURN NEW; END $f$;
		CREATE TRIGGER a BEFORE INSERT ON event_log FOR EACH STATEMENT EXECUTE FUNCTION steal()$$, $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1'),
	($$CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF pg_trigger_depth() = 1 THEN INSERT INTO event_log SELECT 77, 1, 77, now(),
			'00000000-0000-4000-8000-000000000077', NULL, NULL, 'Stolen', '{}'; END IF; RETURN NEW; END $f$;
		CREATE TRIGGER z BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION steal()$$, $$SELECT event_store.append_event('s', 'A')$$, '0A000: First1')
) v(commands, command, answer);

-- ---- row-level security: readers see their rows, writers the true version of a stream

RESET ROLE;
CREATE ROLE regress_es_limited;
SET ROLE regress_es_targets;
SELECT pg_temp.make('limited', $$ALTER TABLE $S.event_log ENABLE ROW LEVEL SECURITY;
	CREATE POLICY r ON $S.event_log FOR SELECT USING (event_type <> 'Secret'); CREATE POLICY w ON $S.event_log FOR INSERT WITH CHECK (true)$$);
SELECT event_store.grant_store('limited', 'regress_es_limited', 'writer');
SET search_path = limited, public;
DO $$ BEGIN
	PERFORM event_store.append('order-1', '[{"type": "A", "data": 1}, {"type": "Secret", "data": 1, "event_id": "00000000-0000-4000-8000-000000000001"}, {"type": "B", "data": 1}, {"type": "Secret", "data": 1}]');
END $$;
CREATE FUNCTION pg_temp.limited(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	PERFORM set_config('role', 'regress_es_limited', true);
	BEGIN
		EXECUTE command INTO answer;
	EXCEPTION WHEN OTHERS THEN
		answer := SQLSTATE;
	END;
	PERFORM set_config('role', 'regress_es_targets', true);
	RETURN answer;
END $$;
SELECT is(pg_temp.limited(command), answer, 'limited by a policy: ' || command) FROM (VALUES
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_stream('order-1')$$, '1A 3B'),
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_stream('order-1', 2, 1)$$, '3B'),
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_stream('order-1', 3, 5, 'backward')$$, '3B 1A'),
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_all()$$, '1A 3B'),
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_all(types => '{Secret}')$$, NULL),
	($$SELECT string_agg(version || type, ' ') FROM event_store.read_category('order')$$, '1A 3B'),
	($$SELECT string_agg(version || type, ' ') FROM event_store.poll(0)$$, '1A 3B'),
	($$SELECT count(*) FROM event_store.event('00000000-0000-4000-8000-000000000001')$$, '0'),
	($$SELECT count(*) FROM event_store.read_stream('order-1') r, event_store.event(r.event_id)$$, '2')) v(command, answer);
SELECT is(pg_temp.limited($$SELECT event_store.append_event('order-1', 'C', expected => 3)$$), 'VE001', 'what a policy hides has its version all the same');
SELECT is(pg_temp.limited($$SELECT (a).first_version FROM event_store.append_event('order-1', 'C', expected => 4) a$$), '5', 'and is counted on');
SELECT is(pg_temp.limited($$SELECT event_store.append_event('order-2', 'C', event_id => '00000000-0000-4000-8000-000000000001')$$), 'VE005', 'an id that a policy hides is taken');
DO $$ BEGIN PERFORM event_store.append_event('order-1', 'Secret'); END $$;
SET default_transaction_isolation = 'repeatable read';
SELECT is(pg_temp.limited($$SELECT (a).first_version FROM event_store.append_event('order-1', 'D') a$$), '7', 'a last version that a policy hides is no concurrent change at repeatable read');
RESET default_transaction_isolation;
SET search_path = public;
DROP SCHEMA limited CASCADE;

-- ---- a partitioned log

SELECT pg_temp.make('parts', $$
	ALTER TABLE $S.event_log RENAME TO old_log;
	ALTER SEQUENCE $S.event_position OWNED BY NONE;
	CREATE TABLE $S.event_log (LIKE $S.old_log) PARTITION BY RANGE (position);
	CREATE UNIQUE INDEX ON $S.event_log (position);
	CREATE INDEX ON $S.event_log (stream_id, version);
	CREATE INDEX ON $S.event_log (event_id);
	CREATE TABLE $S.part1 PARTITION OF $S.event_log FOR VALUES FROM (0) TO (10);
	CREATE TABLE $S.part2 PARTITION OF $S.event_log FOR VALUES FROM (10) TO (400);
	CREATE TABLE $S.part3 PARTITION OF $S.event_log FOR VALUES FROM (400) TO (MAXVALUE);
	DROP TABLE $S.old_log;
	SELECT event_store.attach_store('$S')$$);
SELECT pg_temp.make('whole', '');
CREATE TEMP TABLE partitioned AS SELECT store, pg_temp.answers(store) AS answer FROM unnest('{whole,parts}'::text[]) store;
SELECT is_empty($$SELECT answer FROM partitioned WHERE store = 'parts' EXCEPT SELECT answer FROM partitioned WHERE store = 'whole'$$, 'a partitioned log answers as a plain one');
SELECT results_eq($$SELECT * FROM pg_temp.content('parts')$$, $$SELECT * FROM pg_temp.content('whole')$$, 'and holds the same');
SELECT is((SELECT count(DISTINCT tableoid)::int FROM parts.event_log), 3, 'in all its partitions');
SET search_path = parts, public;
SELECT is(pg_temp.state('DELETE FROM parts.part3'), '0A000', 'a DELETE from a partition is refused like one from the log');
SELECT event_store.truncate_stream('many-1', 500);
CALL event_store.scavenge_store(100);
SELECT results_eq($$SELECT count(*)::int, min(version) FROM event_store.read_stream('many-1', max_count => NULL)$$, $$VALUES (204, 500::bigint)$$, 'a stream is truncated');
SELECT is((SELECT count(*)::int FROM event_log WHERE stream_id = (SELECT stream_id FROM event_streams WHERE stream_name = 'many-1')), 204, 'events go away from all partitions');
RESET ROLE;
SET event_store.enable_hard_delete = on;
SET ROLE regress_es_targets;
SELECT is(event_store.delete_stream('many-1', 703, true), 703::bigint, 'and so does a whole stream');
SELECT is((SELECT string_agg(event_type, ' ') FROM event_log WHERE stream_id = (SELECT stream_id FROM event_streams WHERE stream_name = 'many-1')), '$stream-deleted', 'but for its last event');
SELECT is_empty($$SELECT * FROM event_store.verify_store() WHERE violations > 0 AND invariant <> 'the durable mark follows the horizon'$$, 'which leaves it sound');
SELECT is(pg_temp.state('DELETE FROM parts.part3'), '0A000', 'with its guard');
SET search_path = public;
DROP SCHEMA parts, whole CASCADE;

-- the same with data kept as JSON text, and as it is written
SELECT pg_temp.make('parts', $$
	ALTER TABLE $S.event_log RENAME TO old_log;
	ALTER TABLE $S.old_log ALTER data TYPE json;
	ALTER SEQUENCE $S.event_position OWNED BY NONE;
	CREATE TABLE $S.event_log (LIKE $S.old_log) PARTITION BY RANGE (position);
	CREATE TABLE $S.part1 PARTITION OF $S.event_log DEFAULT;
	DROP TABLE $S.old_log;
	SELECT event_store.attach_store('$S')$$);
SET search_path = parts, public;
DO $$ BEGIN PERFORM event_store.append('order-1', '[{"type": "Placed", "data": {"b" : 1.0, "a":2}}]'); END $$;
SELECT is((SELECT data::text FROM event_store.read_all_as(NULL::json)), '{"b" : 1.0, "a":2}', 'a partitioned log keeps JSON text');
SELECT is((SELECT data::text FROM event_store.read_stream('order-1')), '{"a": 2, "b": 1.0}', 'and gives it as jsonb');
SET search_path = public;
DROP SCHEMA parts CASCADE;

-- ---- what is refused

RESET ROLE;
CREATE FOREIGN DATA WRAPPER regress_es_wrapper;
CREATE SERVER regress_es_server FOREIGN DATA WRAPPER regress_es_wrapper;
GRANT USAGE ON FOREIGN SERVER regress_es_server TO regress_es_targets;
SET ROLE regress_es_targets;

CREATE TEMP TABLE broken (n serial, commands text, state text);
INSERT INTO broken (commands, state) VALUES
	('ALTER TABLE event_log RENAME TO real_log; CREATE VIEW event_log AS SELECT * FROM real_log', '0A000'),
	('ALTER TABLE event_log RENAME TO real_log; CREATE VIEW event_log AS SELECT * FROM real_log; CREATE RULE r AS ON INSERT TO event_log DO INSTEAD INSERT INTO real_log VALUES (NEW.*)', '0A000'),
	('ALTER TABLE event_log RENAME TO real_log; CREATE MATERIALIZED VIEW event_log AS SELECT * FROM real_log', '0A000'),
	('ALTER TABLE event_log RENAME TO real_log; CREATE FOREIGN TABLE event_log (position bigint, stream_id bigint, version bigint, created_at timestamptz, event_id uuid,
		correlation_id uuid, causation_id uuid, event_type text, data jsonb, metadata jsonb) SERVER regress_es_server', '0A000'),
	('ALTER TABLE event_streams RENAME TO real_streams; CREATE VIEW event_streams AS SELECT * FROM real_streams', '55000'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_pkey', '55000'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_position_key', '55000'),
	('DROP INDEX event_log_event_id_key', '55000'),
	('DROP INDEX event_log_event_id_key; CREATE UNIQUE INDEX ON event_log (event_id)', '55000'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_pkey; CREATE INDEX ON event_log (stream_id, version)', '55000'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_pkey; CREATE UNIQUE INDEX ON event_log (stream_id, version DESC)', '55000'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_position_key; CREATE UNIQUE INDEX ON event_log (position DESC)', '55000'),
	('ALTER TABLE event_streams DROP CONSTRAINT event_streams_pkey', '55000'),
	('ALTER TABLE event_streams DROP CONSTRAINT event_streams_stream_name_key', '55000'),
	('ALTER TABLE event_log DROP COLUMN metadata', '55000'),
	('ALTER TABLE event_log DROP COLUMN stream_id CASCADE', '55000'),
	('ALTER TABLE event_log DROP COLUMN metadata; ALTER TABLE event_log ADD COLUMN metadata jsonb', '55000'),
	('ALTER TABLE event_log RENAME COLUMN data TO payload', '55000'),
	('ALTER TABLE event_log ALTER COLUMN data TYPE text', '55000'),
	('ALTER TABLE event_log ALTER COLUMN version TYPE integer', '55000'),
	('ALTER TABLE event_log ALTER COLUMN event_type TYPE varchar', '55000'),
	('ALTER TABLE event_log ADD COLUMN more text', '55000'),
	($$ALTER TABLE event_log ADD COLUMN more text NOT NULL DEFAULT 'x'$$, '55000'),
	('ALTER TABLE event_log ADD COLUMN more text GENERATED ALWAYS AS (lower(event_type)) STORED', '55000'),
	('ALTER TABLE event_streams ADD COLUMN more text', '55000'),
	('ALTER TABLE event_streams DROP COLUMN metadata', '55000'),
	('ALTER TABLE event_streams ALTER COLUMN stream_name TYPE text COLLATE "POSIX"', '55000'),
	('ALTER TABLE event_log ALTER COLUMN event_type TYPE text COLLATE "POSIX"', '55000'),
	('ALTER TABLE event_mark ADD COLUMN more text', 'VE006'),
	('DROP TABLE event_mark', 'VE006'),
	-- the session has looked at the row of event_mark before, so let it look again
	('DELETE FROM event_mark; ALTER TABLE event_log SET (fillfactor = 100)', 'VE006'),
	('UPDATE event_mark SET store_number = store_number # 1; ALTER TABLE event_log SET (fillfactor = 100)', 'VE006'),
	('UPDATE event_mark SET layout = 99; ALTER TABLE event_log SET (fillfactor = 100)', '55000'),
	('ALTER SEQUENCE event_position OWNED BY NONE; DROP SEQUENCE event_position', 'VE006'),
	('DROP TABLE event_streams', 'VE006');
SELECT is((SELECT string_agg(format('%s -> %s', command, answer), '; ') FROM unnest(ARRAY[
		$$SELECT event_store.append_event('s', 'A')$$,
		$$SELECT event_store.append('first', '[{"type": "A", "data": 1}, {"type": "B", "data": 1}]', 1)$$,
		$$SELECT event_store.read_all()$$,
		$$SELECT event_store.read_stream('first')$$,
		$$SELECT event_store.delete_stream('first')$$]) command, pg_temp.attempt(commands, command) answer
	WHERE answer !~ format('^%s(: First1)?$', state)), NULL, format('%s for every call: %s', state, commands))
FROM broken ORDER BY n;
SELECT is(pg_temp.attempt(commands, $$SELECT event_store.append_event('first', 'A', expected => 1)$$), 'ok: First1 A2', 'undone, the store is sound again: ' || commands) FROM (VALUES
	('ALTER TABLE event_log RENAME COLUMN data TO payload; ALTER TABLE event_log RENAME COLUMN payload TO data'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_pkey; ALTER TABLE event_log ADD PRIMARY KEY (stream_id, version)'),
	('ALTER TABLE event_log DROP CONSTRAINT event_log_position_key; CREATE UNIQUE INDEX other_name ON event_log (position)'),
	('CREATE TRIGGER t AFTER INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION refuse(); DROP TRIGGER t ON event_log'),
	('ALTER SEQUENCE event_position INCREMENT 1'),
	('ALTER SEQUENCE event_position INCREMENT 7 RESTART 1')) v(commands);
SELECT matches((SELECT document->>'defect' FROM pg_temp.problem($$
	DO $d$ BEGIN
		PERFORM event_store.create_store('attempt'), set_config('search_path', 'attempt', true);
		ALTER TABLE attempt.event_log DROP COLUMN data;
		PERFORM event_store.append_event('s', 'A');
	END $d$ $$)), 'data', 'the error says what is wrong');

-- ---- columns that came and went, and indexes of all kinds on event_streams
SELECT is(pg_temp.attempt(commands, $$SELECT event_store.append_event('second', 'A', metadata => '{}'), event_store.append('first', '[{"type": "B", "data": 1}, {"type": "C", "data": 2}]', 1),
	event_store.delete_stream('second')$$), answer, commands) FROM (VALUES
	($$DO $d$ BEGIN
		FOR i IN 1 .. 40 LOOP
			EXECUTE format('ALTER TABLE event_log ADD COLUMN x%1$s text; ALTER TABLE event_log DROP COLUMN x%1$s', i);
		END LOOP; END $d$ $$, 'ok: First1 A1 B2 C3'),
	($$DO $d$ BEGIN
		FOR i IN 1 .. 40 LOOP
			EXECUTE format('ALTER TABLE event_streams ADD COLUMN x%1$s text; ALTER TABLE event_streams DROP COLUMN x%1$s', i);
		END LOOP; END $d$ $$, 'ok: First1 A1 B2 C3'),
	('CREATE INDEX ON event_streams (created_at)', 'ok: First1 A1 B2 C3'),
	('CREATE INDEX ON event_streams (lower(stream_name))', 'ok: First1 A1 B2 C3'),
	('CREATE INDEX ON event_streams (category) WHERE deleted_at IS NOT NULL', 'ok: First1 A1 B2 C3'),
	('CREATE INDEX ON event_streams USING gin (metadata)', 'ok: First1 A1 B2 C3'),
	('CREATE INDEX ON event_streams USING brin (deleted_at)', 'ok: First1 A1 B2 C3'),
	('ALTER TABLE event_streams ADD EXCLUDE (stream_name WITH =)', 'ok: First1 A1 B2 C3'),
	('CREATE TABLE about (stream_id bigint REFERENCES event_streams); INSERT INTO about SELECT stream_id FROM event_streams', 'ok: First1 A1 B2 C3'),
	($$ALTER TABLE event_streams ADD EXCLUDE ((length(category) > 0) WITH =)$$, '23P01: First1'),
	($$CREATE UNIQUE INDEX ON event_streams (left(stream_name, 1)); DO $d$ BEGIN PERFORM event_store.append_event('sec', 'S'); END $d$ $$, '23505: First1 S1'),
	('ALTER TABLE event_streams ADD UNIQUE (category, stream_name) DEFERRABLE', '55000: First1'),
	('ALTER TABLE event_streams ADD CHECK (stream_id > 0)', '55000: First1'),
	('CREATE TRIGGER t BEFORE UPDATE ON event_streams FOR EACH ROW EXECUTE FUNCTION nothing()', '55000: First1')) v(commands, answer);
-- an index that holds what it should not, or not what it should, gives wrong answers
SELECT is(pg_temp.attempt('CREATE INDEX ON event_streams (category) WHERE deleted_at IS NOT NULL; CREATE INDEX ON event_streams (lower(stream_name)); SET LOCAL enable_seqscan = off', $$DO $d$ BEGIN
	PERFORM event_store.append_event(n, 'A') FROM unnest('{ONE,TWO,THREE}'::text[]) n;
	PERFORM event_store.delete_stream('TWO');
	ASSERT (SELECT count(*) FROM event_streams WHERE deleted_at IS NOT NULL) = 1;
	ASSERT (SELECT count(*) FROM event_streams WHERE lower(stream_name) IN ('one', 'two', 'three')) = 3;
END $d$ $$), 'ok: First1 A1 A1 A1', 'indexes of users on event_streams answer right');

RESET ROLE;
DROP OWNED BY regress_es_targets CASCADE;
DROP SERVER regress_es_server;
DROP FOREIGN DATA WRAPPER regress_es_wrapper;
DROP ROLE regress_es_targets, regress_es_limited;
SELECT * FROM finish();
