#!/bin/bash
# What an append and a read cost in a small and in a large log, ours and the floor's (see run.sh), in server CPU a call.
#   bash test/bench/flat.sh
#   BENCH_EVENTS  sizes of the log, smallest first ("1000 1000000"; 20000000 takes 30 GB and half an hour)
#   BENCH_SECS    seconds a slice of reads (3)     BENCH_REPS  repetitions (3)
# Each stream has 100 events. Appends go to ten streams spread over the log, so that what a session learns of a stream at its
# first append to it does not count; reads begin anywhere. What grows with the depth of an index
# grows on both sides: the ratio of ours to the floor's should stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/work.sh"

sizes=${BENCH_EVENTS:-1000 1000000}
secs=${BENCH_SECS:-3}
reps=${BENCH_REPS:-3}
calls=20000                 # of an append slice: a small log must not become a large one

# fill SIZE: so many events on both sides, ten at a time over all streams
fill() {
	local turn
	sql -v table="flat_$1" -f - <"$here/floor.sql"
	sql -v size="$1" -f - <<-'END' >/dev/null
		SELECT event_store.drop_store(schema, schema) FROM event_store.stores WHERE schema = 'flat_' || :'size';
		SELECT event_store.create_store('flat_' || :'size');
	END
	for ((turn = 0; turn < 10; turn++)); do
		sql -v size="$1" -v events="$(events 10)" -v first=$first -f - <<-'END' >/dev/null
			SELECT set_config('search_path', 'flat_' || :'size', false);
			SELECT count(event_store.append((:first + n)::text, :'events'::text)) FROM generate_series(0, :size / 100 - 1) n;
		END
	done
	sql -v size="$1" -f - <<-'END' >/dev/null
		INSERT INTO floor.flat_:size (stream_id, version, position, event_id, event_type, data, metadata, created_at)
		SELECT s.stream_name::bigint, l.version, l.position, l.event_id, l.event_type, l.data, l.metadata, l.created_at
		FROM flat_:size.event_log l JOIN flat_:size.event_streams s USING (stream_id) ORDER BY l.position;
		SELECT setval(pg_get_serial_sequence('floor.flat_' || :'size', 'position'), (SELECT max(position) FROM floor.flat_:size));
		VACUUM ANALYZE floor.flat_:size;
		VACUUM ANALYZE flat_:size.event_log;
		CHECKPOINT;
	END
}

# flat_script SYSTEM WORK SIZE REP
flat_script() {
	local stream="\\set stream $first + random(0, $(($3 / 100 - 1)))" some="\\set stream $first + random(0, 9) * $(($3 / 1000))" after="\\set after random(0, $(($3 > 2000 ? $3 - 1000 : 0)))"
	case $1-$2 in
		event_store-append) printf '%s\nSELECT event_store.append_event(:stream, %s, :data, :metadata);\n' "$some" "'OrderPlaced'" ;;
		floor-append) printf '%s\n\\set i :i + 1\nINSERT INTO floor.flat_%d (stream_id, version, event_id, event_type, data, metadata) VALUES (:stream, :i, :id, %s, :data, :metadata);\n' \
			"$some" "$3" "'OrderPlaced'" ;;
		event_store-read_stream) printf '%s\nSELECT position, version, event_id, type, data, metadata, created_at FROM event_store.read_stream(:stream, max_count => 100);\n' "$stream" ;;
		floor-read_stream) printf '%s\nSELECT position, version, event_id, event_type, data, metadata, created_at FROM floor.flat_%d WHERE stream_id = :stream AND version > 0 ORDER BY version LIMIT 100;\n' "$stream" "$3" ;;
		event_store-read_all) printf '%s\nSELECT position, stream, version, event_id, type, data, metadata, created_at FROM event_store.read_all(:after, 1000);\n' "$after" ;;
		floor-read_all) printf '%s\nSELECT position, stream_id, version, event_id, event_type, data, metadata, created_at FROM floor.flat_%d WHERE position > :after ORDER BY position LIMIT 1000;\n' "$after" "$3" ;;
	esac
}

# measure REP SYSTEM WORK SIZE: adds a line of server CPU a call, in us, to the results
measure() {
	local length=(-T "$secs") cpu0 n
	[[ $3 != append ]] || length=(-t "$calls")
	sleep 0.2               # until the last process has ended and is counted
	cpu0=$(children_cpu)
	flat_script "$2" "$3" "$4" | PGOPTIONS="-c search_path=flat_$4 -c synchronous_commit=off" es_as_postgres pgbench -n -M prepared -c 1 \
		"${length[@]}" -D i=$(($1 * 1000000)) -D data="$data" -D metadata="$metadata" -D id=$id -f - >"$work/pgbench" 2>&1 ||
		{ cat "$work/pgbench" >&2; exit 1; }
	n=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench")
	sleep 0.2
	echo "$3 $4 $2 $(((($(children_cpu) - cpu0) * 1000000 / $(getconf CLK_TCK)) * 100 / n))" >>"$work/results"
}

es_setup
es_build
es_server_start -c fsync=on -c shared_buffers=2GB -c wal_buffers=64MB -c max_wal_size=8GB -c checkpoint_timeout=60min -c jit=off -c autovacuum=off
work=$ES_RUN
postmaster=$(head -n 1 "$ES_DATA/postmaster.pid")
es_psql -q -d postgres -c 'CREATE DATABASE bench'
export PGDATABASE=bench
sql -c "CREATE EXTENSION event_store"
for size in $sizes; do fill "$size"; done
for ((rep = 1; rep <= reps; rep++)); do
	for what in read_stream read_all append; do
		for size in $sizes; do
			printf 'flat: repetition %d of %d, %s of %d\n' "$rep" "$reps" "$what" "$size" >&2
			# the first repetition has made a small log larger
			((rep == 1 || size > 100000)) || [[ $what != read_stream ]] || fill "$size"
			for system in floor event_store; do measure "$rep" "$system" "$what" "$size"; done
		done
	done
done

# the middle of each, and how it compares with the smallest log
sort -k1,1 -k2,2n -k3,3 -k4,4n "$work/results" | awk -v reps="$reps" '
	{ key = $1 " " $2 " " $3; n[key]++; if (n[key] == int((reps + 1) / 2)) m[key] = $4 / 100
	  if (!(($1 " " $2) in seen)) { seen[$1 " " $2] = 1; order[++count] = $1 " " $2 } }
	END {
		printf "\n%-14s %10s %12s %12s %8s %18s %18s\n", "us CPU a call", "events", "floor", "ours", "ratio", "floor to smallest", "ours to smallest"
		for (i = 1; i <= count; i++) {
			split(order[i], k, " ")
			if (k[1] != last) { smallest = order[i]; last = k[1] }
			f = m[order[i] " floor"]; o = m[order[i] " event_store"]
			printf "%-14s %10d %12.1f %12.1f %8.2f %18.2f %18.2f\n", k[1], k[2], f, o, o / f, f / m[smallest " floor"], o / m[smallest " event_store"]
		}
	}'
