#!/bin/bash
# Counts the user-mode instructions that the server spends on an append, ours and the floor's (see run.sh; of append_condition the
# floor is the same append without the condition), with valgrind's
# callgrind. Neighbours do not matter; what memory and the kernel cost does not show.
#   bash test/bench/instructions.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/work.sh"

type valgrind >/dev/null 2>&1 || es_die "this needs valgrind"
warm=20                     # streams, each of which gets its first append before anything is counted
settings=(-c shared_buffers=256MB -c wal_buffers=64MB -c max_wal_size=4GB -c checkpoint_timeout=60min -c jit=off -c autovacuum=off)

# instructions SYSTEM WORK CALLS: those of a session that makes so many calls, from its start to its end
instructions() {
	local n=1 kind=jsonb events=[] i skip
	case $2 in
		append_[0-9]*) n=${2#append_} events=$(events "$n") ;;
		append_json) kind=json ;;
		append_bytes) kind=bytea ;;
	esac
	make_event_tables "$2" "$kind"
	skip=$(sessions | wc -l)
	script "$1" "$2" | PGOPTIONS="-c search_path=bench -c synchronous_commit=off" es_as_postgres pgbench -n -M prepared -c 1 -t "$3" \
		-D first=$first -D k=$warm -D i=0 -D n="$n" -D data="$data" -D metadata="$metadata" -D id=$id -D events="$events" \
		-f - >"$work/pgbench" 2>&1 || { cat "$work/pgbench" >&2; exit 1; }
	# pgbench connects twice, first to look around; a count is written while its process ends
	for ((i = 0; i < 300; i++)); do
		mapfile -t pids < <(sessions | tail -n +$((skip + 1)))
		((${#pids[@]} < 2)) || (($(cat "${pids[@]/#/$counts/}" 2>/dev/null | grep -c '^totals: ') < 2)) || break
		sleep 0.2
	done
	cat "${pids[@]/#/$counts/}" | sed -n 's/^totals: //p' | sort -n | tail -n 1
}

# sessions: the processes of pgbench that have disconnected
sessions() { sed -n 's/^\([0-9]*\) pgbench .* disconnection: .*/\1/p' "$work/server.log"; }

es_setup
es_build
es_server_start "${settings[@]}"
es_psql -q -d postgres -c 'CREATE DATABASE bench'
es_server_stop
work=$ES_RUN counts=$ES_RUN/counts
es_as_postgres mkdir "$counts"
es_as_postgres valgrind -q --tool=callgrind --callgrind-out-file="$counts/%p" "$ES_BIN/postgres" -D "$ES_DATA" \
	-c unix_socket_directories="$ES_SOCK" -c log_disconnections=on -c log_line_prefix='%p %a ' "${settings[@]}" >"$work/server.log" 2>&1 &
export PGDATABASE=bench
for ((i = 0; i < 300; i++)); do
	es_psql -qAt -c '' >/dev/null 2>&1 && break
	sleep 0.2
done
sql -c "CREATE EXTENSION event_store"

result=()
printf '\n%-24s %12s %12s  %s\n' 'instructions a call' floor ours ratio
for cell in append_one:400 append_json:400 append_bytes:400 append_10:60 append_100:20 append_condition:400; do
	what=${cell%:*} calls=${cell#*:}
	for system in floor event_store; do
		less=$(instructions "$system" "$what" "$warm")
		more=$(instructions "$system" "$what" $((warm + calls)))
		result+=($(((more - less) / calls)))
	done
	awk -v w="$what" -v f="${result[-2]}" -v o="${result[-1]}" 'BEGIN { printf "%-24s %12d %12d  %.2f\n", w, f, o, o / f }'
done
