# What it costs to fold events in the database, against sending them to a client and against a plain aggregate over the same rows; and
# a dispatch against the same steps sent by a client. One client on a Unix socket; a number is the least of the repetitions. Run by
# run.sh, which has the server, $work, $reps, children_cpu and the functions of work.sh.
# shellcheck shell=bash disable=SC2046

# time_of CALLS SETTINGS...: of the pgbench script on stdin, milliseconds of server CPU and of the clock a transaction
time_of() {
	local calls=$1 ms cpu i
	cat >"$work/script"
	chmod a+r "$work/script"
	for ((i = 0; i < reps; i++)); do
		sleep 0.2               # until the last process has ended and is counted
		cpu=$(children_cpu)
		PGOPTIONS="-c search_path=folded,public -c synchronous_commit=off" es_as_postgres pgbench -n -M prepared -c 1 -t "$calls" "${@:2}" \
			-D i="$((i * calls))" -f "$work/script" >"$work/pgbench" 2>&1 || { cat "$work/pgbench" >&2; exit 1; }
		sleep 0.2
		ms=$(sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p' "$work/pgbench")
		echo "$((($(children_cpu) - cpu) * 1000 / $(getconf CLK_TCK))) $calls $ms"
	done | awk '{ c = $1 / $2; if (NR == 1 || c < cpu) cpu = c; if (NR == 1 || $3 < ms) ms = $3 } END { printf "%.3f %.3f\n", cpu, ms }'
}

sql -v events="$(events 10)" -f - <"$here/model.sql" >/dev/null
printf '\n%-48s %15s %15s %15s\n' 'ms of server CPU and of the clock, for' '100' '1000' '10000 events'
# row TEXT QUERY: @ in the query is the number of events
row() {
	local n line=
	for n in 100 1000 10000; do
		line+=$(printf ' %7s %7s' $(time_of $((200000 / n + 20)) <<<"${2//@/$n};"))
	done
	printf '%-48s%s\n' "$1" "$line"
}
for name in c sql plpgsql sql_jsonb plpgsql_row; do
	row "rehydrate, apply function $name" "SELECT * FROM event_store.rehydrate('$name', '@')"
done
of="FROM event_log WHERE stream_id = (SELECT stream_id FROM event_streams WHERE stream_name = 's-@')"
row 'plain SQL: sum over the stream' "SELECT sum((data -> 'total')::numeric) $of"
row 'sent to a client, which folds nothing' "SELECT event_type, data $of ORDER BY version"
row 'the same through read_stream' "SELECT type, data FROM event_store.read_stream('s-@', max_count => NULL)"

printf '\n%s\n' 'the same for a command on an aggregate of 10 events'
printf '%-48s %7s %7s\n' dispatch $(time_of 1000 -D data="$data" <<-'END'
	\set i :i + 1
	SELECT version FROM event_store.dispatch('Place', jsonb_build_object('id', 'd' || (:i)::text, 'data', (:data)::jsonb));
END
)
printf '%-48s %7s %7s\n' 'the steps sent by a client: read, append' $(time_of 1000 -D data="$data" <<-'END'
	\set i :i + 1
	BEGIN;
	SELECT version, type, data FROM event_store.read_stream('s-d' || (:i)::text);
	SELECT version FROM event_store.stream_info('s-d' || (:i)::text) \gset
	SELECT last_version FROM event_store.append_event('s-d' || (:i)::text, 'OrderPlaced', (:data)::text, expected => (:version)::bigint);
	COMMIT;
END
)
