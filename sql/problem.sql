\set VERBOSITY terse
/* problem details: the catalogue, documents, errors as documents, and what HTTP makes of them */
SELECT event_store.create_store('shop');
SET search_path = shop;

-- what a command ends with
CREATE FUNCTION pg_temp.problem(command text, OUT state text, OUT message text, OUT document jsonb, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := '00000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, document = PG_EXCEPTION_DETAIL,
		hint = PG_EXCEPTION_HINT;
END $$;
-- the rules of the JSON Schema of RFC 9457 (appendix A)
CREATE FUNCTION pg_temp.passes_schema(document jsonb) RETURNS boolean LANGUAGE sql AS $$
	SELECT jsonb_typeof(document) = 'object'
		AND coalesce(jsonb_typeof(document -> 'type') = 'string' AND document ->> 'type' ~ '^([A-Za-z][A-Za-z0-9+.-]*:)?([A-Za-z0-9._~:/?#@!$&''()*+,;=\[\]-]|%[0-9A-Fa-f]{2})*$', true)
		AND coalesce(jsonb_typeof(document -> 'title') = 'string', true)
		AND coalesce(jsonb_typeof(document -> 'status') = 'number' AND (document ->> 'status')::numeric BETWEEN 100 AND 599 AND (document ->> 'status')::numeric % 1 = 0, true)
		AND coalesce(jsonb_typeof(document -> 'detail') = 'string', true)
		AND coalesce(jsonb_typeof(document -> 'instance') = 'string' AND document ->> 'instance' ~ '^([A-Za-z][A-Za-z0-9+.-]*:)?([A-Za-z0-9._~:/?#@!$&''()*+,;=\[\]-]|%[0-9A-Fa-f]{2})*$', true)
$$;

/* the catalogue */
SELECT sqlstate, uri, title, status FROM event_store.problem_type WHERE uri <> 'about:blank';
SELECT sqlstate, title, status, retry_after FROM event_store.problem_type WHERE uri = 'about:blank' ORDER BY sqlstate COLLATE "C";
SELECT count(*) AS twice FROM (SELECT sqlstate FROM event_store.problem_type GROUP BY 1 HAVING count(*) > 1) x;
SELECT sqlstate AS own_without_advice FROM event_store.problem_type WHERE uri <> 'about:blank' AND coalesce(doc, '') = '';
-- systems 5.3.10: 503 types say when to try again
SELECT sqlstate FROM event_store.problem_type WHERE status = 503 AND retry_after IS NULL;

-- systems 5.3.1: every condition of our own that can be raised today is in the catalogue, and its document has the shape
SELECT event_store.append_event('order-1', 'A', event_id => '00000000-0000-4000-8000-000000000001');
SELECT event_store.append_event('gone', 'A');
SELECT event_store.delete_stream('gone');
CREATE TEMP TABLE raised AS
SELECT p.* FROM (VALUES
	($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$),
	($$SELECT event_store.append_event('order-1', 'A', expected => 'no_stream')$$),
	($$SELECT event_store.append_event('order-2', 'A', expected => 'exists')$$),
	($$SELECT event_store.append_event('gone', 'A')$$),
	($$SELECT event_store.append_event('order-1', 'A', event_id => '00000000-0000-4000-8000-000000000001')$$),
	($$SELECT event_store.drop_store('nowhere', 'nowhere')$$)) v(command), pg_temp.problem(command) p;
SELECT state FROM raised EXCEPT SELECT sqlstate FROM event_store.problem_type;
SELECT state, pg_temp.passes_schema(document) AS passes, document ->> 'type' = uri AS type, document ->> 'title' = title AS title,
	(document ->> 'status')::int = status AS status, document ->> 'detail' = message AS detail, hint <> '' AS hint,
	(SELECT string_agg(k, ' ') FROM jsonb_object_keys(document - '{type,title,status,detail}'::text[]) k) AS members,
	(document - '{type,title,status,detail}'::text[]) - ARRAY(SELECT jsonb_object_keys(ext_schema -> 'properties')) AS unknown_members
FROM raised JOIN event_store.problem_type ON sqlstate = state ORDER BY state;

-- systems 5.3.5: one line, whatever the names; the document is exact
DO $$
DECLARE
	message text;
	detail jsonb;
BEGIN
	PERFORM event_store.append_event(E'quo"te\n\\ü', 'A', expected => 7);
EXCEPTION WHEN SQLSTATE 'VE001' THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', message;
	RAISE NOTICE '% % %', detail -> 'expected', detail -> 'actual', detail -> 'stream';
END $$;
SELECT * FROM pg_temp.problem($$SELECT event_store.append('s', '[{"type": "A", "data": 1, "typ\"e": 1}]')$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.create_store('shop')$$);
SELECT document FROM pg_temp.problem($$SELECT event_store.append_event('s', 'A', expected => repeat('x', 1000000))$$) WHERE length(document::text) > 20000;
SET search_path = public;
SELECT * FROM pg_temp.problem($$SELECT event_store.head()$$);
SET search_path = shop;

/* documents */
-- systems 5.3.2
SELECT event_store.problem();
SELECT event_store.problem(status => 422);
SELECT event_store.problem(status => s) FROM unnest('{100,208,299,306,404,418,451,499,511,599}'::int[]) s;
SELECT event_store.problem('urn:event-store:problem:wrong-expected-version', detail => 'stream "a" is at version 3', ext => '{"stream": "a", "expected": 1, "actual": 3}');
SELECT event_store.problem('urn:event-store:problem:node-unreachable');
SELECT event_store.problem('urn:event-store:problem:node-unreachable', ext => '{"retry_after": 60}');
SELECT event_store.problem('urn:event-store:problem:nonsense', detail => '');
SELECT event_store.problem(NULL, NULL, NULL, NULL, NULL, NULL);
SELECT event_store.problem('https://example.org/p?a=%20#b', 402, 'Out of Credit', 'The balance is 30, the price is 50.', '/account/12345/msgs/abc',
	'{"balance": 30.50, "accounts": ["/account/12345", {"deep": [null, true, 1e3]}], "nothing": null, "text": "a\"\n"}');
-- systems 5.3.3
SELECT name, state, document ->> 'pointer' AS pointer, document ->> 'detail' AS detail
FROM unnest('{status,type,ab,1abc,a-b,"","a b","ab~/","äbc",abc_,a1_}'::text[]) name,
	pg_temp.problem(format('SELECT event_store.problem(status => 404, ext => %L)', jsonb_build_object(name, 1)));
SELECT document ->> 'pointer' AS pointer FROM pg_temp.problem($$SELECT event_store.raise_problem('{"a-b": 1}')$$);
-- systems 5.3.4
SELECT status, state FROM unnest('{99,600,404.5,-1,0,1e300,NaN,Infinity,100,599,404.0}'::text[]) status, pg_temp.problem(format('SELECT event_store.problem(status => %L)', status));
SELECT status, state, document ->> 'pointer' AS pointer FROM unnest('{99,600,404.5,"404",true,[],1e400}'::text[]) status,
	pg_temp.problem(format('SELECT event_store.raise_problem(%L)', format('{"status": %s}', CASE WHEN status = '404' THEN '"404"' ELSE status END)));
SELECT status, state FROM unnest('{99,600,-1}'::int[]) status, pg_temp.problem(format('SELECT event_store.register_problem_type(%L, %L, %s)', 'urn:x:y', 'T', status));
-- other members
SELECT uri, t.state AS type, t.document ->> 'pointer' AS pointer, i.state AS instance, i.document ->> 'pointer' AS pointer FROM unnest('{"a b","","http://[::1]/x","http://a/[x]","1a:b","a:b","%zz","%2","ä","a#b#c","/","<x>","a\\b","//host/p"}'::text[]) uri,
	pg_temp.problem(format('SELECT event_store.problem(%L)', uri)) t, pg_temp.problem(format('SELECT event_store.problem(instance => %L)', uri)) i;
SELECT state, message FROM unnest(ARRAY[
	'problem(ext => $${}$$)', 'problem(ext => $$[]$$)', 'problem(ext => $$1$$)',
	'raise_problem($$[]$$)', 'raise_problem(NULL)', 'raise_problem($${"title": 1}$$)', 'raise_problem($${"detail": null, "title": null}$$)',
	'problem_headers($$1$$)', 'problem_pgrst($$"x"$$)',
	'problem_from_error(NULL)', 'problem_from_error($$2350$$)', 'problem_from_error($$2350é$$)', 'problem_from_error($$23505 $$)']) call,
	pg_temp.problem('SELECT event_store.' || call);

-- systems 5.3.12: any text, and cut at the size
SELECT event_store.problem(status => 400, detail => E'"quotes" \\ newline\n tab\t ü 漢 😀 \u0001');
SET event_store.problem_detail_size = 256;
SELECT octet_length(d) AS bytes, length(d) AS characters, right(d, 5) AS ends
FROM unnest(ARRAY[repeat('x', 256), repeat('x', 257), repeat('漢', 85), repeat('漢', 86), repeat('😀', 250000)]) t, LATERAL (SELECT event_store.problem(status => 400, detail => t) ->> 'detail' AS d) x;
SELECT state, octet_length(message) AS bytes, octet_length(document ->> 'detail') AS detail, octet_length(document ->> 'expected') AS expected
FROM pg_temp.problem($$SELECT event_store.append_event('s', 'A', expected => repeat('漢', 350000))$$);
RESET event_store.problem_detail_size;
SELECT octet_length(event_store.problem(status => 400, detail => repeat('x', 1000000)) ->> 'detail') AS bytes;
SELECT state, octet_length(document ->> 'detail') AS bytes, octet_length(message) AS message, left(message, 3) AS one_line
FROM pg_temp.problem($$SELECT event_store.raise_problem(jsonb_build_object('detail', E'x\n' || repeat('y', 1000000)))$$);
SELECT state, octet_length(message) AS bytes FROM pg_temp.problem($$SELECT event_store.raise_problem(jsonb_build_object('title', repeat('y', 1000000)))$$);

/* types of users */
SELECT event_store.register_problem_type('https://example.org/problems/out-of-stock', 'Out of Stock', 409, 'SH001', '1 day 0.5 s', 'Order fewer.',
	'{"type": "object", "properties": {"sku": {"type": "string"}, "left": {"type": "integer"}}}');
SELECT event_store.register_problem_type('/problems/closed', 'Closed', 503);
SELECT * FROM event_store.problem_type WHERE uri !~ '^(urn:event-store:|about:blank)' ORDER BY uri COLLATE "C";
SELECT event_store.problem('https://example.org/problems/out-of-stock', ext => '{"sku": "a", "left": 0}');
SELECT * FROM pg_temp.problem($$SELECT event_store.raise_problem('{"type": "https://example.org/problems/out-of-stock", "sku": "a"}')$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.raise_problem('{"type": "/problems/closed", "detail": "we are\nclosed"}', 'Come back.')$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.raise_problem('{"type": "urn:event-store:problem:stream-deleted"}')$$);
SELECT * FROM pg_temp.problem($$SELECT event_store.raise_problem('{"type": "tag:unknown", "abc": 1}')$$);
SELECT state, left(message, 70) AS message, document ->> 'pointer' AS pointer FROM (VALUES
	('about:blank', 'T', 400, 'SH002', NULL, NULL),
	('urn:event-store:problem:stream-exists', 'T', 400, 'SH002', NULL, NULL),
	('urn:event-store:mine', 'T', 400, 'SH002', NULL, NULL),
	('not a uri', 'T', 400, 'SH002', NULL, NULL),
	(repeat('x', 2001), 'T', 400, 'SH002', NULL, NULL),
	('urn:x:1', '', 400, 'SH002', NULL, NULL),
	('urn:x:1', NULL, 400, 'SH002', NULL, NULL),
	('urn:x:1', 'T', 400, 'VE001', NULL, NULL),
	('urn:x:1', 'T', 400, 'VE999', NULL, NULL),
	('urn:x:1', 'T', 400, '23505', NULL, NULL),
	('urn:x:1', 'T', 400, 'P0001', NULL, NULL),
	('urn:x:1', 'T', 400, 'XX123', NULL, NULL),
	('urn:x:1', 'T', 400, 'HV123', NULL, NULL),
	('urn:x:1', 'T', 400, '57AAA', NULL, NULL),
	('urn:x:1', 'T', 400, '72AAA', NULL, NULL),
	('urn:x:1', 'T', 400, 'SH000', NULL, NULL),
	('urn:x:1', 'T', 400, 'SH00', NULL, NULL),
	('urn:x:1', 'T', 400, 'sh001', NULL, NULL),
	('urn:x:1', 'T', 400, 'SH002', '0', NULL),
	('urn:x:1', 'T', 400, 'SH002', '-1 s', NULL),
	('urn:x:1', 'T', 400, 'SH002', '2 years', NULL),
	('urn:x:1', 'T', 400, 'SH002', '178000000 years', NULL),
	('urn:x:1', 'T', 400, 'SH002', NULL, '[]'),
	('urn:x:1', 'T', 400, 'SH002', NULL, '{"properties": {"abc": {}, "a-b": {}}}'),
	('urn:x:1', 'T', 400, 'SH002', NULL, '{"properties": {"status": {}}}'),
	('https://example.org/problems/out-of-stock', 'T', 400, 'SH002', NULL, NULL),
	('urn:x:1', 'T', 400, 'SH001', NULL, NULL)) v(uri, title, status, sqlstate, retry_after, ext_schema),
	pg_temp.problem(format('SELECT event_store.register_problem_type(%L, %L, %L, %L, %L, NULL, %L)', uri, title, status, sqlstate, retry_after, ext_schema));
SELECT count(*) FROM event_store.registered_problem_type;
BEGIN READ ONLY;
SELECT event_store.register_problem_type('urn:x:1', 'T', 400);
ROLLBACK;

-- titles in other languages
SELECT event_store.set_problem_title('https://example.org/problems/out-of-stock', 'DE', 'Ausverkauft');
SELECT event_store.set_problem_title('urn:event-store:problem:wrong-expected-version', 'pt-br', 'Versão Inesperada');
SELECT state, message FROM (VALUES ('about:blank', 'de', 'T'), ('urn:x:1', 'de', 'T'), ('/problems/closed', 'en', 'T'), ('/problems/closed', 'd', ''), ('/problems/closed', 'd_e', 'T'),
	('/problems/closed', '', 'T'), ('/problems/closed', 'deutschland', 'T')) v(uri, language, title),
	pg_temp.problem(format('SELECT event_store.set_problem_title(%L, %L, %L)', uri, language, title));
SET event_store.problem_language = 'x y';
SET event_store.problem_language = 'de-AT';
SELECT event_store.problem('https://example.org/problems/out-of-stock') -> 'title' AS title, event_store.problem(status => 404) -> 'title' AS phrase,
	event_store.problem_headers(event_store.problem('https://example.org/problems/out-of-stock')) -> 'Content-Language' AS language,
	event_store.problem_headers('{"type": "https://example.org/problems/out-of-stock", "title": "Out of Stock"}') -> 'Content-Language' AS given;
SELECT message, document -> 'title' AS title FROM pg_temp.problem($$SELECT event_store.raise_problem('{"type": "https://example.org/problems/out-of-stock"}')$$);
SET event_store.problem_language = 'pt-BR';
SELECT event_store.try($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$) -> 'title' AS title;
SET event_store.problem_language = 'pt';
SELECT event_store.try($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$) -> 'title' AS title;
RESET event_store.problem_language;
SELECT event_store.set_problem_title('https://example.org/problems/out-of-stock', 'fr', 'Épuisé');
SELECT event_store.set_problem_title('https://example.org/problems/out-of-stock', 'de', NULL);
SELECT * FROM event_store.problem_title ORDER BY uri, language;
SELECT event_store.unregister_problem_type('https://example.org/problems/out-of-stock');
SELECT event_store.unregister_problem_type('https://example.org/problems/out-of-stock');
SELECT * FROM event_store.problem_title ORDER BY uri, language;

/* errors of the server as documents */
SELECT event_store.problem_from_error(state, 'message of the server', 'detail of it', 'hint') - 'type' AS document
FROM unnest('{VE001,23505,23503,23514,23502,28P01,42501,08006,53300,53200,P0001,P0002,42P01,42703,40001,40P01,40003,57014,57P01,55P03,22P02,22012,XX000,SH001,ZZZZZ,21000,0A000,01000}'::text[]) state;
CREATE TABLE shop.account (id int CONSTRAINT secret_pkey PRIMARY KEY, secret_column int NOT NULL CONSTRAINT secret_check CHECK (secret_column > 0), doc jsonb);
INSERT INTO shop.account VALUES (1, 1);
-- systems 5.3.6: what a stranger may see, and what a developer
SELECT event_store.try('INSERT INTO shop.account VALUES ($1, $2)', 1, 1);
SELECT event_store.try('INSERT INTO shop.account VALUES ($1, $2)', 2, -1);
SELECT event_store.try('INSERT INTO shop.account VALUES ($1)', 2);
SELECT event_store.try('SELECT secret_colum FROM shop.account');
SELECT event_store.try('SELECT * FROM shop.secret_table');
SET event_store.problem_debug = on;
SELECT event_store.try('INSERT INTO shop.account VALUES ($1, $2)', 1, 1) #- '{debug,line}' #- '{debug,file}' #- '{debug,function}';
SELECT event_store.try('SELEC 1') -> 'debug' ?& '{message,query,file,line,function}' AS internals;
SELECT (event_store.try($$SELECT event_store.append_event('order-1', 'A', expected => 7)$$) -> 'debug') - '{line,file,function}'::text[] AS debug;
SELECT event_store.problem_from_error('23503', 'm', 'd', 'h', 's', 't', 'c', 'x', 'y');
RESET event_store.problem_debug;
-- DETAIL that only looks like a document
SELECT event_store.problem_from_error('P0001', 'm', detail) FROM unnest(ARRAY['{"type": "urn:x:y", "status": 402, "a-b": 1, "title": 7, "instance": "/x"}', '{"type": 7}', '{}', '{', '{"a": 1e1000000}', '[1]', '  {"type":"x"}',
	repeat('{"a":', 100000), '{"type": "not a uri"}', '{"type": "x", "a": "\u0000"}']) detail;

/* try */
SELECT event_store.try('SELECT * FROM generate_series(1, $1) AS n', 3);
SELECT event_store.try('SELECT 1 WHERE false');
SELECT event_store.try('INSERT INTO shop.account SELECT n, n FROM generate_series(10, 12) n');
SELECT event_store.try('UPDATE shop.account SET secret_column = 5 WHERE id = $1 RETURNING id, doc', 10);
SELECT event_store.try('UPDATE shop.account SET secret_column = 5 WHERE id = $1', 99);
SELECT event_store.try($$SELECT 'a' AS x, 1 AS x, NULL::int AS y, '{"b": [1]}'::jsonb AS z, ARRAY[1, 2] AS a, 'NaN'::float8 AS f, ROW(1, 'x') AS r, '"ü'::text AS t$$);
SELECT event_store.try('CREATE TEMP TABLE made (x int); INSERT INTO made VALUES (1), (2)');
SELECT event_store.try('');
SELECT event_store.try('SELECT count(*) FROM made');
-- literals take the type that the query expects; values have theirs
SELECT event_store.try('SELECT $1 + 1 AS sum, $2 AS t, $3::jsonb -> ''a'' AS j, $4 AS u', '41', 'x', '{"a": [1]}', NULL);
SELECT event_store.try('INSERT INTO shop.account VALUES ($1, $2, $3) RETURNING *', '20', 7, '{}');
SELECT event_store.try('SELECT $1 + 1', 'x');
SELECT event_store.try('SELECT $1 || $2', 'a'::text, 'b');
SELECT event_store.try('SELECT $1 + $2', VARIADIC ARRAY[1, 2]);
SELECT event_store.try('SELECT 1', VARIADIC NULL::int[]);
SELECT event_store.try('SELECT $1, $2', 1);
SELECT event_store.try('SELECT $1', 1, 2, 3);
SELECT event_store.try(NULL);
PREPARE untyped AS SELECT event_store.try('SELECT $1 AS x', $1::int);
EXECUTE untyped(5);
-- undone if it fails, and only then
SELECT event_store.try('INSERT INTO shop.account VALUES (30, 30); INSERT INTO shop.account VALUES (1, 1)') -> 'status' AS status, event_store.try('INSERT INTO shop.account VALUES (31, 31)') -> 'rows' AS rows;
SELECT id FROM shop.account WHERE id >= 30;
SELECT event_store.try(command) -> 'status' AS status FROM unnest(ARRAY['COMMIT', 'SAVEPOINT x', 'COPY shop.account TO STDOUT', 'SELECT 1/0', 'VACUUM shop.account', 'SELECT event_store.append_event(''order-1'', ''A'', expected => 9)']) command;
SELECT event_store.try('SELECT event_store.try(''SELECT 1/0'') AS inner');
SELECT event_store.try('SET LOCAL work_mem = ''1MB''; SELECT 1/0') -> 'status' AS status, current_setting('work_mem') AS work_mem;
BEGIN;
SAVEPOINT s;
SELECT event_store.try('SELECT 1/0') -> 'status' AS status;
ROLLBACK TO s;
SELECT event_store.try('INSERT INTO shop.account VALUES (40, 40)') -> 'rows' AS rows;
COMMIT;
SELECT id FROM shop.account WHERE id = 40;
-- as the caller
CREATE ROLE regress_es_caller;
SET ROLE regress_es_caller;
SELECT event_store.try('SELECT * FROM shop.account') ->> 'sqlstate' AS sqlstate, event_store.try('SELECT current_user') -> 'ok' AS ok;
RESET ROLE;
-- a cancelled statement and a failed assertion are not caught
SELECT state FROM pg_temp.problem($$SELECT event_store.try('DO $a$ BEGIN ASSERT false; END $a$')$$);
SET statement_timeout = '50ms';
SELECT event_store.try('SELECT pg_sleep(60)');
RESET statement_timeout;
-- a thousand in one transaction
SELECT count(*) FROM generate_series(1, 1000) n WHERE event_store.try('SELECT 1/($1 % 2)', n) ? 'ok';

/* systems 5.3.10: retryable, when to try again, who is asked to log in */
SELECT event_store.problem_from_error('40001') -> 'retryable' AS retryable, event_store.problem_headers(event_store.problem_from_error('53300')) AS busy,
	event_store.problem_headers(event_store.problem(status => 401)) AS login, event_store.problem_headers(event_store.problem(status => 401), 'Basic realm="shop"') AS realm;
SELECT event_store.problem_headers('{"type": "urn:event-store:problem:no-quorum"}'), event_store.problem_headers('{"status": 503, "retry_after": 1.2}'), event_store.problem_headers('{"status": 503, "retry_after": "soon", "a-b": 1}');
SELECT event_store.problem_headers('{}', E'Bearer\r\nSet-Cookie: x');

-- systems 5.3.9: what PostgREST reads
DO $$
DECLARE
	message jsonb;
	detail jsonb;
BEGIN
	PERFORM event_store.problem_pgrst(event_store.problem('urn:event-store:problem:no-quorum', detail => E'two of "five"\nare in sight'));
EXCEPTION WHEN SQLSTATE 'PGRST' THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', message;
	RAISE NOTICE '%', (message ->> 'details')::jsonb -> 'status';
	RAISE NOTICE '%', detail;
END $$;
SELECT event_store.problem_pgrst(event_store.problem(status => 401));

/* the last problem of the session */
BEGIN;
SELECT event_store.append_event('order-1', 'A', expected => 7);
ROLLBACK;
SELECT event_store.last_problem() -> 'stream' AS stream;
SELECT event_store.try('SELECT 1/0') = event_store.last_problem() AS same;
SELECT event_store.raise_problem('{"status": 418, "pot": "tea"}');
SELECT event_store.last_problem();
SELECT event_store.problem_pgrst('{"status": 402}');
SELECT event_store.last_problem();
DO $$ BEGIN PERFORM event_store.append_event('order-1', 'A', expected => 8); EXCEPTION WHEN OTHERS THEN NULL; END $$;
SELECT event_store.last_problem() -> 'expected' AS caught;
-- it is for who met it
SET ROLE regress_es_caller;
SELECT event_store.last_problem();
SELECT event_store.raise_problem('{"status": 404}');
SELECT event_store.last_problem() -> 'status' AS status;
RESET ROLE;
SELECT event_store.last_problem() -> 'status' AS of_a_member;

-- the part of systems 5.3, statement 11, that needs no pipelines: a handler keeps the problem with the item that failed
CREATE TABLE shop.failed (item int, problem jsonb);
CREATE FUNCTION shop.handle(item int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text; schema_name text; table_name text; column_name text; constraint_name text; datatype_name text;
BEGIN
	INSERT INTO shop.account VALUES (item, item);
	PERFORM event_store.append_event('order-1', 'A', expected => item);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, schema_name = SCHEMA_NAME,
		table_name = TABLE_NAME, column_name = COLUMN_NAME, constraint_name = CONSTRAINT_NAME, datatype_name = PG_DATATYPE_NAME;
	INSERT INTO shop.failed VALUES (item, event_store.problem_from_error(state, message, detail, hint, schema_name, table_name, column_name, constraint_name, datatype_name));
END $$;
SELECT shop.handle(1), shop.handle(77), shop.handle(0);
SELECT item, problem ->> 'type' AS type, problem -> 'status' AS status, problem ->> 'sqlstate' AS sqlstate, problem -> 'expected' AS expected FROM shop.failed ORDER BY item;

SELECT event_store.unregister_problem_type('/problems/closed');
SELECT event_store.set_problem_title('urn:event-store:problem:wrong-expected-version', 'pt-br', NULL);
DROP ROLE regress_es_caller;
DROP SCHEMA shop CASCADE;
