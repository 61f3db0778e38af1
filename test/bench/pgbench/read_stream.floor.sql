\set stream :first + random(0, 999)
SELECT position, version, event_id, event_type, data, metadata, created_at FROM floor.archive_jsonb WHERE stream_id = :stream AND version > 0 ORDER BY version LIMIT 100;
