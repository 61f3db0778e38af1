-- reliability 62: names of streams and types are any text up to the limit: kept byte for byte, told apart byte for byte, found again.
-- Only the first character $ is reserved.
\ir lib/problem.sql
SELECT no_plan();
SELECT event_store.create_store('names');
SET search_path = names, public;

CREATE TEMP TABLE sample (n serial, name text, note text);

-- every general category of Unicode, and what is in none: alone, inside a name, at its end
INSERT INTO sample (name, note)
SELECT name, category || ' ' || form
FROM (VALUES
	('Lu', U&'\0391'), ('Ll', U&'\00DF'), ('Lt', U&'\01C5'), ('Lm', U&'\02B0'), ('Lo', U&'\6F22'),
	('Mn', U&'\0301'), ('Mc', U&'\0903'), ('Me', U&'\20DD'),
	('Nd', U&'\0663'), ('Nl', U&'\2166'), ('No', U&'\00BD'),
	('Pc', U&'\203F'), ('Pd', U&'\2014'), ('Ps', U&'\2045'), ('Pe', U&'\2046'), ('Pi', U&'\201C'), ('Pf', U&'\201D'), ('Po', U&'\3002'),
	('Sm', U&'\2211'), ('Sc', U&'\20AC'), ('Sk', U&'\02D8'), ('So', U&'\+01F600'),
	('Zs', U&'\3000'), ('Zl', U&'\2028'), ('Zp', U&'\2029'),
	('Cc', U&'\0001'), ('Cf', U&'\200D'), ('Co', U&'\E000'), ('Cn', U&'\0378'),
	('noncharacter', U&'\FFFF'), ('last', U&'\+10FFFF'), ('byte order mark', U&'\FEFF')) c(category, character)
CROSS JOIN LATERAL (VALUES ('alone', character), ('inside', 'order' || character || '-1'), ('at the end', 'order-' || character)) f(form, name);

-- what looks or sorts alike but is another name: pairs of normalisation, of case, of width, of spaces
INSERT INTO sample (name, note)
SELECT unnest(ARRAY[one, other]), note
FROM (VALUES
	(U&'caf\00E9', U&'cafe\0301', 'composed and decomposed'),
	(U&'\212B', U&'\00C5', 'angstrom and a with ring'),
	(U&'\AC00', U&'\1100\1161', 'hangul'),
	(U&'\FB01', 'fi', 'ligature'),
	(U&'\FF21', 'A', 'full width'),
	(U&'q\0307\0323', U&'q\0323\0307', 'order of marks'),
	('Order', 'order', 'case'),
	(U&'stra\00DFe', 'strasse', 'sharp s'),
	(U&'\0130', 'i', 'dotted I'),
	('ab', U&'a\200Bb', 'zero width space'),
	('x', 'x ', 'trailing space'),
	(' y', 'y', 'leading space'),
	('z', E'z\n', 'trailing newline'),
	(U&'\202Eevil', 'evil', 'right to left override'),
	(U&'\05D0\05D1', U&'\05D1\05D0', 'Hebrew'),
	(U&'\0430', 'a', 'Cyrillic a')) p(one, other, note);

