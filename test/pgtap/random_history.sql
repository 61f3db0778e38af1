-- reliability 28, the short form: a random history of calls against a model of a store held in variables. After each call the answer
-- (versions, positions, SQLSTATE) is what the model says, and so is what can be read. Transactions commit and roll back, at every
-- isolation level; savepoints are rolled back and released.
--
-- The seed is printed; it and the number of steps can be given: PGOPTIONS="-c test.seed=7 -c test.steps=100000" pg_prove ...
\ir lib/problem.sql
SELECT no_plan();
SELECT event_store.create_store('model');
SET search_path = model, public;
SET event_store.stream_cache_size = 16;
CREATE TABLE failures (n serial, step int, call text, expected text, given text);
-- a few streams cannot all be remembered, so names come and go from the cache
CREATE FUNCTION model.stream_name(n int) RETURNS text LANGUAGE sql AS $$ SELECT (ARRAY['order', 'cart', 'a b', 'Ünïcödé'])[1 + n % 4] || '-' || n $$;
CREATE FUNCTION model.given_id(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;

-- an event of the model; id 0: made by the store
CREATE TYPE model.event AS (stream int, version bigint, "position" bigint, id int, type text, data int);

CREATE PROCEDURE model.play(seed int, steps int) LANGUAGE plpgsql AS $$
DECLARE
	streams CONSTANT int := 40 + steps / 25;
	now model.event[] := '{}';			-- what the transaction sees
	kept model.event[] := '{}';			-- what is committed
	versions bigint[] := array_fill(0::bigint, ARRAY[streams]);
	kept_versions bigint[] := versions;
	deleted boolean[] := array_fill(false, ARRAY[streams]);
	kept_deleted boolean[] := deleted;
	before model.event[];				-- at the savepoint
	before_versions bigint[];
	before_deleted boolean[];
	next_position bigint := 1;
	exact boolean := true;				-- or may positions have been lost?
	last_id int := 0;
	step int := 0;
	in_savepoint int;
	calls int;
	undo boolean;
	e model.event;

	kind int;
	s int;
	n int;
	base bigint;
	actual bigint;
	expected text;
	want text;
	got text;
	call text;
	events jsonb;
	added model.event[];
	tally jsonb := '{}';				-- how often each kind of answer came
	ids int[];
	i int;
	r record;
	after bigint;
BEGIN
	PERFORM setseed((seed % 1000000) / 1000000.0);
	WHILE step < steps AND (SELECT count(*) FROM failures) = 0 LOOP
		-- a transaction of some calls, some of them inside a savepoint
		PERFORM set_config('default_transaction_isolation', (ARRAY['read committed', 'repeatable read', 'serializable'])[1 + floor(random() * 3)::int], false);
		COMMIT;
		calls := 1 + floor(random() * 6);
		WHILE calls > 0 LOOP
			in_savepoint := CASE WHEN random() < 0.3 THEN floor(random() * calls) ELSE 0 END;
			undo := random() < 0.5;
			before := now;
			before_versions := versions;
			before_deleted := deleted;
			BEGIN
				FOR c IN 0 .. in_savepoint LOOP
					calls := calls - 1;
					step := step + 1;
					kind := floor(random() * 100);
					-- some streams more than others, and other ones as time goes by, for what is deleted stays so
					s := least(1 + step / 25 + floor(power(random(), 2) * 40)::int, streams);
					actual := versions[s];
					expected := NULL;
					want := NULL;
					added := '{}';
					ids := '{}';
					IF kind < 8 THEN
						-- delete
						IF random() < 0.7 THEN
							CONTINUE;
						END IF;
						expected := CASE WHEN random() < 0.5 THEN 'exists' WHEN random() < 0.5 THEN 'any' ELSE greatest(actual - (random() < 0.3)::int, 0)::text END;
						call := format('SELECT event_store.delete_stream(%L, %L)', stream_name(s), expected);
						want := CASE
							WHEN deleted[s] THEN 'VE004'
							WHEN expected = 'any' OR expected = actual::text OR (expected = 'exists' AND actual > 0) THEN actual::text
							WHEN expected = 'exists' THEN 'VE003'
							ELSE 'VE001' END;
						IF want = actual::text AND actual > 0 THEN
							deleted[s] := true;
						END IF;
					ELSIF kind < 30 AND cardinality(now) > 0 THEN
						-- the retry of an earlier append with ids: of a run of events of one stream that all have one
						i := 1 + floor(random() * cardinality(now));
						e := now[i];
						CONTINUE WHEN e.id = 0;
						s := e.stream;
						base := e.version - 1;
						events := '[]';
						WHILE i <= cardinality(now) AND now[i].stream = s AND now[i].id <> 0 AND now[i].version = base + 1 + jsonb_array_length(events) AND random() < 0.9 LOOP
							events := events || jsonb_build_object('type', 'Retry', 'data', 0, 'event_id', given_id(now[i].id));
							i := i + 1;
						END LOOP;
						n := jsonb_array_length(events);
						CONTINUE WHEN n = 0;
						call := format('SELECT a FROM event_store.append(%L, %L::jsonb, %s) a', stream_name(s), events, base);
						want := CASE
							WHEN deleted[s] THEN 'VE004'
							ELSE format('(%s,%s,%s,%s)', base + 1, base + n, e.position, now[i - 1].position) END;
					ELSE
						-- append
						n := CASE WHEN random() < 0.7 THEN 1 WHEN random() < 0.9 THEN 2 + floor(random() * 5) ELSE 100 + floor(random() * 200) END;
						expected := CASE floor(random() * 8)
							WHEN 0 THEN 'no_stream'
							WHEN 1 THEN 'exists'
							WHEN 2 THEN 'any'
							WHEN 3 THEN greatest(actual - 1 - floor(random() * 3)::bigint, 0)::text
							WHEN 4 THEN (actual + 1 + floor(random() * 3)::bigint)::text
							ELSE actual::text END;
						events := '[]';
						FOR k IN 1 .. n LOOP
							-- a new id, now and then one that is taken
							ids[k] := CASE WHEN random() < 0.5 AND n < 100 THEN
								CASE WHEN random() < 0.3 AND cardinality(now) > 0 THEN now[1 + floor(random() * cardinality(now))::int].id ELSE last_id + k END ELSE 0 END;
							added[k] := row(s, actual + k, next_position + k - 1, ids[k], (ARRAY['A', 'B', 'C'])[1 + floor(random() * 3)::int], floor(random() * 1000)::int)::model.event;
							events := events || (jsonb_build_object('type', added[k].type, 'data', added[k].data)
								|| CASE WHEN ids[k] = 0 THEN '{}' ELSE jsonb_build_object('event_id', given_id(ids[k])) END);
						END LOOP;
						last_id := last_id + n;
						call := CASE floor(random() * 3)
							WHEN 0 THEN format('SELECT a FROM event_store.append(%L, %L::jsonb, %L) a', stream_name(s), events, expected)
							WHEN 1 THEN format('SELECT a FROM event_store.append(%L, %L, %L) a', stream_name(s), events, expected)
							ELSE format('SELECT a FROM event_store.append(%L, (SELECT array_agg(ROW(e->>''type'', e->''data'', NULL, (e->>''event_id'')::uuid, NULL, NULL, NULL)::event_store.new_event)
								FROM jsonb_array_elements(%L::jsonb) e), %L) a', stream_name(s), events, expected) END;
						-- an id twice in one call is told before anything else
						IF (SELECT count(*) <> count(DISTINCT id) FROM unnest(ids) id WHERE id <> 0) THEN
							want := 'VE005';
							added := '{}';
						ELSIF deleted[s] THEN
							want := 'VE004';
							added := '{}';
						ELSIF NOT (expected = 'any' OR (expected = 'exists' AND actual > 0) OR (expected = 'no_stream' AND actual = 0) OR expected = actual::text) THEN
							want := CASE expected WHEN 'no_stream' THEN 'VE002' WHEN 'exists' THEN 'VE003' ELSE 'VE001' END;
							-- unless these very events stand where they would have come
							base := CASE expected WHEN 'no_stream' THEN '0' WHEN 'exists' THEN '-1' ELSE expected END;
							IF base >= 0 AND base + n <= actual AND NOT 0 = ANY (ids) AND
								(SELECT array_agg(x.id ORDER BY x.version) = ids FROM unnest(now) x WHERE x.stream = s AND x.version BETWEEN base + 1 AND base + n) THEN
								want := (SELECT format('(%s,%s,%s,%s)', base + 1, base + n, min(x.position), max(x.position))
									FROM unnest(now) x WHERE x.stream = s AND x.version BETWEEN base + 1 AND base + n);
							END IF;
							added := '{}';
						ELSIF EXISTS (SELECT FROM unnest(now) x WHERE x.id <> 0 AND x.id = ANY (ids)) THEN
							want := 'VE005';
							added := '{}';
							exact := false;
						END IF;
					END IF;

					-- make the call
					IF want IS NULL AND cardinality(added) = 0 THEN
						CONTINUE;
					END IF;
					BEGIN
						EXECUTE call INTO r;
						got := CASE WHEN call LIKE '%delete_stream%' THEN translate(r::text, '()', '') ELSE translate(r::text, '"()', '') END;
					EXCEPTION WHEN OTHERS THEN
						got := SQLSTATE;
					END;
					want := translate(want, '()', '');
					IF cardinality(added) > 0 THEN
						want := format('%s,%s,%s,%s', actual + 1, actual + n, next_position, next_position + n - 1);
						IF NOT exact AND split_part(got, ',', 3) ~ '^\d+$' AND split_part(got, ',', 3)::bigint > next_position THEN
							-- positions that a refused call took are not used again; how many is not promised
							FOR k IN 1 .. n LOOP
								added[k].position := split_part(got, ',', 3)::bigint + k - 1;
							END LOOP;
							want := format('%s,%s,%s,%s', actual + 1, actual + n, added[1].position, added[n].position);
						END IF;
						next_position := added[n].position + 1;
						exact := true;
						now := now || added;
						versions[s] := actual + n;
					END IF;
					IF want IS DISTINCT FROM got THEN
						INSERT INTO failures (step, call, expected, given) VALUES (step, left(call, 1000), want, got);
					END IF;
					got := CASE WHEN got ~ '^VE' THEN got WHEN call LIKE '%delete_stream%' THEN 'deleted' WHEN cardinality(added) > 0 THEN 'appended' ELSE 'recognised' END;
					tally := jsonb_set(tally, ARRAY[got], to_jsonb(coalesce((tally->>got)::int, 0) + 1));

					-- the stream now: its version, its end, a page of it
					IF event_store.stream_version(stream_name(s)) <> versions[s] THEN
						INSERT INTO failures (step, call, expected, given) VALUES (step, 'stream_version of ' || s, versions[s], event_store.stream_version(stream_name(s)));
					END IF;
					i := greatest(versions[s] - floor(random() * 8)::int, 1);
					want := CASE WHEN deleted[s] THEN 'VE004' ELSE (SELECT string_agg(concat_ws(' ', x.position, x.version, x.type, x.data, nullif(x.id, 0)), '; ' ORDER BY x.version)
						FROM unnest(now) x WHERE x.stream = s AND x.version BETWEEN i AND i + 5) END;
					BEGIN
						SELECT string_agg(concat_ws(' ', x.position, x.version, x.type, x.data,
							CASE WHEN x.event_id::text LIKE '00000000-0000-4000-8000-%' THEN ('x' || right(x.event_id::text, 8))::bit(32)::int END), '; ' ORDER BY x.version)
						INTO got FROM event_store.read_stream(stream_name(s), i, 6) x;
					EXCEPTION WHEN OTHERS THEN
						got := SQLSTATE;
					END;
					IF want IS DISTINCT FROM got THEN
						INSERT INTO failures (step, call, expected, given) VALUES (step, format('read_stream of %s from %s', s, i), want, got);
					END IF;
				END LOOP;
				IF undo AND in_savepoint > 0 THEN
					RAISE EXCEPTION 'undo' USING ERRCODE = 'TEST1';
				END IF;
			EXCEPTION WHEN SQLSTATE 'TEST1' THEN
				now := before;
				versions := before_versions;
				deleted := before_deleted;
			END;
		END LOOP;

		IF random() < 0.25 THEN
			ROLLBACK;
			now := kept;
			versions := kept_versions;
			deleted := kept_deleted;
		ELSE
			COMMIT;
			kept := now;
			kept_versions := versions;
			kept_deleted := deleted;
		END IF;

		PERFORM set_config('default_transaction_isolation', 'read committed', false);
		COMMIT;

		-- everything in order from some position on, forward or backward; and where the next event will stand
		after := floor(random() * next_position);
		want := (SELECT string_agg(concat_ws(' ', x.position, stream_name(x.stream), x.version, x.type, x.data), '; ' ORDER BY x.position) 
			FROM (SELECT * FROM unnest(kept) k WHERE k.position > after ORDER BY k.position LIMIT 10) x);
		got := (SELECT string_agg(concat_ws(' ', x.position, x.stream, x.version, x.type, x.data), '; ' ORDER BY x.position) FROM event_store.read_all(after, 10) x);
		IF want IS DISTINCT FROM got THEN
			INSERT INTO failures (step, call, expected, given) VALUES (step, 'read_all after ' || after, want, got);
		END IF;
		want := (SELECT string_agg(position::text, ' ' ORDER BY position) FROM (SELECT x.position FROM unnest(kept) x WHERE x.position < after AND x.type = 'A' AND x.stream % 4 = 1 ORDER BY 1 DESC LIMIT 5) y);
		got := (SELECT string_agg(position::text, ' ' ORDER BY position) FROM event_store.read_category('cart', after, 5, '{A}', 'backward'));
		IF want IS DISTINCT FROM got THEN
			INSERT INTO failures (step, call, expected, given) VALUES (step, 'read_category backward before ' || after, want, got);
		END IF;
		want := coalesce((SELECT max(x.position) FROM unnest(kept) x), 0);
		IF event_store.head() IS DISTINCT FROM want::bigint OR event_store.horizon() < next_position OR (SELECT count(*) FROM event_store.in_flight()) <> 0 THEN
			INSERT INTO failures (step, call, expected, given) VALUES (step, 'head', want, format('%s, horizon %s', event_store.head(), event_store.horizon()));
		END IF;
		COMMIT;
	END LOOP;

	-- at the end the tables hold the model, no more and no less
	INSERT INTO failures (step, call, expected, given)
	SELECT step, 'the tables at the end', m::text, t::text
	FROM (SELECT x.position, stream_name(x.stream) AS stream, x.version, x.type, to_jsonb(x.data) AS data FROM unnest(kept) x) m
	FULL JOIN (SELECT l.position, s.stream_name AS stream, l.version, l.event_type AS type, l.data FROM model.event_log l JOIN model.event_streams s USING (stream_id)) t
		ON m.position = t.position AND m.stream = t.stream AND m.version = t.version AND m.type = t.type AND m.data = t.data
	WHERE m IS NULL OR t IS NULL;
	PERFORM set_config('test.tally', tally::text, false);
	PERFORM set_config('test.played', format('%s steps, %s events in %s streams, %s of them deleted', step, cardinality(kept),
		(SELECT count(*) FROM unnest(versions) v WHERE v > 0), (SELECT count(*) FROM unnest(deleted) d WHERE d)), false);
