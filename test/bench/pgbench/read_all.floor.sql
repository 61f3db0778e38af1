\set after random(0, 99000)
SELECT position, stream_id, version, event_id, event_type, data, metadata, created_at FROM floor.archive_jsonb WHERE position > :after ORDER BY position LIMIT 1000;
