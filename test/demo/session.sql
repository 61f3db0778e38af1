-- One of the sessions that replay the log: the cases that hash to it, in the order of time. \gexec sends every row of the
-- result to the server as a statement of its own, so each event is one call, one round trip and one transaction.
SELECT format('SELECT event_store.append_event(%L, %L, %L, %L, expected => %s, created_at => %L),
	event_store.telemetry_execute(''replay.event'', metadata => %L)',
	stream, type, data, metadata, expected, created_at, jsonb_build_object('type', type))
FROM replay.event
WHERE (hashtext(stream) & 2147483647) % :sessions = :session
ORDER BY created_at, line
\gexec