-- what means something to SQL, JSON, shells, format strings and to this extension elsewhere
INSERT INTO sample (name, note)
SELECT name, 'odd' FROM unnest(ARRAY['null', 'NULL', '0', '-1', '', '-', '--', '-a', 'a-', 'a-b-c', 'any', 'no_stream', 'exists', 'a$', '-$a', ' $all',
	'''', '''''', '"', '""', '\', '\\', '\n', E'\n', E'\t', E'\r\n', E'a\nb', E'\x7f', E'\x1b[31m', '%s%n', '%', '_', ';', '; DROP TABLE event_log', '{}',
	'{"a": 1}', '[1]', '{a,b}', '(a)', '*', '..', '/', '/etc/passwd', '#', '@', '`', '$$' || '-', '&amp;', '\u0000', '\x00', 'a, b', 'event_log',
	'pg_catalog.pg_class', 'public', repeat(' ', 512), repeat('-', 512), repeat('%', 512), repeat('"', 512)]) name
WHERE name <> '' AND left(name, 1) <> '$';

-- every length up to the limit of 512 bytes, with characters of one to four bytes
INSERT INTO sample (name, note)
SELECT name, 'length ' || octet_length(name) FROM (
	SELECT left('n' || n || repeat('x', n), n) FROM generate_series(1, 512) n
	UNION SELECT repeat(c, n) FROM unnest(ARRAY[U&'\00E9', U&'\20AC', U&'\+01F600']) c, generate_series(1, 256) n
	UNION SELECT 'a' || repeat(c, n) FROM unnest(ARRAY[U&'\00E9', U&'\20AC', U&'\+01F600']) c, unnest('{1,5,127,170,255}'::int[]) n) x(name)
WHERE octet_length(name) <= 512;

SELECT cmp_ok((SELECT count(DISTINCT name)::int FROM sample), '>', 1200, 'there are samples');
SELECT is((SELECT count(DISTINCT octet_length(name))::int FROM sample), 512, 'of every length');

-- one event for each name, twice, in separate transactions, with the name as its type too
CREATE FUNCTION pg_temp.append(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text := '00000';
BEGIN
	PERFORM event_store.append_event(name, name, to_jsonb(name), expected => 'no_stream');
	PERFORM event_store.append(name, jsonb_build_array(jsonb_build_object('type', name, 'data', name, 'metadata', jsonb_build_object(name, name))), 1);
	PERFORM event_store.append(name, ARRAY[ROW(name, to_jsonb(name), NULL, NULL, NULL, NULL, NULL)::event_store.new_event], 'exists');
	RETURN state;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE TEMP TABLE names AS SELECT min(n) AS n, name, min(note) AS note FROM sample GROUP BY name;
SELECT is_empty($$SELECT n, note, state FROM (SELECT n, note, pg_temp.append(name) AS state FROM names) x WHERE state <> '00000'$$, 'every name is taken, and is no other');

-- each is found by its name, and only it
SELECT is_empty(
	$$SELECT n, note FROM names WHERE (SELECT array_agg(row(version, stream, type, data #>> '{}', coalesce(metadata->>name, name)) ORDER BY version)
		FROM event_store.read_stream(name)) IS DISTINCT FROM
		ARRAY[row(1::bigint, name, name, name, name), row(2::bigint, name, name, name, name), row(3::bigint, name, name, name, name)]$$,
	'read_stream');
SELECT is_empty($$SELECT n, note FROM names WHERE event_store.stream_version(name) <> 3$$, 'stream_version');
SELECT is_empty(
	$$SELECT n, note FROM names LEFT JOIN LATERAL event_store.stream_info(name) ON true
	WHERE (stream, category, version) IS DISTINCT FROM (name, split_part(name, '-', 1), 3::bigint)$$,
	'stream_info, with the category before the first hyphen');
SELECT results_eq(
	$$SELECT stream, type, count(*) FROM event_store.read_all(max_count => NULL) GROUP BY stream, type ORDER BY 1$$,
	$$SELECT name, name, 3::bigint FROM names ORDER BY 1$$,
	'read_all');
SELECT is_empty(
	$$SELECT n, note FROM names WHERE (SELECT array_agg(stream) FROM event_store.read_all(types => ARRAY[name])) IS DISTINCT FROM
		ARRAY[name, name, name]$$,
	'read_all by type');
SELECT is_empty(
	$$SELECT category FROM (SELECT split_part(name, '-', 1) AS category, 3 * count(*) AS events FROM names GROUP BY 1) x
	WHERE events <> (SELECT count(*) FROM event_store.read_category(category, max_count => NULL))$$,
	'read_category');
SELECT is_empty(
	$$SELECT n, note FROM names WHERE (SELECT stream FROM event_store.event((SELECT event_id FROM event_store.read_stream(name, 2, 1)))) IS DISTINCT FROM name$$,
	'event');

-- a session that remembers nothing finds the same
SET event_store.stream_cache_size = 16;
SELECT is_empty($$SELECT n, note FROM names WHERE (SELECT a.first_version FROM event_store.append_event(name, name, expected => 3) a) <> 4$$, 'found by a session that remembers little');
RESET event_store.stream_cache_size;

-- an error tells the name exactly in its document, and in one line in its message
SELECT is_empty(
	$$SELECT n, note FROM names, pg_temp.problem(format('SELECT event_store.append_event(%L, %L, expected => 1)', name, 'T'))
	WHERE state <> 'VE001' OR document->>'stream' IS DISTINCT FROM name OR message ~ '[\x01-\x1f]' OR message IS NULL$$,
	'errors tell the name');
SELECT is_empty($$SELECT n, note FROM names, pg_temp.problem(format('SELECT event_store.append_event(%L, %L, expected => %L)', name, 'T', 'no_stream')) WHERE state <> 'VE002'$$, 'no_stream');

-- deleted by its name, and only it
CREATE TEMP TABLE deleted AS SELECT n, name FROM names WHERE n % 2 = 0;
SELECT is_empty($$SELECT n FROM deleted WHERE event_store.delete_stream(name) <> 4$$, 'delete_stream');
SELECT is_empty(
	$$SELECT n, note FROM names CROSS JOIN LATERAL event_store.stream_info(name) WHERE status <> CASE WHEN n % 2 = 0 THEN 'deleted' ELSE 'open' END$$,
	'and no other is deleted');

-- refused
SELECT is(pg_temp.state(format('SELECT event_store.append_event(%L, %L)', stream, type)), state, note)
FROM (VALUES
	(repeat('x', 513), 'T', '54000', 'a stream name of 513 bytes'),
	(repeat(U&'\20AC', 171), 'T', '54000', 'a stream name of 171 characters in 513 bytes'),
	(repeat(U&'\+01F600', 129), 'T', '54000', 'a stream name of 129 characters in 516 bytes'),
	(repeat('x', 100000), 'T', '54000', 'a stream name of 100,000 bytes'),
	('s', repeat('x', 513), '54000', 'a type of 513 bytes'),
	('s', repeat(U&'\20AC', 171), '54000', 'a type of 171 characters in 513 bytes'),
	('', 'T', '22023', 'an empty stream name'),
	('s', '', '22023', 'an empty type'),
	('$', 'T', '22023', 'the stream $'),
	('$all', 'T', '22023', 'the stream $all'),
	('$order-1', 'T', '22023', 'a stream that begins with $'),
	('s', '$T', '22023', 'a type that begins with $'),
	('s', '$', '22023', 'the type $')) v(stream, type, state, note);
SELECT is(pg_temp.state(command), state, command) FROM (VALUES
	($$SELECT event_store.read_stream('$all')$$, '22023'), ($$SELECT event_store.read_stream('')$$, '22023'), ($$SELECT event_store.read_stream(repeat('x', 513))$$, '54000'),
	($$SELECT event_store.stream_version('$all')$$, '22023'), ($$SELECT event_store.stream_version('')$$, '22023'), ($$SELECT event_store.stream_version(repeat('x', 513))$$, '54000'),
	($$SELECT event_store.stream_info('$all')$$, '22023'), ($$SELECT event_store.stream_info('')$$, '22023'), ($$SELECT event_store.stream_info(repeat('x', 513))$$, '54000'),
	($$SELECT event_store.truncate_stream('$all', 1)$$, '22023'), ($$SELECT event_store.set_stream_metadata('')$$, '22023'), ($$SELECT event_store.stream_metadata('$all')$$, '22023'),
	($$SELECT event_store.link_event('$all', '00000000-0000-4000-8000-000000000001')$$, '22023'),
	($$SELECT event_store.delete_stream('$all')$$, '22023'), ($$SELECT event_store.delete_stream('')$$, '22023'), ($$SELECT event_store.delete_stream(repeat('x', 513))$$, '54000')) v(command, state);
SELECT is((SELECT message FROM pg_temp.problem(format('SELECT event_store.append_event(%L, %L)', 'a' || repeat(U&'\20AC', 200), 'T'))),
	'stream name "a' || repeat(U&'\20AC', 19) || '..." has 601 bytes, more than the limit of 512', 'a long name is cut between characters in the message');
SELECT ok((SELECT document->>'name' = E'$a\n"b' FROM pg_temp.problem($$SELECT event_store.append_event(E'$a\n"b', 'T')$$)), 'the reserved name is told');
SELECT is(pg_temp.state($$SELECT event_store.append_event(U&'\D800', 'T')$$), '42601', 'a lone surrogate is no text');
SET event_store.max_name_length = 2000;
SELECT is(pg_temp.append(repeat(U&'\+01F600', 500)), '00000', 'the limit can be raised');
SELECT is(event_store.stream_version(repeat(U&'\+01F600', 500)), 3::bigint, 'and the name is found');
SET event_store.max_name_length = 16;
SELECT is(pg_temp.state($$SELECT event_store.append_event('s2345678901234567', 'T')$$), '54000', 'and lowered');
RESET event_store.max_name_length;

SELECT is((SELECT count(*)::int FROM event_log), 4 * (SELECT count(*)::int FROM names) + 3, 'nothing else was stored');
SELECT is((SELECT count(*)::int FROM event_streams), (SELECT count(*)::int FROM names) + 1, 'and no other stream made');
SELECT event_store.drop_store('names', 'names');
SELECT * FROM finish();
