-- reliability I2, I3, I7, I8: verify_store, each invariant with the fault that breaks it, planted behind the guards
\set VERBOSITY terse
SELECT event_store.create_store('verified');
SET search_path = verified, public;
SELECT event_store.append('order-1', '[{"type": "A", "data": {}}, {"type": "B", "data": {}}, {"type": "C", "data": {}}]') IS NOT NULL AS appended;
SELECT event_store.append_event('order-2', 'A', event_id => '00000000-0000-4000-8000-000000000001') IS NOT NULL AS appended;
SELECT event_store.append('cart-1', '[{"type": "A", "data": {}}, {"type": "B", "data": {}, "event_id": "00000000-0000-4000-8000-000000000002"}]') IS NOT NULL AS appended;

SELECT * FROM event_store.verify_store();
SELECT count(*) AS invariants, sum(violations) AS violations FROM event_store.verify_store('verified');

-- run what plants a fault and show what is found; all of it is rolled back
CREATE FUNCTION pg_temp.found_after(fault text) RETURNS TABLE (invariant text, violations bigint, example text)
LANGUAGE plpgsql AS $$
DECLARE
	rows jsonb;
BEGIN
	BEGIN
		SET LOCAL session_replication_role = replica;
		ALTER TABLE event_log DISABLE TRIGGER USER;
		ALTER TABLE event_streams DISABLE TRIGGER USER;
		EXECUTE fault;
		SET LOCAL session_replication_role = origin;
		SELECT jsonb_agg(v) INTO rows FROM event_store.verify_store('verified') v
			WHERE v.violations > 0 AND v.invariant NOT LIKE 'the guards%';
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	END;
	RETURN QUERY SELECT r.invariant, r.violations, r.example
		FROM jsonb_to_recordset(rows) r(invariant text, violations bigint, example text);
END$$;

-- no fault: the triggers alone
SELECT * FROM pg_temp.found_after('SELECT 1');
-- a gap and a repeat in the versions, the first ones missing
SELECT * FROM pg_temp.found_after($$DELETE FROM event_log WHERE position = 2$$);
SELECT * FROM pg_temp.found_after($$DELETE FROM event_log WHERE position IN (1, 2)$$);
SELECT * FROM pg_temp.found_after($$DELETE FROM event_log WHERE position IN (1, 2); UPDATE event_streams SET truncate_before = 3 WHERE stream_name = 'order-1'$$);
SELECT * FROM pg_temp.found_after($$DELETE FROM event_log WHERE position IN (1, 2); UPDATE event_streams SET truncate_before = 2 WHERE stream_name = 'order-1'$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_streams SET truncate_before = 99 WHERE stream_name = 'order-1'$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET version = 7 WHERE position = 3$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET version = 0 WHERE position = 1$$);
SELECT * FROM pg_temp.found_after($$ALTER TABLE event_log DROP CONSTRAINT event_log_pkey; UPDATE event_log SET version = 2 WHERE position = 3$$);
-- positions that fall, and are there twice
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET position = 100 - position WHERE position IN (5, 6)$$);
SELECT * FROM pg_temp.found_after($$ALTER TABLE event_log DROP CONSTRAINT event_log_position_key; UPDATE event_log SET position = 5 WHERE position = 4$$);
-- and such as never came from the sequence
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET position = 1000000 WHERE position = 4$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET position = 0 WHERE position = 4$$);
SELECT * FROM pg_temp.found_after($$SELECT setval('event_position', 3, false)$$);
SELECT setval('event_position', 129, false);
-- streams without events, events without a stream, a name twice
SELECT * FROM pg_temp.found_after($$INSERT INTO event_streams VALUES (99, 'order-9', 'order', now())$$);
SELECT * FROM pg_temp.found_after($$DELETE FROM event_streams WHERE stream_name IN ('order-1', 'cart-1')$$);
SELECT * FROM pg_temp.found_after($$ALTER TABLE event_streams DROP CONSTRAINT event_streams_stream_name_key; UPDATE event_streams SET stream_name = 'order-1'$$);
-- event ids that are there twice, or name another position
SELECT * FROM pg_temp.found_after($$DROP INDEX event_log_event_id_key; UPDATE event_log SET event_id = '00000000-0000-4000-8000-000000000001' WHERE position = 6$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_log SET event_id = (SELECT event_id FROM event_log WHERE position = 1) WHERE position = 2$$) WHERE violations = 1;
-- an index that lost an entry
SELECT * FROM pg_temp.found_after($$
	UPDATE pg_index SET indisready = false WHERE indexrelid = 'event_log_position_key'::regclass;
	INSERT INTO event_log SELECT 7, stream_id, 2, created_at, '00000000-0000-4000-8000-000000000003', NULL, NULL, 'B', '{}', NULL FROM event_log WHERE position = 4;
	UPDATE pg_index SET indisready = true WHERE indexrelid = 'event_log_position_key'::regclass$$);
-- a mark above what is final, and one that stays behind
SELECT invariant, violations FROM pg_temp.found_after($$UPDATE event_mark SET position = 1000000000000$$);
SELECT * FROM pg_temp.found_after($$UPDATE event_mark SET position = 0$$);
-- tables that were changed
SELECT * FROM pg_temp.found_after($$ALTER TABLE event_log ADD extra int$$);
SELECT * FROM pg_temp.found_after($$ALTER TABLE event_log RENAME version TO number$$);

-- guards that are switched off, gone, or guard only some of the time
BEGIN;
ALTER TABLE event_log DISABLE TRIGGER event_store_no_change;
SELECT * FROM event_store.verify_store() WHERE violations > 0;
ALTER TABLE event_log ENABLE TRIGGER event_store_no_change;
DROP TRIGGER event_store_no_insert ON event_streams;
SELECT * FROM event_store.verify_store() WHERE violations > 0;
ROLLBACK;

-- whoever may not see all of it
CREATE ROLE regress_es_verifier;
SET ROLE regress_es_verifier;
SELECT * FROM event_store.verify_store('verified');
RESET ROLE;
SELECT event_store.grant_store('verified', 'regress_es_verifier', 'reader');
SET ROLE regress_es_verifier;
SELECT sum(violations) FROM event_store.verify_store('verified');
RESET ROLE;
BEGIN;
ALTER TABLE event_log ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_es_verifier;
SELECT * FROM event_store.verify_store('verified');
ROLLBACK;
SELECT * FROM event_store.verify_store('nowhere');
SET search_path = public;
SELECT * FROM event_store.verify_store();

DROP OWNED BY regress_es_verifier;
DROP ROLE regress_es_verifier;
SELECT event_store.drop_store('verified', 'verified');
