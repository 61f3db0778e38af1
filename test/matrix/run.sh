#!/bin/bash
# make matrix: every suite with every major of the server, in a Debian root of its own (test/matrix/root.sh); the last line is the
# sum, "N passed, N failed". The first run makes the root: some minutes and 4 GB under build/matrix, removed by make clean.
#	ES_MAJORS      which majors (15 17 18)
#	SUITES etc.    which tests, as for make test
# What explains a failure is left under build/log/matrix, a directory for each major.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. test/lib.sh
. test/matrix/root.sh

majors=${ES_MAJORS:-${ROOT_MAJORS[*]}}
for major in $majors; do
	[[ -n ${ROOT_RELEASE[$major]:-} ]] || es_die "no major $major; there are: ${ROOT_MAJORS[*]}"
done
root_check
log=$ES_ROOT/build/log/matrix
rm -rf "$log"
mkdir -p "$log"
exec 8>>"$ES_ROOT/build/matrix.lock"
flock 8
root_make

table=()
passed=0 failed=0
for major in $majors; do
	echo "== PostgreSQL $major"
	tree=/srv/event_store-$major
	root_copy "$tree"
	status=0
	root_run "$tree" make -s test PG_MAJOR="$major" ${SUITES:+SUITES="$SUITES"} ${REGRESS:+REGRESS="$REGRESS"} \
		${ISOLATION:+ISOLATION="$ISOLATION"} ${TAP:+TAP="$TAP"} ${PGTAP:+PGTAP="$PGTAP"} >"$log/$major.out" 2>&1 || status=$?
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log/$major.out" | tail -n 1)
	[[ -n $sum ]] || sum="0 passed, 1 failed"
	if ((status != 0)); then
		tail -n 60 "$log/$major.out"
		cp -R --no-preserve=all "$ROOT_DIR$tree/build/log" "$log/$major" 2>/dev/null || true
	fi
	echo "$sum"
	read -r p _ f _ <<<"$sum"
	((status == 0 || f > 0)) || f=1
	passed=$((passed + p)) failed=$((failed + f))
	suites=$(sed -nE 's/^(build|rules|regress|isolation|tap|pgtap) +([0-9]+) passed +([0-9]+) failed$/\1 \2\/\3/p' "$log/$major.out" |
		paste -sd ' ')
	table+=("$(root_enter "/usr/lib/postgresql/$major/bin/postgres" --version | sed 's/.* (PostgreSQL) \([^ ]*\).*/\1/')|$sum|$suites")
done

echo
{
	echo "PostgreSQL|all|by suite (passed/failed)"
	printf '%s\n' "${table[@]}"
} | column -t -s '|'
chown -R --reference="$ES_ROOT" "$log"
echo
echo "$passed passed, $failed failed"
((failed == 0))
