\set after random(0, 99000)
SELECT position, stream, version, event_id, type, data, metadata, created_at FROM event_store.read_all(:after, 1000);
