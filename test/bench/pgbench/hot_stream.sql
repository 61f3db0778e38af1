SELECT event_store.append_event('hot-1', 'OrderPlaced', :data, :metadata);
