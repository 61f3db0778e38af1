\set stream :first + random(0, 999)
SELECT position, version, event_id, type, data, metadata, created_at FROM event_store.read_stream(:stream, max_count => 100);