END $$;

SELECT coalesce(current_setting('test.seed', true), (extract(epoch FROM clock_timestamp())::bigint % 1000000)::text) AS seed,
	coalesce(current_setting('test.steps', true), '2000') AS steps \gset
SELECT diag(format('random history: seed %s, %s steps', :'seed', :'steps'));
CALL model.play(:seed, :steps);
SELECT diag(format('random history: %s', current_setting('test.played') || ', ' || current_setting('test.tally')));
SELECT diag(format('step %s: %s: expected %s, given %s', step, call, expected, given)) FROM failures ORDER BY n LIMIT 10;
SELECT is((SELECT count(*)::int FROM failures), 0, 'every answer is the model''s, seed ' || :'seed');
SELECT set_eq('SELECT jsonb_object_keys(current_setting(''test.tally'')::jsonb)', '{appended,recognised,deleted,VE001,VE002,VE003,VE004,VE005}'::text[], 'every kind of answer came');
SELECT cmp_ok((SELECT count(*)::int FROM event_log), '>', :steps / 4, 'much was stored');

-- what holds for every history
SELECT is_empty($$SELECT stream_id FROM event_log GROUP BY stream_id HAVING count(*) <> max(version) OR min(version) <> 1$$, 'versions without a gap');
SELECT is_empty($$SELECT stream_id FROM (SELECT stream_id, position, lag(position) OVER (PARTITION BY stream_id ORDER BY version) AS previous FROM event_log) x WHERE position <= previous$$,
	'positions rise with versions');
SELECT is_empty($$SELECT event_id FROM event_log GROUP BY event_id HAVING count(*) > 1$$, 'no event id twice');
SELECT * FROM finish();
