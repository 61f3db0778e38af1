#!/bin/bash
# make demo: replay a real event log into a store on a private server, and show what the extension does with it.
# The log is $SHARED/data/receipt.csv.gz where that exists, else orders.csv of this directory. Set DEMO_LOG=orders for the latter.
# LARGE=1 adds a larger one (loans.sh), where $SHARED has it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

sessions=4
receipts=$SHARED/data/receipt.csv.gz
if [[ ${DEMO_LOG:-receipt} != orders && -r $receipts ]]; then
	log=$receipts category=receipt store=permits other=parking
	about="applications for an environmental permit at a Dutch municipality,
   October 2010 to January 2012 (the CoSeLoG project; a case is one application)"
	next_type="Decision sent" late_type="Decision withdrawn" retry_type="Fee paid" live_type="Objection filed"
else
	log=$here/orders.csv category=order store=shop other=wholesale
	about="orders of a web shop in March 2026 (a case is one order)"
	next_type="Order closed" late_type="Order cancelled" retry_type="Invoice sent" live_type="Parcel returned"
fi

# sql ARGS...: psql in a new session, only values on stdout
sql() { es_psql -qAt -v ON_ERROR_STOP=1 "$@"; }

# say SQL...: print each statement as a reader would type it
say() {
	local statement
	for statement; do printf '%s;\n' "$statement"; done | sed 's/^/     /'
}

# try SCHEMA SQL...: run the statements in one new session with SCHEMA on its search_path; print what psql answers, errors too
format=(-P footer=off)
try() {
	local statement args=(-c "SET search_path = $1")
	shift
	for statement; do args+=(-c "$statement"); done
	{ es_psql -q "${format[@]}" "${args[@]}" 2>&1 || true; } | sed -e '/^ *$/d' -e 's/^/       /' -e 's/ *$//'
}

# show SCHEMA SQL...: both, each statement with its answer below it; value is the same for answers of one value
show() {
	local schema=$1 statement
	for statement in "${@:2}"; do
		say "$statement"
		try "$schema" "$statement"
	done
}
value() {
	local format=(-At)
	show "$@"
}

# number N: with a comma every three digits
number() {
	local n=$1
	while [[ $n =~ ^([0-9]+)([0-9]{3}.*)$ ]]; do n=${BASH_REMATCH[1]},${BASH_REMATCH[2]}; done
	echo "$n"
}

seconds_since() { # START, a value of EPOCHREALTIME; prints hundredths
	local us=$((${EPOCHREALTIME/./} - ${1/./}))
	printf '%d.%02d' $((us / 1000000)) $((us / 10000 % 100))
}

rate() { number $(($1 * 1000000 / (${EPOCHREALTIME/./} - ${2/./}))); } # EVENTS START: events a second since then

fail() { echo "demo: $*" >&2; exit 1; }

es_setup
es_build
# what lib.sh turns off for tests: here an acknowledged event is on disk
es_server_start -c fsync=on
work=$ES_RUN
export PGDATABASE=demo
es_psql -q -d postgres -c 'CREATE DATABASE demo'

cat <<END

event_store demo
================
$(sql -c "SELECT 'PostgreSQL ' || split_part(version(), ' ', 2)") on a private server: no port, its own data directory, removed at the end.
The indented lines are the SQL that runs and what psql answers.

1. Make a store
   A store is a schema with a few ordinary tables. The search_path says which store a call means.

END
setup=("CREATE EXTENSION event_store" "SELECT event_store.create_store('$store')")
say "${setup[@]}" "SET search_path = $store"
sql "${setup[@]/#/-c}" >/dev/null
metric="SELECT event_store.metric_counter('replay.events', event => 'replay.event', tags => '{type}')"
cat <<END

   The extension counts what it does (step 11). What else is to be counted is said beforehand:

END
say "$metric"
sql -c "$metric" >/dev/null
echo

