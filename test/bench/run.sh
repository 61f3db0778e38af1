#!/bin/bash
# make bench: what the extension costs against plain PostgreSQL, on a private server, in about five minutes.
# The table and plots of it are left in build/bench.
#   BENCH_SECS  seconds a slice (3)     BENCH_REPS  repetitions (3)     BENCH_ONLY  run only the work whose name matches
# Each piece of work runs in slices, the floor's and ours in turn, and a ratio is the median over the repetitions of the ratio
# inside one repetition: what else the machine does then falls on both. First in rank is the CPU time of the server's
# processes a call, which neighbours disturb least; it is what the postmaster has collected from children that ended. Where
# even that is too noisy, instructions.sh beside this counts instructions.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/work.sh"

secs=${BENCH_SECS:-3}
reps=${BENCH_REPS:-3}
plots=$here/../../build/bench     # the table and its plots

# work clients synchronous_commit
cells=(
	'append_one 1 off' 'append_one 8 off' 'append_one 32 off' 'append_one 1 on' 'append_one 8 on' 'append_one 32 on'
	'append_10 1 off' 'append_10 8 off' 'append_100 1 off'
	'append_condition 1 off' 'append_condition 8 off'
	'read_stream 1 off' 'read_all 1 off'
	'append_json 1 off' 'append_bytes 1 off' 'read_stream_json 1 off' 'read_stream_bytes 1 off' 'read_all_json 1 off'
	'hot_stream 8 on' 'hot_stream 32 on'
	'import_table 1 off' 'import_file 1 off'
	'queue_1 1 off' 'queue_10 1 off' 'queue_100 1 off'
)

# make_archive KIND: 100 events in each stream to read, ten at a time over all streams as they might have arrived, the same on both
# sides, with data as jsonb, json or bytea
make_archive() {
	sql -v table="archive_$1" -v payload="$1" -f - <"$here/floor.sql"
	sql -v events="$(events 10 "$1")" -v first=$first -v streams=$streams -v kind="$1" -f - <<-'END' >/dev/null
		SELECT event_store.create_store('archive_' || :'kind', payload => :'kind');
		SELECT set_config('search_path', 'archive_' || :'kind', false);
		SELECT count(event_store.append((:first + n)::text, :'events'::text, turn * 10))
		FROM generate_series(0, 9) turn, generate_series(0, :streams - 1) n;
		INSERT INTO floor.archive_:kind (stream_id, version, position, event_id, event_type, data, metadata, created_at)
		SELECT stream::bigint, version, position, event_id, type, data, metadata, created_at
		FROM event_store.read_all_as(NULL:::kind, max_count => 1000000);
		VACUUM ANALYZE;
	END
}

lines=200000                # of an import

# make_lines: what an import reads, as a table and as a file: the streams alternate, so no two lines in a row are of one. The
# floor's file has an event id more, which the store makes itself.
make_lines() {
	sql -v lines=$lines -v streams=$streams -v data="$data" -v metadata="$metadata" -f - <<-END
		CREATE TABLE public.lines (line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text, version bigint, type text,
			data jsonb, metadata jsonb, created_at timestamptz);
		INSERT INTO public.lines (stream, version, type, data, metadata, created_at)
		SELECT (mod(n, :streams) + 1)::text, n / :streams + 1, 'OrderPlaced', :'data', :'metadata', now()
		FROM generate_series(0, :lines - 1) n;
		CREATE UNLOGGED TABLE public.file (LIKE public.lines INCLUDING ALL);
		VACUUM ANALYZE public.lines;
		COPY (SELECT stream, version, type, data, metadata, created_at FROM public.lines ORDER BY line) TO '$ES_RUN/lines';
		COPY (SELECT stream, version, type, data, metadata, created_at, '$id' FROM public.lines ORDER BY line) TO '$ES_RUN/lines.floor';
	END
}

# import_script SYSTEM WORK: the SQL that takes all lines into an empty store or table
import_script() {
	case $1-$2 in
		floor-import_table) cat <<-END ;;
			INSERT INTO floor.event (stream_id, version, event_id, event_type, data, metadata, created_at)
			SELECT stream::bigint, version, '$id', type, data, metadata, created_at FROM public.lines ORDER BY line;
		END
		floor-import_file) cat <<-END ;;
			COPY floor.event (stream_id, version, event_type, data, metadata, created_at, event_id) FROM '$ES_RUN/lines.floor';
		END
		event_store-import_table) echo "CALL event_store.import_events('public.lines');" ;;
		event_store-import_file) cat <<-END ;;
			COPY public.file (stream, version, type, data, metadata, created_at) FROM '$ES_RUN/lines';
			CALL event_store.import_events('public.file');
		END
	esac
}

queued=10000                # the last events of the archive, as work to be done

