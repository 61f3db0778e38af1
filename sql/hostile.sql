/* hostile and careless owners of a store: nothing of theirs runs as somebody else, nothing crashes */
\set VERBOSITY terse
CREATE ROLE regress_es_mallory;
CREATE SCHEMA mine AUTHORIZATION regress_es_mallory;
SET ROLE regress_es_mallory;
SELECT event_store.create_store('mine');
SET search_path = mine;
SELECT last_position FROM event_store.append_event('s', 'A');

-- a function in an index, which the server would evaluate for whoever plans with the table
CREATE FUNCTION mine.spy(i integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE WARNING 'runs as %', current_user; RETURN i; END $$;
CREATE INDEX spying ON mine.event_log ((mine.spy(1)), position);
RESET ROLE;
SELECT schema FROM event_store.stores;
SELECT event_store.store_number('mine'::regnamespace) IS NOT NULL AS known;
SELECT event_store.current_store();
-- the owner's own append evaluates it, as any INSERT does, as the owner
SET ROLE regress_es_mallory;
SELECT last_position FROM event_store.append_event('s', 'B');
DROP INDEX spying;

-- another predicate than ours is not taken for ours
ALTER TABLE event_log RENAME TO x;
ALTER TABLE x RENAME TO event_log;
DROP INDEX event_log_event_id_key;
CREATE UNIQUE INDEX event_log_event_id_key ON event_log (event_id) WHERE position > 0;
SELECT event_store.append_event('s', 'C');
DROP INDEX event_log_event_id_key;
DO $$
DECLARE
	prefix text := (SELECT left(event_id::text, 18) FROM mine.event_log LIMIT 1);
BEGIN
	EXECUTE format('CREATE UNIQUE INDEX event_log_event_id_key ON mine.event_log (event_id) WHERE event_id < %L OR event_id > %L',
		prefix || '-8000-000000000000', prefix || '-bfff-ffffffffffff');
END $$;
SELECT last_position FROM event_store.append_event('s', 'C');

-- tables altered by hand
CREATE INDEX spying ON event_streams ((mine.spy(1)), stream_name);
RESET ROLE;
SELECT schema FROM event_store.stores;
SELECT count(*) FROM event_store.read_stream('s');
SET ROLE regress_es_mallory;
SELECT event_store.append_event('t', 'A');
DROP INDEX spying;
ALTER TABLE event_streams ADD COLUMN a text, ADD COLUMN b text;
SELECT event_store.append_event('t', 'A');
ALTER TABLE event_streams DROP COLUMN a, DROP COLUMN b;
SELECT event_store.append_event('t', 'A');
RESET ROLE;
DROP SCHEMA mine CASCADE;
CREATE SCHEMA mine AUTHORIZATION regress_es_mallory;
SET ROLE regress_es_mallory;
SELECT event_store.create_store('mine');
ALTER TABLE event_log ADD COLUMN a text;
SELECT event_store.append_event('t', 'A');
ALTER TABLE event_log DROP COLUMN a;
SELECT last_position FROM event_store.append_event('t', 'A', '1', '{"m": 1}');
SELECT version, type, data, metadata FROM event_store.read_stream('t');
ALTER TABLE event_log ALTER COLUMN correlation_id SET NOT NULL;
SELECT event_store.append_event('t', 'B');
ALTER TABLE event_log ALTER COLUMN correlation_id DROP NOT NULL;
ALTER TABLE event_log SET UNLOGGED;
SELECT event_store.append_event('t', 'B');
ALTER TABLE event_log SET LOGGED;
CREATE INDEX ON event_mark (position);
SELECT event_store.read_all();
DROP INDEX event_mark_position_idx;
ALTER TABLE event_log DROP CONSTRAINT event_log_position_key;
SELECT event_store.append_event('t', 'B');
ALTER TABLE event_log ADD UNIQUE (position);
SELECT last_version FROM event_store.append_event('t', 'B');

-- a trigger may change what an event says, not where it stands
CREATE FUNCTION mine.move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.position := NEW.position + 1000; RETURN NEW; END $$;
CREATE TRIGGER move BEFORE INSERT ON event_log FOR EACH ROW EXECUTE FUNCTION mine.move();
SELECT event_store.append_event('t', 'C');
CREATE OR REPLACE FUNCTION mine.move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.version := NEW.version + 1; RETURN NEW; END $$;
SELECT event_store.append_event('t', 'C');
CREATE OR REPLACE FUNCTION mine.move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.data := '"changed"'; RETURN NEW; END $$;
SELECT last_version FROM event_store.append_event('t', 'C');
SELECT version, data FROM event_store.read_stream('t', 3);

-- rows hidden by row-level security are no reason to fail at a fixed snapshot
DROP TRIGGER move ON event_log;
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE event_log FORCE ROW LEVEL SECURITY;
CREATE POLICY insert_all ON event_log FOR INSERT WITH CHECK (event_type <> 'Forbidden');
CREATE POLICY see_some ON event_log FOR SELECT USING (version = 1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT last_version FROM event_store.append_event('t', 'D');
COMMIT;
SELECT event_store.append_event('t', 'Forbidden');
SELECT version FROM event_store.read_stream('t');
SELECT count(*) FROM event_store.read_all();
RESET ROLE;
SELECT count(*) FROM event_store.read_all();
DROP SCHEMA mine CASCADE;
DROP ROLE regress_es_mallory;
