# Handlers in the workers of the server: how fast they go through a log of 100,000 events, a rebuild beside a plain INSERT ... SELECT of
# the same rows, the time from a commit to its effect, and what idle handlers and subscriptions cost an append. Every worker commits
# durably. A number is the median of the repetitions. Run by run.sh, which has the server, the archive, $work, $reps and the functions of
# work.sh.
# shellcheck shell=bash disable=SC2154

deliver() { sql -c "SET search_path = archive_jsonb, public" "${@/#/-c}" >/dev/null; }

# median: of the numbers on stdin, and their range
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%d (%d-%d)", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2, v[1], v[NR] }'; }

# pace STATEMENT...: events of the archive a second, from the first statement to the end of the last; prints the median
pace() {
	local i started
	for ((i = 0; i < reps; i++)); do
		deliver "TRUNCATE copied" "CHECKPOINT"
		started=${EPOCHREALTIME/./}
		deliver "$@"
		echo $((100000 * 1000000 / (${EPOCHREALTIME/./} - started)))
		deliver "SELECT event_store.handler_delete(name) FROM (SELECT DISTINCT name FROM event_store.handlers WHERE name <> 'rebuilt') h"
	done | median
}

deliver "CREATE TABLE copied (position bigint PRIMARY KEY, stream text, total numeric)" \
	"CREATE FUNCTION copy_one(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN
		INSERT INTO copied VALUES (event.position, event.stream, (event.data ->> 'total')::numeric);
	END \$\$" \
	"CREATE FUNCTION copy_batch(events event_store.recorded_event[]) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN
		INSERT INTO copied SELECT position, stream, (data ->> 'total')::numeric FROM unnest(events);
	END \$\$"
reached="SELECT event_store.wait_for(handlers => '{copy}', timeout => '10 min')"
insert="INSERT INTO copied SELECT position, stream_name, (data ->> 'total')::numeric FROM event_log JOIN event_streams USING (stream_id)"
printf '\n%s\n' 'events a second, each a row of another table (median and range)'
printf '%-48s %s\n' 'event handler, 100 a commit' \
	"$(pace "SELECT event_store.register_handler('copy', 'copy_one')" "$reached")"
printf '%-48s %s\n' 'event handler, 1000 a commit' \
	"$(pace "SELECT event_store.register_handler('copy', 'copy_one', batch_size => 1000)" "$reached")"
printf '%-48s %s\n' 'batch handler, 1000 a batch' \
	"$(pace "SELECT event_store.register_handler('copy', 'copy_batch', kind => 'batch', batch_size => 1000)" "$reached")"
printf '%-48s %s\n' 'event handler in 4 partitions, 1000 a commit' \
	"$(pace "SELECT event_store.register_handler('copy', 'copy_one', concurrency => 4, batch_size => 1000)" "$reached")"
printf '%-48s %s\n' 'plain INSERT ... SELECT' "$(pace "$insert")"
deliver "TRUNCATE copied" "SELECT event_store.register_projection('rebuilt', '{copied}', 'copy_one', batch_size => 1000)" \
	"SELECT event_store.wait_for(handlers => '{rebuilt}', timeout => '10 min')"
printf '%-48s %s\n' 'rebuild of a projection' "$(pace "SELECT event_store.projection_rebuild('rebuilt')" "DO \$\$ BEGIN
	WHILE EXISTS (SELECT FROM event_store.projection_rebuilds) LOOP COMMIT; PERFORM pg_sleep(0.01); END LOOP; END \$\$")"
[[ $(sql -c "SELECT count(*) FROM archive_jsonb.copied") == 100000 ]] || { echo 'bench: the rebuild has lost rows' >&2; exit 1; }
deliver "SELECT event_store.handler_delete('rebuilt')"

echo
make_event_tables append_one
sql -v samples=500 -v what='nothing else to do' -f - <"$here/deliver.sql"

# appends: those of one client a second
appends() {
	script event_store append_one | PGOPTIONS="-c search_path=bench -c synchronous_commit=off" es_as_postgres pgbench -n -M prepared -c 1 -T "$secs" \
		-D first=$first -D k=$streams -D i=0 -D n=1 -D data="$data" -D metadata="$metadata" -D id=$id -D events=[] \
		-f - >"$work/pgbench" 2>&1 || { cat "$work/pgbench" >&2; exit 1; }
	sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/pgbench"
}
# in turn, so that what else the machine does falls on all of them
for ((rep = 0; rep < reps; rep++)); do
	for idle in nothing subscriptions handlers; do
		make_event_tables append_one
		case $idle in
			subscriptions) sql -c "SET search_path = bench" \
				-c "SELECT event_store.create_subscription('idle' || n, category => 'other') FROM generate_series(1, 100) n" ;;
			handlers) sql -c "SET search_path = bench" \
				-c "SELECT event_store.register_handler('idle' || n, 'archive_jsonb.copy_one', category => 'other') FROM generate_series(1, 100) n" ;;
		esac >/dev/null
		appends >>"$work/beside_$idle"
		[[ $idle != handlers ]] || sql -c "SELECT event_store.handler_delete('idle' || n) FROM generate_series(1, 100) n" >/dev/null
	done
done
printf '\n%s\n' 'appends a second of one client, who does not wait for the disk (median and range)'
printf '%-48s %s\n' 'nothing beside them' "$(median <"$work/beside_nothing")" \
	'beside 100 subscriptions that nobody uses' "$(median <"$work/beside_subscriptions")" \
	'beside 100 handlers of another category' "$(median <"$work/beside_handlers")"
