-- A checker of transaction histories in plain SQL, after Elle's list-append: an append to a stream is an append to a list, and the
-- versions tell the order of the writes. A history is
--	op   what committed transactions did, in the order i: appends (element) and reads (list, all elements that were there)
--	log  the elements of each stream in the order of versions
-- Transactions of one client have rising numbers.
CREATE SCHEMA elle;
CREATE SEQUENCE elle.txn;
CREATE SEQUENCE elle.element;
CREATE TABLE elle.op (txn bigint, client int, i int, stream text, element bigint, list bigint[]);
CREATE TABLE elle.log (stream text, version bigint, element bigint);
CREATE TABLE elle.edge (kind text, src bigint, dst bigint);

-- One transaction of random reads and appends, to one stream or to several at once.
CREATE FUNCTION elle.run(client int, streams int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	me bigint := nextval('elle.txn');
	s text;
	e bigint;
	chosen text[];
BEGIN
	FOR n IN 1 .. 1 + floor(random() * 5) LOOP
		s := 's-' || floor(random() * streams);
		IF random() < 0.5 THEN
			INSERT INTO elle.op SELECT me, run.client, n * 10, s, NULL, coalesce(array_agg(data::bigint ORDER BY version), '{}')
			FROM event_store.read_stream(s, max_count => NULL);
		ELSIF random() < 0.5 THEN
			e := nextval('elle.element');
			PERFORM event_store.append_event(s, 'E', to_jsonb(e));
			INSERT INTO elle.op VALUES (me, client, n * 10, s, e);
		ELSE
			chosen := ARRAY(SELECT 's-' || x FROM generate_series(0, streams - 1) x ORDER BY random() LIMIT 3);
			e := nextval('elle.element') * 1000000;
			PERFORM count(*) FROM event_store.append_many((SELECT jsonb_agg(jsonb_build_object('stream', x,
				'events', jsonb_build_object('type', 'E', 'data', e + k))) FROM unnest(chosen) WITH ORDINALITY u(x, k)));
			INSERT INTO elle.op SELECT me, run.client, n * 10 + k, x, e + k FROM unnest(chosen) WITH ORDINALITY u(x, k);
		END IF;
	END LOOP;
END $$;

-- The edges of the dependencies between transactions.
CREATE FUNCTION elle.find_edges() RETURNS void LANGUAGE sql AS $$
	TRUNCATE elle.edge;
	WITH write AS (SELECT stream, version, element, txn FROM elle.log JOIN elle.op USING (stream, element)),
		seen AS (SELECT o.txn, o.stream, cardinality(o.list) AS n,
			(SELECT max(version) FROM write w WHERE w.stream = o.stream AND w.element = ANY (o.list) AND w.txn <> o.txn) AS last
			FROM elle.op o WHERE o.list IS NOT NULL)
	INSERT INTO elle.edge
	SELECT DISTINCT * FROM (
		SELECT 'ww', txn, lead(txn) OVER (PARTITION BY stream ORDER BY version) FROM write
		UNION ALL SELECT 'wr', w.txn, s.txn FROM seen s JOIN write w ON w.stream = s.stream AND w.version = s.last
		UNION ALL SELECT 'rw', s.txn, w.txn FROM seen s JOIN write w ON w.stream = s.stream AND w.version = s.n + 1
		UNION ALL SELECT 'so', txn, lead(txn) OVER (PARTITION BY client ORDER BY txn) FROM (SELECT DISTINCT txn, client FROM elle.op) t) e(kind, src, dst)
	WHERE src <> dst;
$$;

-- How many edges of these kinds are left when all that lie in no cycle are taken away: 0 means that there is no cycle.
CREATE FUNCTION elle.cyclic(kinds text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	gone bigint;
BEGIN
	CREATE TEMP TABLE left_over ON COMMIT DROP AS SELECT DISTINCT src, dst FROM elle.edge WHERE kind = ANY (kinds);
	LOOP
		DELETE FROM left_over l WHERE NOT EXISTS (SELECT FROM left_over x WHERE x.dst = l.src)
			OR NOT EXISTS (SELECT FROM left_over x WHERE x.src = l.dst);
		GET DIAGNOSTICS gone = ROW_COUNT;
		EXIT WHEN gone = 0;
	END LOOP;
	SELECT count(*) INTO gone FROM left_over;
	DROP TABLE left_over;
	RETURN gone;
END $$;

-- The anomalies of the history, with how often each was met; none is no row.
CREATE FUNCTION elle.anomalies(serializable boolean) RETURNS TABLE (anomaly text, times bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM elle.find_edges();
	RETURN QUERY SELECT * FROM (
		SELECT 'duplicate', count(*) FROM (SELECT FROM elle.log GROUP BY element HAVING count(*) > 1) x
		UNION ALL SELECT 'lost', count(*) FROM elle.op o WHERE element IS NOT NULL
			AND NOT EXISTS (SELECT FROM elle.log l WHERE l.stream = o.stream AND l.element = o.element)
		-- what is stored or was read and that nobody has committed
		UNION ALL SELECT 'G1a', count(*) FROM (SELECT stream, element FROM elle.log UNION SELECT stream, unnest(list) FROM elle.op) x(stream, element)
			WHERE NOT EXISTS (SELECT FROM elle.op o WHERE o.stream = x.stream AND o.element = x.element)
		-- of what another transaction appended to a stream some was read and some not
		UNION ALL SELECT 'G1b', count(*) FROM elle.op r JOIN elle.op a ON a.stream = r.stream AND a.element = ANY (r.list) AND a.txn <> r.txn
			JOIN elle.op b ON b.stream = r.stream AND b.txn = a.txn AND b.element IS NOT NULL AND b.element <> ALL (r.list)
		-- a read of what was not a beginning of the stream
		UNION ALL SELECT 'fork', count(*) FROM elle.op r WHERE list IS NOT NULL
			AND list <> ARRAY(SELECT l.element FROM elle.log l WHERE l.stream = r.stream AND l.version <= cardinality(list) ORDER BY l.version)
		UNION ALL SELECT 'G0', elle.cyclic(ARRAY['ww', 'so'])
		UNION ALL SELECT 'G1c', elle.cyclic(ARRAY['ww', 'wr', 'so'])
		UNION ALL SELECT 'G2', CASE WHEN serializable THEN elle.cyclic(ARRAY['ww', 'wr', 'rw']) ELSE 0 END) a(anomaly, times)
	WHERE a.times > 0;
END $$;
