# What the programs of the benchmark share: the rows, the scripts and the tables.
# shellcheck shell=bash disable=SC2034

streams=1000                # each client appends to its own share of them, so no call conflicts
first=1000000000000000      # the first stream: its name for us, its number for the floor
data='{"orderId":"8f14e45f-ceea-467f-a0e6-b3c0a9b2d1c7","customerId":"c-102938","status":"placed","currency":"EUR","total":12345.67,"lines":[{"sku":"SKU-00012","qty":2,"price":1999},{"sku":"SKU-00345","qty":1,"price":4950}],"note":"leave at the door","rev":17}'
metadata='{"correlationId":"0f8fad5b-d9cb-469f-a165-70867728950e","userId":"u-4711","source":"web","v":1}'
id=4e6f1c5a-0d4e-4a7b-9f3e-2b8c6d1f7a90     # an event id as a client would make it; no index holds it, so one will do

sql() { PGOPTIONS="-c client_min_messages=warning" es_psql -qAt -v ON_ERROR_STOP=1 "$@"; }

# children_cpu: CPU time of the children of $postmaster that have ended, in clock ticks
children_cpu() {
	local stat
	stat=$(<"/proc/$postmaster/stat")
	set -- ${stat##*) }
	echo $((${14} + ${15}))
}

# events N KIND: a JSON array of N events; where data is kept as bytea it is the same text in base64
events() {
	local payload=$data event list i
	[[ ${2:-} != bytea ]] || payload=\"$(base64 -w 0 <<<"$data")\"
	event="{\"type\":\"OrderPlaced\",\"data\":$payload,\"metadata\":$metadata}"
	for ((i = 1; i <= $1; i++)); do list=${list:+$list,}$event; done
	echo "[$list]"
}

# floor_append_many N: the script of the floor's INSERT of N rows. What need not differ from row to row is one parameter, because
# pgbench knows no more than 256 of them.
floor_append_many() {
	local rows i
	for ((i = 1; i <= $1; i++)); do
		rows=${rows:+$rows, }"($i, CAST(:data AS jsonb), CAST(:metadata AS jsonb))"
	done
	cat <<-END
		\\set stream :first + :client_id * :k + mod(:i, :k)
		\\set version (:i / :k) * :n + 1
		\\set i :i + 1
		INSERT INTO floor.event (stream_id, version, event_id, event_type, data, metadata) SELECT p.stream, p.version + r.n, p.id, 'OrderPlaced', r.data, r.metadata FROM (SELECT CAST(:stream AS bigint), CAST(:version AS bigint), CAST(:id AS uuid)) p (stream, version, id), (VALUES $rows) r (n, data, metadata);
	END
}

# script SYSTEM WORK: the pgbench script
script() {
	case $1-$2 in
		floor-append_[0-9]*) floor_append_many "${2#append_}" ;;
		event_store-append_[0-9]*) cat "$here/pgbench/append_many.event_store.sql" ;;
		*-hot_stream) cat "$here/pgbench/hot_stream.sql" ;;
		event_store-append_bytes) sed 's/append_event/append_bytes/' "$here/pgbench/append_one.event_store.sql" ;;
		*-append_json | *-append_bytes) cat "$here/pgbench/append_one.$1.sql" ;;
		event_store-read_*_json) sed 's/\(read_stream\|read_all\)(/\1_as(NULL::json, /' "$here/pgbench/${2%_*}.$1.sql" ;;
		event_store-read_*_bytes) sed 's/\(read_stream\|read_all\)(/\1_as(NULL::bytea, /' "$here/pgbench/${2%_*}.$1.sql" ;;
		floor-read_*_json) sed 's/archive_jsonb/archive_json/' "$here/pgbench/${2%_*}.$1.sql" ;;
		floor-read_*_bytes) sed 's/archive_jsonb/archive_bytea/' "$here/pgbench/${2%_*}.$1.sql" ;;
		*) cat "$here/pgbench/$2.$1.sql" ;;
	esac
}

# make_event_tables WORK [KIND]: the tables that appends go to, new for each slice so that all slices meet the same, each of the streams
# with one event in it
make_event_tables() {
	local kind=${2:-jsonb} payload=$data
	[[ $kind != bytea ]] || payload=\"$(base64 -w 0 <<<"$data")\"
	sql -v table=event -v payload="$kind" -f - <"$here/floor.sql"
	sql -v data="$payload" -v metadata="$metadata" -v first=$first -v streams=$streams -v kind="$kind" -f - <<-'END' >/dev/null
		INSERT INTO floor.event (stream_id, version, event_id, event_type, data, metadata)
		SELECT :first + n, 1, gen_random_uuid(), 'OrderPlaced', :'data', :'metadata' FROM generate_series(0, :streams - 1) n;
		SELECT event_store.drop_store(schema, schema) FROM event_store.stores WHERE schema = 'bench';
		SELECT event_store.create_store('bench', payload => :'kind');
		SET search_path = bench;
		SELECT count(event_store.append_event((:first + n)::text, 'OrderPlaced', :'data', :'metadata', 0))
		FROM generate_series(0, :streams - 1) n;
	END
	[[ $1 != append_condition ]] || sql -c "SET search_path = bench; SELECT event_store.enable_tags()" >/dev/null
}
