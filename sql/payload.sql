/* payload: what a store keeps data as, jsonb, JSON text or bytes, in every way in and out */
\set VERBOSITY terse
SELECT event_store.create_store('kept_jsonb');
SELECT event_store.create_store('kept_json', payload => 'json');
SELECT event_store.create_store('kept_bytes', payload => 'bytea');
SELECT event_store.create_store('kept_xml', payload => 'xml');
SELECT schema, payload FROM event_store.stores WHERE schema LIKE 'kept%' ORDER BY schema;

-- a store of JSON text: what comes as text stays as it is, byte for byte
SET search_path = kept_json;
CREATE FUNCTION exact(stream text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT version || ' ' || type || ' <' || data || '>' FROM event_store.read_stream_as(NULL::text, stream)$$;
SELECT event_store.append('a-1', '[
	{"type": "T1", "data":   {"b": 1.50,"a" : [ 1, {"x":"}]\"\\"} ],  "a":2} , "metadata": {"m":  1}},
	{"data": 12.0e1, "type": "T2"}, {"type": "T3","data":"x\u0041 \" y"},
	{"data": 1, "type": "T4", "d\u0061ta" :[true , null]},{"type":"T5","data":[]}, {"type":"T6","data": { } }]');
SELECT exact('a-1');
SELECT version, data, metadata FROM event_store.read_stream('a-1');
SELECT event_store.append_event('a-2', 'Text', ' {"k":1, "k":2} ');
SELECT event_store.append('a-2', ' {"type":"One","data":{"z":0,"y":0}}');
SELECT event_store.append('a-2', '{"type":"Jsonb","data":{"z":0,"y":[1,2]}}'::jsonb);
SELECT event_store.append('a-2', ARRAY[ROW('Array', '{"z":0,"y":1}', NULL, NULL, NULL, NULL, NULL)::event_store.new_event]);
SELECT * FROM event_store.append_many('[{"stream":"a-2","events":[{"type":"Many","data":{"z" :1}}, {"type":"Many","data":{"z":  2}}]},
	{"stream":"a-9","expected":0}, {"events":[] , "stream":"a-3","events":{"type":"Only","data":[ ]}}]');
SELECT exact('a-2'), exact('a-3');
-- text that our own parser leaves to the server
SELECT event_store.append('a-4', '[{"type":"Big","data":{"n" :1e1000}},{"type":"Big","data":{"n" :2}}]');
SELECT event_store.append_event('a-4', 'Big', '1e1000 ');
SELECT version || ' <' || data || '>' FROM event_store.read_stream_as(NULL::text, 'a-4');
-- text that is good as json only would stop every reader
SELECT event_store.append_event('a-5', 'Bad', '"\u0000"');
SELECT event_store.append('a-5', '[{"type":"Bad","data":["\ud800"]}]');
SELECT event_store.append('a-5', '{"type":"Bad","data":null}');
SELECT event_store.append('a-5', '{"type":"Bad"}');
BEGIN;
SET LOCAL event_store.max_json_depth = 2;
SELECT event_store.append('a-5', '{"type":"Flat","data":[[1,"[[["],{}]}');
SELECT event_store.append('a-5', '{"type":"Deep","data":[[1,[]]]}');
ROLLBACK;
BEGIN;
SET LOCAL event_store.max_event_size = '1kB';
SELECT event_store.append_event('a-5', 'White', '[' || repeat(' ', 2000) || ']');
ROLLBACK;
-- data in any type
SELECT data, pg_typeof(data) FROM event_store.read_stream_as(NULL::json, 'a-3');
SELECT data, pg_typeof(data) FROM event_store.read_stream_as(NULL::jsonb, 'a-3');
SELECT data, pg_typeof(data) FROM event_store.read_stream_as(NULL::bytea, 'a-3');
SELECT data FROM event_store.read_stream_as(NULL::xml, 'a-3');
SELECT position, stream, version, type, data FROM event_store.read_all_as(NULL::json, max_count => 2, types => '{One,Only}');
SELECT position, data FROM event_store.poll_as(NULL::text, 1, 1);
SELECT stream, type, data FROM event_store.read_by_type('{Many}');
SELECT invariant FROM event_store.verify_store() WHERE violations <> 0;
SELECT bool_and(counted = stored) FROM event_store.telemetry_verify();

-- a store of bytes
SET search_path = kept_bytes;
SELECT event_store.append_bytes('b-1', 'Bytes', '\x00ff10'::bytea, '{"m": 1}', expected => 0);
SELECT event_store.append('b-1', ARRAY[ROW('Two', '\x', NULL, NULL, NULL, NULL, NULL)::event_store.new_event_bytes,
	ROW('Three', decode(repeat('ab', 100), 'hex'), NULL, '11111111-1111-4111-8111-111111111111', NULL, NULL, NULL)::event_store.new_event_bytes]);
SELECT event_store.append('b-1', ARRAY[ROW('Two', NULL, NULL, NULL, NULL, NULL, NULL)::event_store.new_event_bytes]);
SELECT version, type, data, metadata FROM event_store.read_stream_as(NULL::bytea, 'b-1');
-- in JSON bytes are a string in base64
SELECT version, left(data #>> '{}', 20) AS data FROM event_store.read_stream('b-1');
SELECT event_store.append('b-2', '[{"type":"Base64","data":"AP8Q"},{"type":"Base64","data":""}]');
SELECT event_store.append_event('b-2', 'Base64', to_jsonb(encode(decode(repeat('cd', 80), 'hex'), 'base64')));
SELECT * FROM event_store.append_many('[{"stream":"b-2","events":[{"type":"Many","data":"AA=="}]}]');
SELECT version, data FROM event_store.read_stream_as(NULL::bytea, 'b-2');
SELECT version, data FROM event_store.read_stream_as(NULL::json, 'b-2', max_count => 2);
SELECT event_store.append('b-2', '[{"type":"Good","data":"AA=="},{"type":"Bad","data":{"k":1}}]');
SELECT event_store.append('b-2', '{"type":"Bad","data":"A?=="}'::jsonb);
SELECT event_store.append_event('b-2', 'Bad', '1');
SELECT * FROM event_store.append_many('[{"stream":"b-2","events":[{"type":"Good","data":"AA=="}]},{"stream":"b-3","events":[{"type":"Bad","data":7}]}]');
SELECT event_store.stream_version('b-2');
SELECT bool_and(counted = stored) FROM event_store.telemetry_verify();
-- the extension's own events are JSON here too
SELECT event_store.link_event('b-4', '11111111-1111-4111-8111-111111111111');
SELECT type, data FROM event_store.read_stream('b-4');
SELECT convert_from(data, 'UTF8') FROM event_store.read_stream_as(NULL::bytea, 'b-4');
SELECT stream, version, length(data) FROM event_store.read_stream_as(NULL::bytea, 'b-4', resolve_links => true);
SET event_store.enable_hard_delete = on;
SELECT event_store.delete_stream('b-2', hard => true);
SELECT version, type, data - 'role' - 'session_role' AS data FROM event_store.read_all() WHERE stream = 'b-2';
SELECT invariant FROM event_store.verify_store() WHERE violations <> 0;
-- and bytes go nowhere else
SET search_path = kept_json;
SELECT event_store.append_bytes('b-1', 'Bytes', '\x00ff10'::bytea);
SET search_path = kept_jsonb;
SELECT event_store.append_bytes('b-1', 'Bytes', '\x00ff10'::bytea);
SELECT event_store.append_event('b-1', 'Json', '{"b":1, "a":[]}');
SELECT data FROM event_store.read_stream_as(NULL::json, 'b-1');
SELECT data FROM event_store.read_stream_as(NULL::bytea, 'b-1');

-- the same through SQL: a trigger and a policy
SET search_path = kept_json, public;
CREATE FUNCTION kept_json.look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER look BEFORE INSERT ON kept_json.event_log FOR EACH ROW EXECUTE FUNCTION kept_json.look();
SELECT event_store.append('s-1', '{"type":"Sql","data":{"z" :1}}');
SELECT exact('s-1');
SET search_path = kept_bytes, public;
CREATE TRIGGER look BEFORE INSERT ON kept_bytes.event_log FOR EACH ROW EXECUTE FUNCTION kept_json.look();
SELECT event_store.append_bytes('s-1', 'Sql', '\x00'::bytea);
SELECT data FROM event_store.read_stream('s-1');

-- aggregates see jsonb whatever is kept
CREATE FUNCTION public.kept_apply(state jsonb, type text, data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	$$SELECT state || jsonb_build_array(data)$$;
SELECT event_store.register_aggregate('kept', 'public.kept_apply(jsonb,text,jsonb)', initial => '[]');
SELECT event_store.append_bytes('kept-1', 'Happened', '\x01'::bytea);
SELECT * FROM event_store.rehydrate('kept', '1');
SET search_path = kept_json, public;
SELECT event_store.append_event('kept-1', 'Happened', '{"a":  1}');
SELECT * FROM event_store.rehydrate('kept', '1');

-- imports
CREATE TABLE public.kept_lines (line bigint, stream text, type text, data json);
INSERT INTO public.kept_lines VALUES (1, 'i-1', 'Line', '{"b" :1,"a":2}'), (2, 'i-1', 'Line', '"AP8="');
CALL event_store.import_events('public.kept_lines', 'json');
SELECT exact('i-1');
SET search_path = kept_bytes, public;
CALL event_store.import_events('public.kept_lines', 'json');
DELETE FROM public.kept_lines WHERE line = 1;
CALL event_store.import_events('public.kept_lines', 'json');
CREATE VIEW public.kept_bytes_lines AS SELECT line, stream, type, '\x0102'::bytea AS data FROM public.kept_lines;
CALL event_store.import_events('public.kept_bytes_lines', 'bytes');
SELECT data FROM event_store.read_stream_as(NULL::bytea, 'i-1');
SET search_path = kept_jsonb, public;
CALL event_store.import_events('public.kept_bytes_lines', 'bytes');

-- appends on a condition
SET search_path = kept_json, public;
SELECT event_store.enable_tags();
SELECT event_store.append_event('c-1', 'Taken', '{"n" :1}', '{"tags": ["seat:1"]}', condition => '{"tags": ["seat:1"]}');
SELECT event_store.append('c-2', '{"type":"Taken","data":{"n" :2}}', condition => '{"tags": ["seat:1"]}');
SELECT type, data FROM event_store.read_by_query('{"tags": ["seat:1"]}');
SELECT exact('c-1');
SET search_path = kept_bytes, public;
SELECT event_store.enable_tags();
SELECT event_store.append_bytes('c-1', 'Taken', '\x0001', '{"tags": ["seat:1"]}', condition => '{"tags": ["seat:1"]}', after => 0);
SELECT event_store.append('c-2', ARRAY[ROW('Taken', '\x02', NULL, NULL, NULL, NULL, NULL)::event_store.new_event_bytes],
	condition => '{"tags": ["seat:1"]}');
SELECT type, data FROM event_store.read_by_query('{"tags": ["seat:1"]}');
SELECT invariant FROM event_store.verify_store() WHERE violations <> 0;

-- subscriptions: paths go over jsonb, which consumers get
SELECT event_store.create_subscription('kept', filter => '$ == "AQ==" || $ == "AAE="', partition_by => '$', start_from => 'origin');
SELECT type, data FROM event_store.fetch('kept', 'me', 10, '0');
SET search_path = kept_json, public;
SELECT event_store.create_subscription('kept', filter => '$.n == 1 || $.k == 1', partition_by => '$.n', start_from => 'origin');
SELECT type, data FROM event_store.fetch('kept', 'me', 10, '0');
SET search_path = kept_bytes, public;

-- upcasters see jsonb and what they return comes in any type
CREATE FUNCTION public.kept_upcast(data jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$SELECT jsonb_build_object('old', data)$$;
SELECT event_store.register_upcaster('Happened', 'public.kept_upcast(jsonb)');
SELECT data FROM event_store.read_stream('kept-1');
SELECT convert_from(data, 'UTF8') FROM event_store.read_stream_as(NULL::bytea, 'kept-1');
SELECT * FROM event_store.rehydrate('kept', '1');
SELECT event_store.assert_event('Happened', '{"old": "AQ=="}');
SET search_path = kept_json, public;
SELECT exact('kept-1');
SELECT data FROM event_store.read_stream_as(NULL::json, 'kept-1');
SELECT * FROM event_store.rehydrate('kept', '1');
SELECT data FROM event_store.read_by_type('{Happened}');
SELECT event_store.unregister_upcaster('Happened', 1);

-- tenants' stores: the kind of a template, of a clone, of the pool
RESET search_path;
SELECT event_store.create_tenant('kept_tenant', payload => 'json');
SELECT event_store.create_tenant('kept_like', template => 'kept_tenant');
SELECT event_store.create_tenant('kept_same', template => 'kept_tenant', payload => 'json');
SELECT event_store.create_tenant('kept_bad', template => 'kept_tenant', payload => 'bytea');
SELECT event_store.create_tenant('kept_bad', payload => 'xml');
SELECT * FROM event_store.with_tenant('kept_tenant',
	$$SELECT last_version FROM event_store.append('t-1', '{"type":"Exact","data":{"b" :1.0,  "a":"\u0041\n"}}')$$) AS (version bigint);
SELECT event_store.clone_tenant('kept_tenant', 'kept_clone');
CALL event_store.fill_tenant_pool(1);
SELECT event_store.create_tenant('kept_bytea', payload => 'bytea');
SELECT count(*) AS ready FROM event_store.tenant_pool;
SELECT event_store.create_tenant('kept_default', payload => 'jsonb');
SELECT count(*) AS ready FROM event_store.tenant_pool;
SELECT schema, payload FROM event_store.stores WHERE schema ~ '^kept_(tenant|like|same|clone|bytea|default)$' ORDER BY schema;
SELECT * FROM event_store.tenant_differences('kept_clone', 'kept_tenant');
SELECT * FROM event_store.tenant_differences('kept_default', 'kept_tenant');
SELECT * FROM event_store.with_tenant('kept_clone', $$SELECT data::text FROM event_store.read_stream_as(NULL::json, 't-1')$$) AS (data text);

-- and through an export, byte for byte
SELECT * FROM event_store.with_tenant('kept_bytea',
	$$SELECT last_version FROM event_store.append_bytes('t-1', 'Bytes', decode(repeat('00ff10', 40), 'hex'))$$) AS (version bigint);
CREATE TABLE public.kept_moved (line text, "position" int, row int);
INSERT INTO public.kept_moved SELECT event_store.export_tenant('kept_tenant');
SELECT line::jsonb -> 'event_log' -> 'data' AS data FROM public.kept_moved WHERE line LIKE '{"event_log%';
SELECT count(*) AS lines_of_lines FROM public.kept_moved WHERE line LIKE E'%\n%';
SELECT event_store.drop_tenant('kept_tenant', 'kept_tenant');
SELECT events FROM event_store.import_tenant('kept_tenant', 'public.kept_moved');
SELECT payload FROM event_store.stores WHERE schema = 'kept_tenant';
SELECT * FROM event_store.with_tenant('kept_tenant', 'SELECT data::text FROM event_log') AS (data text);
SELECT event_store.drop_tenant('kept_tenant', 'kept_tenant');
UPDATE public.kept_moved SET line = replace(line, ',  ', ', ') WHERE line LIKE '{"event_log%';
SELECT events FROM event_store.import_tenant('kept_tenant', 'public.kept_moved');
TRUNCATE public.kept_moved;
INSERT INTO public.kept_moved SELECT event_store.export_tenant('kept_bytea');
SELECT left(line::jsonb -> 'event_log' ->> 'data', 12) AS data FROM public.kept_moved WHERE line LIKE '{"event_log%';
SELECT event_store.drop_tenant('kept_bytea', 'kept_bytea');
SELECT events FROM event_store.import_tenant('kept_tenant', 'public.kept_moved');
SELECT * FROM event_store.with_tenant('kept_tenant', $$SELECT data = decode(repeat('00ff10', 40), 'hex') FROM event_log$$) AS (same boolean);
-- tables that are there already and keep something else
SELECT event_store.drop_tenant('kept_tenant', 'kept_tenant');
CREATE SCHEMA kept_tenant;
CREATE TABLE kept_tenant.event_log (LIKE kept_jsonb.event_log INCLUDING ALL);
CREATE TABLE kept_tenant.event_streams (LIKE kept_jsonb.event_streams INCLUDING ALL);
CREATE TABLE kept_tenant.event_snapshots (LIKE kept_jsonb.event_snapshots INCLUDING ALL);
CREATE TABLE kept_tenant.event_commands (LIKE kept_jsonb.event_commands INCLUDING ALL);
CREATE TABLE kept_tenant.event_mark (LIKE kept_jsonb.event_mark INCLUDING ALL);
CREATE SEQUENCE kept_tenant.event_position;
SELECT events FROM event_store.import_tenant('kept_tenant', 'public.kept_moved');
DROP SCHEMA kept_tenant CASCADE;

-- a table whose column was changed
SET search_path = kept_jsonb;
ALTER TABLE kept_jsonb.event_log ALTER data TYPE text;
SELECT * FROM event_store.read_stream('b-1');
ALTER TABLE kept_jsonb.event_log ALTER data TYPE json USING data::json;
SELECT data FROM event_store.read_stream('b-1');

RESET search_path;
SELECT event_store.drop_tenant(name, name) FROM event_store.tenants WHERE name LIKE 'kept%' ORDER BY name;
SELECT event_store.drop_store(schema, schema) FROM event_store.stores WHERE schema LIKE 'kept%' ORDER BY schema;
DROP SCHEMA kept_json CASCADE;
DROP VIEW public.kept_bytes_lines;
DROP TABLE public.kept_lines;
DROP TABLE public.kept_moved;
DROP FUNCTION public.kept_upcast;
SELECT event_store.unregister_aggregate('kept');
DROP FUNCTION public.kept_apply;