# The file's columns become a staging table: one column of text each, ':' in their names written as '_'.
if [[ $log == *.gz ]]; then gzip -dc "$log"; else cat "$log"; fi >"$work/log.csv"
IFS= read -r header <"$work/log.csv"
header=${header%$'\r'}
columns=${header//:/_}
sql -c "CREATE SCHEMA replay" \
	-c "CREATE UNLOGGED TABLE replay.line (line bigint GENERATED ALWAYS AS IDENTITY, ${columns//,/ text, } text)"
sql -c "COPY replay.line ($columns) FROM STDIN (FORMAT csv, HEADER)" <"$work/log.csv"
sql -v category="$category" -f - <"$here/replay.sql"
IFS='|' read -r events streams <<<"$(sql -c "SELECT count(*), count(DISTINCT stream) FROM replay.event")"
# a case to look at: about seven events long, the earliest of these
case=$(sql -c "SELECT stream FROM replay.event GROUP BY stream ORDER BY abs(count(*) - 7), min(created_at) LIMIT 1")

cat <<END
2. Replay a log
   $(number "$events") events of $(number "$streams") $about.
   Each case becomes a stream. $sessions sessions replay the log at once, each event with a call and a transaction of its
   own. "expected => 0" says: the stream has no event yet. Who is wrong about that is refused (step 5). The first call:

     SELECT event_store.append_event('$case', '$(sql -c "SELECT type FROM replay.event WHERE stream = '$case' AND expected = 0")',
       '{...}', '{...}', expected => 0, created_at => '$(sql -c "SELECT created_at FROM replay.event WHERE stream = '$case' AND expected = 0")'),
       event_store.telemetry_execute('replay.event', metadata => '{"type": "..."}');

END
start=$EPOCHREALTIME
loaders=()
for ((i = 0; i < sessions; i++)); do
	{ echo "SET search_path = $store;"; cat "$here/session.sql"; } |
		sql -v sessions=$sessions -v session=$i -f - >/dev/null 2>>"$work/errors" &
	loaders+=($!)
done
printed=$SECONDS
# With half of it stored a table begins to follow the log (step 10); how far it is behind is noted from then on.
followed=
follow() {
	followed=$EPOCHREALTIME followed_at=$stored
	sql -c "SET search_path = $store" -f - <"$here/cases.sql" >/dev/null
}
while
	loading=$(jobs -pr)
	IFS='|' read -r stored lag <<<"$(sql -c "SET search_path = $store" \
		-c "SELECT event_store.head(), (SELECT lag FROM event_store.handlers WHERE name = 'cases')")"
	line="   loading: $(number "$stored") of $(number "$events") events, $(seconds_since "$start") s"
	[[ -z $lag ]] || echo "$(seconds_since "$followed") $stored $lag" >>"$work/lag"
	[[ -n $loading ]]
do
	if [[ -z $followed ]] && ((stored * 2 >= events)); then
		follow
		continue
	fi
	if [[ -t 1 ]]; then
		printf '\r%s ' "$line"
	elif ((SECONDS >= printed + 2)); then
		echo "$line"
		printed=$SECONDS
	fi
	((${lag:-0} > 10)) || sleep 0.1
done
[[ -n $followed ]] || follow       # a short log
for i in "${loaders[@]}"; do wait "$i" || fail "a session could not replay its part: $(<"$work/errors")"; done
took=$(seconds_since "$start") pace=$(rate "$events" "$start")
if [[ -t 1 ]]; then printf '\r%s \n' "$line"; else echo "$line"; fi

cat <<END

   Stored $(number "$events") events in $(number "$streams") streams in $took seconds, the start of the sessions included:
   $(number "$pace") events a second, each of them safe on disk before its session sent the next. The most frequent:

END
show "$store" "SELECT type, count(*) AS events FROM event_store.read_all(max_count => 1000000)
  GROUP BY type ORDER BY events DESC LIMIT 5"
cat <<END

3. Read one case back
   A stream comes in the order of its versions, which start at 1 and have no gaps.

END
show "$store" "SELECT version, created_at, type, metadata ->> 'resource' AS who FROM event_store.read_stream('$case')"
cat <<END

4. Read everything in order
   Every event has a position in its store. A reader keeps the last position it has seen and asks for what follows.
   Nothing can still appear before it, so the reader misses nothing and sees nothing twice.

     SELECT * FROM event_store.read_all(after_position => ..., max_count => 1000);

END
# Page as a client would.
start=$EPOCHREALTIME
after=0
while
	sql -F ' ' -c "SET search_path = $store" \
		-c "SELECT position, version, stream, type, data, metadata, event_id, created_at
			FROM event_store.read_all(after_position => $after, max_count => 1000)" >"$work/page"
	[[ -s $work/page ]]
do
	cat "$work/page" >>"$work/all"
	after=$(tail -n 1 "$work/page") after=${after%% *}
done
took=$(seconds_since "$start") pace=$(rate "$events" "$start")
# Check what came: positions rise, each stream's versions count 1, 2, 3, ..., and the store holds what the file holds.
position=0 arrived=0
declare -A version_of=()
while read -r next version stream _; do
	((next > position)) || fail "position $next came after position $position"
	((version == ${version_of[$stream]:-0} + 1)) || fail "version $version of $stream came out of turn"
	version_of[$stream]=$version
	position=$next
	arrived=$((arrived + 1))
done <"$work/all"
((arrived == events && ${#version_of[@]} == streams)) || fail "$arrived events of ${#version_of[@]} streams came back"
changed=$(sql -c "SET search_path = $store" -c "SELECT count(*) FROM (
	SELECT stream, expected + 1, type, data, metadata, created_at FROM replay.event EXCEPT
	SELECT stream, version, type, data, metadata, created_at FROM event_store.read_all(max_count => 1000000)) x")
[[ $changed == 0 ]] || fail "$changed events are not what was appended"
cat <<END
   Read $(number "$arrived") events in $took seconds, $(number "$pace") a second, and checked them: positions only rise, every stream counts
   1, 2, 3 without a gap, and each event is what the file says.

5. Two writers, one stream
   Anna and Ben both look at $case and find it at the same version. Anna appends first. The answer:
   first and last version, first and last position of what she appended.

END
version=$(sql -c "SET search_path = $store" -c "SELECT event_store.stream_version('$case')")
value "$store" "SELECT event_store.stream_version('$case')" \
	"SELECT event_store.append_event('$case', '$next_type', '{\"by\": \"Anna\"}', expected => $version)"
echo
echo "   Ben decided on what he saw before. He is refused, and nothing of his is stored:"
echo
late="SELECT event_store.append_event('$case', '$late_type', '{\"by\": \"Ben\"}', expected => $version)"
say "$late"
try "$store" "$late" '\echo SQLSTATE :SQLSTATE' | tee "$work/conflict"
grep -q 'SQLSTATE VE001' "$work/conflict" || fail "the second writer was not refused"
echo
echo "   What a web service hands on to Ben's browser: the problem document (RFC 9457), and the headers to send it with."
echo
document="SELECT jsonb_pretty(event_store.try(\$\$$late\$\$))"
headers="SELECT event_store.problem_headers(event_store.last_problem())"
say "$document" "$headers"
(format=(-At) && try "$store" "$document" "$headers") | tee "$work/problem"
grep -q '"status": 409' "$work/problem" || fail "no problem document came"
cat <<END

6. A retry is not a second event
   A caller who got no answer sends the same call again, with the same event id. The second call finds the event stored
   and answers what the first did; the version stays.

END
version=$((version + 1))
retry="SELECT event_store.append_event('$case', '$retry_type', '{\"by\": \"Anna\"}', expected => $version,
  event_id => '3f0c9a52-6f0e-4b1c-9d0a-5b8f5b0c8c11')"
value "$store" "$retry" "$retry" "SELECT event_store.stream_version('$case')"
[[ $(sql -c "SET search_path = $store" -c "SELECT event_store.stream_version('$case')") == $((version + 1)) ]] ||
	fail "the retry was not recognised"
cat <<END

7. A follower
   One session waits for what follows the last event: poll() answers as soon as there is something. Another session
   appends. The follower's answer says how long after the beginning of that append it had the event.

END
head=$(sql -c "SET search_path = $store" -c "SELECT event_store.head()")
follow="SELECT position, stream, type, clock_timestamp() - created_at AS after
  FROM event_store.poll(after_position => $head, timeout => '20 s')"
say "$follow"
try "$store" "$follow" >"$work/follower" &
follower=$!
# the follower has to be waiting before the append is sent
for ((i = 0; i < 100; i++)); do
	waiting=$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event IS NOT NULL AND query ~ 'store.poll'")
	[[ $waiting == 0 ]] || break
	sleep 0.05
done
value "$store" "SELECT event_store.append_event('$case', '$live_type')"
wait $follower
cat "$work/follower"
grep -q "$live_type" "$work/follower" || fail "the follower saw nothing"
cat <<END

8. Two tenants, the same calls
   Another department becomes a tenant: a schema with a store of its own. The first one's store becomes a tenant's too. The log
   is replayed for the other as well, every tenth case of it; then the same query is asked for each.

END
tenants=("SELECT event_store.create_tenant('$other')" "SELECT event_store.attach_tenant('$store')")
say "${tenants[@]}"
sql "${tenants[@]/#/-c}" >/dev/null
sql -c "SELECT event_store.tenant_use_session('$other')" -c "
	SELECT count(event_store.append_event(stream, type, data, metadata, expected => expected, created_at => created_at))
	FROM (SELECT *, dense_rank() OVER (ORDER BY stream) AS n FROM replay.event) e WHERE n % 10 = 0" >/dev/null
each="SELECT t.name, e.* FROM event_store.tenants t, event_store.with_tenant(t.name, 'SELECT count(*), count(DISTINCT stream),
    event_store.stream_version(''$case'') FROM event_store.read_all(max_count => 1000000)') AS e(events bigint, cases bigint, \"$case\" bigint)
  ORDER BY t.name"
show public "$each"
[[ $(sql -c "SELECT count(*) = 2 AND count(DISTINCT events) = 2 AND min(events) > 0 FROM (${each%%ORDER BY*}) x") == t ]] ||
	fail "the tenants did not answer each for itself"
across="SELECT count(*) FROM $store.event_log"
echo
echo "   A statement of one tenant that reaches for the other's table is refused, a superuser's too:"
echo
say "SELECT event_store.tenant_use_session('$other')" "$across"
sql -c "SELECT event_store.tenant_use_session('$other')" -c '\set VERBOSITY terse' -c "$across" 2>&1 | tail -n 1 | sed 's/^/       /' |
	tee "$work/guard" || true
grep -q "touches tenant" "$work/guard" || fail "the guard let a statement through"
cat <<END

9. What a case is, now and then
   State is not stored, it follows from the events: say once how one event changes it, in a function, and ask for the state as it
   is, or as it was. A function in SQL like this one is folded without a call.

END
apply="CREATE FUNCTION apply_case(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
  RETURN jsonb_build_object('steps', (state -> 'steps')::int + 1, 'last step', type)"
register="SELECT event_store.register_aggregate('case', apply => 'apply_case', initial => '{\"steps\": 0}', prefix => '')"
say "$apply" "$register"
sql -c "SET search_path = $store" -c "$apply" -c "$register" >/dev/null
show $store "SELECT * FROM event_store.rehydrate('case', '$case')" "SELECT * FROM event_store.rehydrate('case', '$case', as_of_version => 3)"
start=$EPOCHREALTIME
wrong=$(sql -c "SET search_path = $store" -c "
	WITH truth AS (SELECT stream_name, count(*) AS steps, (array_agg(event_type ORDER BY version DESC))[1] AS last
		FROM event_log JOIN event_streams USING (stream_id) GROUP BY stream_name)
	SELECT count(*) FROM event_store.aggregates('case', (SELECT array_agg(stream_name) FROM truth)) a JOIN truth ON stream_name = id
	WHERE state <> jsonb_build_object('steps', steps, 'last step', last) OR version <> steps")
[[ $wrong == 0 ]] || fail "$wrong states are not what the events say"
took=$(seconds_since "$start")
cases=$(sql -c "SET search_path = $store" -c "SELECT count(*) FROM event_streams")
cat <<END

   All $(number "$cases") cases folded in $took seconds; their states are what a query over all events says.
END
cat <<END

10. A table that a worker keeps
   For queries the cases shall stand in a table. When step 2 had stored $(number "$followed_at") events, another session said how an event
   changes it:

END
sed -e '/^--/d' -e 's/^/     /' "$here/cases.sql"
cat <<END

   From then on a worker of the server brought the table up to date, from the first event on. How far it was behind the end of
   the log, which the sessions of step 2 moved on meanwhile:

END
# step 2 may have ended before it got there
for ((i = 0; i < 600; i++)); do
	[[ ! -s $work/lag || $(tail -n 1 "$work/lag") != *' 0' ]] || break
	sql -F ' ' -c "SET search_path = $store" \
		-c "SELECT '$(seconds_since "$followed")', event_store.head(), lag FROM event_store.handlers WHERE name = 'cases'" >>"$work/lag"
done
awk -f "$here/lag.awk" "$work/lag" || fail "the table never came up to date"
cat <<END

   The table gets another column, so the function is another. The worker builds a new table beside the one in use, from the
   first event on, and then puts it in its place; who reads meanwhile reads the old one.

END
rebuild=("ALTER TABLE cases ADD last_by text"
	"CREATE OR REPLACE FUNCTION keep_case(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN
  INSERT INTO cases VALUES (event.stream, 1, event.type, event.metadata ->> 'resource')
  ON CONFLICT (stream) DO UPDATE SET steps = cases.steps + 1, last_step = excluded.last_step, last_by = excluded.last_by;
END \$\$"
	"SELECT event_store.projection_rebuild('cases')")
say "${rebuild[@]}"
start=$EPOCHREALTIME
sql -c "SET search_path = $store" "${rebuild[@]/#/-c}" >/dev/null
for ((i = 0; i < 600; i++)); do
	[[ $(sql -c "SET search_path = $store" -c "SELECT count(*) FROM event_store.projection_rebuilds") != 0 ]] || break
done
cat <<END

   That took $(seconds_since "$start") seconds. The table beside what plain SQL over the log says:

END
same="SELECT count(*) AS cases, count(*) FILTER (WHERE to_jsonb(c) = to_jsonb(l)) AS equal FROM cases c FULL JOIN
  (SELECT stream_name AS stream, count(*)::int AS steps, (array_agg(event_type ORDER BY version DESC))[1] AS last_step,
    (array_agg(e.metadata ->> 'resource' ORDER BY version DESC))[1] AS last_by
  FROM event_log e JOIN event_streams USING (stream_id) GROUP BY stream_name) l USING (stream)"
sql -c "SET search_path = $store" -c "SELECT event_store.wait_for(handlers => '{cases}', timeout => '1 min')" >/dev/null
show "$store" "$same"
[[ $(sql -c "SET search_path = $store" -c "SELECT cases = $streams AND equal = cases FROM ($same) x") == t ]] ||
	fail "the table is not what the log says"
echo
echo "   They are equal: all $(number "$streams") rows."
cat <<END

11. What was counted
   All of this run, in shared memory: no table was written for it, and no event is read now. Appends by how they ended:

END
show "$store" "SELECT tags ->> 'store' AS store, tags ->> 'outcome' AS outcome, value AS appends FROM event_store.counters
  WHERE name = 'event_store_append_calls' AND value > 0 ORDER BY 1, 2"
[[ $(sql -c "SELECT value >= 1 FROM event_store.counters
	WHERE name = 'event_store_append_calls' AND tags @> '{\"store\": \"$store\", \"outcome\": \"conflict\"}'") == t ]] || fail "the conflict was not counted"
echo
echo "   Events of the replay by type, the metric of step 1; it counts what commits:"
echo
show "$store" "SELECT tags ->> 'type' AS type, value AS events FROM event_store.counters
  WHERE name = 'replay.events' ORDER BY events DESC LIMIT 5"
[[ $(sql -c "SELECT sum(value) FROM event_store.counters WHERE name = 'replay.events'") == "$events" ]] || fail "not every event was counted"
echo
echo "   How long the appends took, from the lock of the stream to the row (the commit comes after that):"
echo
sql -f - <"$here/histogram.sql" | sed 's/^/       /'
echo
echo "   What a monitoring system fetches, two lines of many:"
echo
say "SELECT event_store.prometheus()"
sql -c "SELECT event_store.prometheus()" >"$work/metrics"
grep -E '^event_store_(events_appended_total|append_calls_total)\{.*"'$store'"' "$work/metrics" | head -n 2 | sed 's/^/       /'
cat <<END

12. Work that must live
   A supervisor keeps functions alive: each is called again and again in a process of its own, and says when it wants to be called
   next. One that is killed comes back.

END
# await_sql SQL: until it returns true
await_sql() {
	local i
	for ((i = 0; i < 600; i++)); do
		[[ $(sql -c "$1") != t ]] || return 0
		sleep 0.1
	done
	fail "waited in vain for: $1"
}
tree="SELECT * FROM event_store.supervision_tree"
watch="CREATE FUNCTION watch(args jsonb) RETURNS interval LANGUAGE sql RETURN interval '1 minute'"
flaky="CREATE FUNCTION flaky(args jsonb) RETURNS interval LANGUAGE sql RETURN interval '1 ms' / (nextval('calls') = 1)::int"
supervisor="SELECT event_store.supervisor_create('keepers', max_restarts => 3, max_seconds => 5)"
say "$watch" "$supervisor" "SELECT event_store.supervisor_start_child('keepers', 'watch(jsonb)', name => 'watch')" \
	"SELECT pg_terminate_backend(pid) FROM event_store.supervisor_children WHERE name = 'watch'"
sql -c "SET search_path = $store" -c "CREATE SEQUENCE calls" -c "$watch" -c "$flaky" -c "$supervisor" \
	-c "SELECT event_store.supervisor_start_child('keepers', 'watch(jsonb)', name => 'watch')" \
	-c "SELECT pg_terminate_backend(pid) FROM event_store.supervisor_children WHERE name = 'watch'" >/dev/null
await_sql "SELECT restarts = 1 AND state = 'waiting' FROM event_store.supervisor_children"
show "$store" "$tree"
cat <<END

   One that keeps failing is given up: the fourth restart in five seconds is one too many, and the supervisor has failed, with
   all its children. It says so and waits for somebody to mend that.

END
say "CREATE SEQUENCE calls" "$flaky"
value "$store" "SELECT event_store.supervisor_start_child('keepers', 'flaky(jsonb)', name => 'flaky') IS NOT NULL"
await_sql "SELECT state = 'failed' AND children = 0 FROM event_store.supervisors"
show "$store" "$tree" "SELECT problem ->> 'detail' AS problem FROM event_store.supervisors"

loans=$SHARED/data/bpic2012.xes.gz
if [[ -n ${LARGE:-} && -r $loans ]]; then
	. "$here/loans.sh"
elif [[ -n ${LARGE:-} ]]; then
	echo
	echo "   There is no larger log here ($loans)."
fi
echo
echo "Done in $SECONDS seconds; the private server is removed now. doc/ is the manual."
