\set stream :first + :client_id * :k + mod(:i, :k)
\set version :i / :k + 2
\set i :i + 1
INSERT INTO floor.event (stream_id, version, event_id, event_type, data, metadata) VALUES (:stream, :version, :id, 'OrderPlaced', :data, :metadata);
