\set stream :first + :client_id * :k + mod(:i, :k)
\set i :i + 1
SELECT event_store.append_event(CAST(:stream AS text), 'SeatTaken', CAST(:data AS text), format('{"tags": ["course:%s", "seat:%s-%s"]}', CAST(:stream AS text), CAST(:client_id AS text), CAST(:i AS text)));
