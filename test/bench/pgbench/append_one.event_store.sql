\set stream :first + :client_id * :k + mod(:i, :k)
\set expected :i / :k + 1
\set i :i + 1
SELECT event_store.append_event(:stream, 'OrderPlaced', :data, :metadata, :expected);