# queue_script SYSTEM N: the SQL that does all of it, N at a time: taken in one transaction, done in the next. The floor's queue is
# a table of jobs with SKIP LOCKED, which knows no order, no retry and no end of its attempts.
queue_script() {
	local take done
	case $1 in
		floor)
			take="WITH taken AS (UPDATE floor.queue SET taken_by = 'c', until = now() + interval '30 s', attempts = attempts + 1 WHERE position IN
				(SELECT position FROM floor.queue WHERE until IS NULL OR until < now() ORDER BY position LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING position, data)
				SELECT array_agg(position), count(data) INTO work, n FROM taken"
			done="DELETE FROM floor.queue WHERE position = ANY (work)" ;;
		event_store)
			take="SELECT array_agg(position), count(data) INTO work, n FROM event_store.fetch('queue', 'c', $2, '0')"
			done="PERFORM event_store.ack('queue', 'c', work)" ;;
	esac
	cat <<-END
		DO \$\$
		DECLARE
			work bigint[];
			n bigint;
		BEGIN
			LOOP
				$take;
				COMMIT;
				EXIT WHEN n = 0;
				$done;
				COMMIT;
			END LOOP;
		END \$\$;
	END
}

# make_queue: all of it still to be done
make_queue() {
	sql -v queued=$queued -f - <<-'END' >/dev/null
		DROP TABLE IF EXISTS floor.queue;
		CREATE TABLE floor.queue (position bigint PRIMARY KEY, stream_id bigint, event_type text, data jsonb, metadata jsonb, until timestamptz, attempts int DEFAULT 0, taken_by text);
		INSERT INTO floor.queue SELECT position, stream_id, event_type, data, metadata FROM floor.archive_jsonb
		WHERE position > (SELECT max(position) FROM floor.archive_jsonb) - :queued ORDER BY position;
		SET search_path = archive_jsonb;
		SELECT event_store.create_subscription('queue', if_not_exists => true);
		SELECT event_store.delete_subscription('queue');
		SELECT event_store.create_subscription('queue', start_from => (event_store.head() - :queued)::text);
		VACUUM ANALYZE floor.queue, archive_jsonb.event_deliveries, archive_jsonb.event_subscriptions;
	END
}

wal() { sql -c "SELECT pg_current_wal_insert_lsn() - '0/0'"; }

# slice REP SYSTEM WORK CLIENTS SYNC: run one slice, add its line to the results
slice() {
	local system=$2 what=$3 clients=$4 sync=$5 n=1 store=bench kind=jsonb hot=off events=[] cpu0 cpu1 wal0 wal1 calls tps started
	[[ $system-$what != event_store-hot_stream ]] || hot=on
	case $what in *_json) kind=json ;; *_bytes) kind=bytea ;; esac
	case $what in
		read_* | queue_*) store=archive_$kind ;;
		append_[0-9]*) n=${what#append_} events=$(events "$n") ;;
	esac
	[[ $store == archive_* ]] || make_event_tables "$what" "$kind"
	if [[ $what == import_* ]]; then
		sql -f - <<-'END' >/dev/null
			TRUNCATE floor.event, public.file RESTART IDENTITY;
			SELECT event_store.drop_store('bench', 'bench');
			SELECT event_store.create_store('bench');
		END
	fi
	[[ $what != queue_* ]] || make_queue
	wal0=$(wal)
	sleep 0.2               # until the last psql's process has ended and is counted
	cpu0=$(children_cpu)
	if [[ $what == import_* ]]; then
		started=${EPOCHREALTIME/./}
		{ echo "SET search_path = $store, public; SET synchronous_commit = $sync;"; import_script "$system" "$what"; } | sql -f - >/dev/null
		calls=$lines
		tps=$((lines * 1000000 / (${EPOCHREALTIME/./} - started)))
	elif [[ $what == queue_* ]]; then
		started=${EPOCHREALTIME/./}
		{ echo "SET search_path = $store, public; SET synchronous_commit = $sync;"; queue_script "$system" "${what#queue_}"; } | sql -f - >/dev/null
		calls=$queued
		tps=$((queued * 1000000 / (${EPOCHREALTIME/./} - started)))
	else
		script "$system" "$what" | PGOPTIONS="-c search_path=$store -c synchronous_commit=$sync -c event_store.hot_streams=$hot" es_as_postgres pgbench \
			-n -M prepared -c "$clients" -j $((clients < 2 ? 1 : 2)) -T "$secs" -D first=$first -D k=$((streams / clients)) -D i=0 -D n="$n" \
			-D data="$data" -D metadata="$metadata" -D id=$id -D events="$events" -f - >"$work/pgbench" 2>&1 || { cat "$work/pgbench" >&2; exit 1; }
		calls=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench")
		tps=$(sed -n 's/^tps = \([0-9.]*\) .*/\1/p' "$work/pgbench")
	fi
	sleep 0.2
	cpu1=$(children_cpu)
	wal1=$(wal)
	echo "$1 $system $what.$clients.$sync calls=$calls rate=$tps ticks=$((cpu1 - cpu0)) wal=$((wal1 - wal0))" >>"$work/results"
}

es_setup
es_build
es_server_start -c fsync=on -c shared_buffers=1GB -c wal_buffers=64MB -c max_wal_size=4GB -c checkpoint_timeout=60min -c jit=off \
	-c autovacuum=off -c max_connections=100 \
	-c event_store.session_max=100000 -c event_store.shared_pool_size=64MB
work=$ES_RUN
postmaster=$(head -n 1 "$ES_DATA/postmaster.pid")
es_psql -q -d postgres -c 'CREATE DATABASE bench'
export PGDATABASE=bench
sql -c "CREATE EXTENSION event_store"
kinds='jsonb json bytea'
case ${BENCH_ONLY:-} in
	model) ;;
	deliver) kinds=jsonb ;;
	*) make_lines ;;
esac
for kind in $kinds; do
	make_archive "$kind"
	# the log and its indexes; the streams' names come on top, a row a stream
	for table in "archive_$kind.event_log" "floor.archive_$kind"; do
		if [[ $table == floor.* ]]; then system=floor; else system=event_store; fi
		sql -c "SELECT '1 $system archive_$kind bytes=' || pg_total_relation_size('$table') / 100000.0" >>"$work/results"
	done
done

for ((rep = 1; rep <= reps; rep++)); do
	for cell in "${cells[@]}"; do
		[[ $cell =~ ${BENCH_ONLY:-.} ]] || continue
		printf '%s: repetition %d of %d, %s\n' bench "$rep" "$reps" "$cell" >&2
		# who goes first changes, in case one slice leaves work to the next
		if ((rep % 2)); then order=(floor event_store); else order=(event_store floor); fi
		for system in "${order[@]}"; do slice "$rep" "$system" $cell; done
	done
done
if [[ -s $work/results ]]; then
	mkdir -p "$plots"
	perl "$here/summary.pl" "$(getconf CLK_TCK)" "$work/results" | tee "$plots/bench.txt"
	for plot in 'cpu:us CPU' 'rate:calls/s'; do
		file=$plots/bench_${plot%%:*}.svg
		perl "$here/plot.pl" "${plot#*:}" "event_store beside plain PostgreSQL" <"$plots/bench.txt" >"$file" 2>/dev/null || rm -f "$file"
	done
fi
if [[ model =~ ${BENCH_ONLY:-.} ]]; then . "$here/model.sh"; fi
if [[ telemetry =~ ${BENCH_ONLY:-.} ]]; then
	echo
	sql -v calls=2000 -v rounds=$((reps * 10)) -v samples=10000000 -f - <"$here/telemetry.sql"
fi
if [[ session =~ ${BENCH_ONLY:-.} ]]; then
	echo
	sql -v sessions=100000 -f - <"$here/session.sql"
fi
if [[ registry =~ ${BENCH_ONLY:-.} ]]; then
	echo
	sql -c "SELECT event_store.registry_create('bench')" -c "SELECT event_store.register('bench', 'k', '{}')" -c "SELECT pg_sleep(3600)" >/dev/null 2>&1 &
	holder=$!
	until [[ $(sql -c "SELECT event_store.registry_count('bench')" 2>/dev/null) == 1 ]]; do sleep 0.1; done
	pgbench_rate() { # CLIENTS, the script on stdin
		es_as_postgres pgbench -n -M prepared -c "$1" -j 2 -T "$secs" -f - 2>&1 | sed -n 's/^tps = \([0-9]*\).*/\1/p'
	}
	lookups=$(echo 'SELECT pid FROM event_store.lookup('"'bench'"', '"'k'"');' | pgbench_rate 8)
	selects=$(echo 'SELECT 1;' | pgbench_rate 8)
	echo "registry lookups by 8 clients: $lookups a second, where SELECT 1 has $selects"
	sql -c "SELECT pg_terminate_backend(pid) FROM event_store.lookup('bench', 'k')" >/dev/null
	wait $holder || true
fi
if [[ task =~ ${BENCH_ONLY:-.} ]]; then
	echo
	make_event_tables
	sql -v samples=500 -v what=idle -f - <"$here/task.sql"
	script event_store append_one | PGOPTIONS="-c search_path=bench -c synchronous_commit=off" es_as_postgres pgbench -n -M prepared -c 8 -j 2 \
		-T 30 -D first=$first -D k=$((streams / 8)) -D i=0 -D n=1 -D data="$data" -D metadata="$metadata" -D id=$id -D events=[] \
		-f - >"$work/pgbench" 2>&1 &
	sql -v samples=200 -v what='beside 8 clients that append' -f - <"$here/task.sql"
	wait $! || { cat "$work/pgbench" >&2; exit 1; }
fi
if [[ deliver =~ ${BENCH_ONLY:-.} ]]; then . "$here/deliver.sh"; fi
