#!/bin/bash
# make test: builds with warnings as errors and runs every test; the last line is the sum, "N passed, N failed".
#
# A part of it, while developing:
#	make test SUITES="regress tap"                                some of: rules regress isolation tap pgtap
#	make test SUITES=regress REGRESS="store append"               some tests of a suite: REGRESS and ISOLATION take names,
#	make test SUITES=tap TAP=test/t/010_x.pl                      TAP and PGTAP take files
#
# What counts as one test: the search for breaches of the house rules, a file of pg_regress, an isolation spec, an assertion of
# TAP and pgTAP. A program that fails without saying which test did counts as one failure, and so does a server that crashed.
# Failures leave what explains them under build/log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. test/lib.sh

all_suites="rules regress isolation tap pgtap"
suites=${SUITES:-$all_suites}
budget=1080                 # seconds all of it may take

# The server's headers compile with assertions on while the server is a release build: ours are checked, its are not.
build_flags="-Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -DUSE_ASSERT_CHECKING"

declare -A passed failed
order=()

# result SUITE PASSED FAILED: add to the suite's numbers
result() {
	[[ -n ${passed[$1]:-} ]] || order+=("$1")
	passed[$1]=$((${passed[$1]:-0} + $2))
	failed[$1]=$((${failed[$1]:-0} + $3))
}

wanted() { [[ " $suites " == *" $1 "* ]]; }

# time_limit: seconds the next program may take, for one that hangs must not hide the others
time_limit() {
	local left=$((budget - SECONDS))
	echo $((left > 600 ? 600 : left < 10 ? 10 : left))
}

count() { grep -cE "$1" "$2" || true; }

# crashes SUITE DIRECTORY: a server that died of an assertion or a bad address fails the suite even if its tests did not notice
crashes() {
	local lines
	lines=$(find "$2" -name '*.log' -exec grep -hE 'TRAP: |terminated by signal (4|6|7|8|11):' {} + 2>/dev/null || true)
	[[ -n $lines ]] || return 0
	echo "$1: a server crashed:"
	head -n 10 <<<"$lines"
	result "$1" 0 1
}

# keep SUITE FILE...: copy what explains a failure
keep() {
	local file
	mkdir -p "$ES_LOG/$1"
	for file in "${@:2}"; do
		[[ ! -e $file ]] || cp -R --no-preserve=all "$file" "$ES_LOG/$1/"
	done
}

# pg_regress_suite SUITE PROGRAM INPUTDIR TESTS OPTION...
pg_regress_suite() {
	local suite=$1 program=$2 inputdir=$3 tests=$4 status=0 ok not_ok out=$ES_RUN/$1.out work=$ES_RUN/$1
	es_as_postgres mkdir -p "$work"
	PG_REGRESS_SOCK_DIR=$ES_SOCK es_watch "$(time_limit)" "$pgxs/$program" --bindir="$ES_BIN" --inputdir="$inputdir" --outputdir="$work" \
		--temp-instance="$work/instance" --temp-config="$ES_CONF" --encoding=UTF8 "${@:5}" $tests >"$out" 2>&1 || status=$?
	# up to 15 "test name ... ok", after it "ok 1 - name"
	grep -E '^(test | {4,}|ok |not ok ).*[0-9] ms' "$out" || true
	ok=$(count '^(test | {4,})[^ ]+ +\.\.\. ok\>|^ok [0-9]+ +[-+] ' "$out")
	not_ok=$(count '^(test | {4,})[^ ]+ +\.\.\. FAILED\>|^not ok [0-9]+ +[-+] ' "$out")
	if ((status != 0)); then
		((status != 124)) || echo "$suite: ended, it took too long"
		((not_ok > 0)) || { not_ok=1; tail -n 40 "$out"; }
		[[ ! -s $work/regression.diffs ]] || head -n 400 "$work/regression.diffs"
		keep "$suite" "$out" "$work/regression.diffs" "$work/log" "$work/results"
	fi
	result "$suite" "$ok" "$not_ok"
	crashes "$suite" "$work/log"
	rm -rf "$work/instance"
}

# tap_file SUITE FILE COMMAND...: run the command, which prints the file's TAP, and count its assertions
tap_file() {
	local suite=$1 name status=0 ok not_ok out began=$SECONDS
	name=$(basename "$2")
	name=${name%.*}
	# in this run's own place: another run may clear the logs
	out=$ES_RUN/$suite.$name.out
	es_watch "$(time_limit)" "${@:3}" >"$out" 2>&1 || status=$?
	ok=$(($(count '^ok [0-9]+' "$out") - $(count '^ok [0-9]+.* # (SKIP|skip)' "$out")))
	not_ok=$(($(count '^not ok [0-9]+' "$out") - $(count '^not ok [0-9]+.* # (TODO|todo)' "$out")))
	((status == 0 || not_ok > 0)) || not_ok=1
	printf '%-40s %4d ok %4d not ok %6d s\n' "$2" "$ok" "$not_ok" $((SECONDS - began))
	if ((status != 0)); then
		((status != 124)) || echo "$2: ended after $((SECONDS - began)) s, it took too long"
		# without the passed and the talk of background sessions
		sed -E '/^ok [0-9]+|^ *$|^# issuing query/d; /^# results query/,/^# \}/d' "$out" | tail -n 60
		keep "$suite" "$out"
	else
		grep -iE '^1\.\.0 # skip|^ok [0-9]+ # skip' "$out" || true
	fi
	rm -f "$out"
	result "$suite" "$ok" "$not_ok"
	((not_ok == 0))
}

# rules that a look at the sources or the object files can check
suite_rules() {
	local ok=0 not_ok=0 rule
	for rule in 'bash test/check_includes.sh' 'perl test/check_sql.pl sql/event_store/*.sql' "perl test/check_commit_path.pl $ES_TREE"; do
		if eval "$rule"; then ok=$((ok + 1)); else not_ok=$((not_ok + 1)); fi
	done
	result rules "$ok" "$not_ok"
}

suite_regress() {
	local tests=${REGRESS:-$(make -s PG_CONFIG="$PG_CONFIG" list-regress)}
	pg_regress_suite regress test/regress/pg_regress "$ES_TREE" "$tests"
}

suite_isolation() {
	local tests=${ISOLATION:-$(make -s PG_CONFIG="$PG_CONFIG" list-isolation)}
	# a step that waits for what never comes is cancelled after so many seconds, not after 5 minutes
	export PGISOLATIONTIMEOUT=90
	pg_regress_suite isolation test/isolation/pg_isolation_regress "$ES_TREE/test/isolation" "$tests" --load-extension=event_store
}

suite_tap() {
	local file work
	export PG_REGRESS=$pgxs/test/regress/pg_regress TEMP_CONFIG=$ES_CONF ES_TEMP_CONFIG=$ES_CONF TMPDIR=$ES_SOCK
	for file in ${TAP:-test/t/*.pl}; do
		work=$ES_RUN/tap/$(basename "$file" .pl)
		es_as_postgres mkdir -p "$work"
		# up to 15 TESTDIR, after it the other two
		TESTDIR=$work TESTDATADIR=$work/tmp_check TESTLOGDIR=$work/tmp_check/log \
			tap_file tap "$file" prove -v --norc -I "$pgxs/test/perl" -I test/perl "$file" || {
			# what a test that died said is in its own log
			tail -n 25 "$work"/tmp_check/log/regress_log_* 2>/dev/null || true
			keep "tap/$(basename "$file" .pl)" "$work/tmp_check/log"
		}
		crashes tap "$work"
		es_stop_servers "$work"
		rm -rf "$work"
	done
	unset TEMP_CONFIG TMPDIR
}

suite_pgtap() {
	local file n=0
	if ! es_server_start; then
		result pgtap 0 1
		return
	fi
	for file in ${PGTAP:-test/pgtap/*.sql}; do
		# a database each, so that none sees what another left
		n=$((n + 1))
		# no statement waits for ever
		if es_psql -q -v ON_ERROR_STOP=1 -c "CREATE DATABASE pgtap_$n" -c "ALTER DATABASE pgtap_$n SET statement_timeout = '120 s'" &&
			PGDATABASE=pgtap_$n es_psql -q -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION event_store' -c 'CREATE EXTENSION pgtap'; then
			tap_file pgtap "$file" pg_prove --norc --verbose -d "pgtap_$n" "$file" || keep pgtap "$ES_RUN/server/server.log"
		else
			result pgtap 0 1
			keep pgtap "$ES_RUN/server/server.log"
			break
		fi
	done
	es_server_stop || true
	crashes pgtap "$ES_RUN/server"
}

# has_tests SUITE: are there any yet?
has_tests() {
	case $1 in
		regress) compgen -G 'sql/*.sql' | grep -v '/event_store--' ;;
		isolation) compgen -G 'test/isolation/specs/*.spec' ;;
		tap) compgen -G 'test/t/*.pl' ;;
		pgtap) compgen -G 'test/pgtap/*.sql' ;;
		*) true ;;
	esac >/dev/null
}

for suite in $suites; do
	[[ " $all_suites " == *" $suite "* ]] || es_die "no suite $suite; there are: $all_suites"
done

summed=
finish() {
	[[ -n $summed ]] || echo "0 passed, 1 failed" | tee build/log/result 2>/dev/null
}
trap finish EXIT
es_setup test
for suite in $suites; do rm -rf "$ES_LOG/$suite" "$ES_LOG/$suite.out"; done
rm -f "$ES_LOG/result" "$ES_LOG/build.out"
pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/..
pgxs=$(cd "$pgxs" && pwd)

built=
echo "== build"
if es_build COPT="$build_flags" 2>"$ES_LOG/build.out"; then
	built=1
else
	result build 0 1
	head -n 60 "$ES_LOG/build.out"
fi
for suite in $suites; do
	echo "== $suite"
	if [[ -z $built ]]; then
		echo "not run: the build failed"
	elif ! has_tests "$suite"; then
		echo "no tests yet"
	else
		"suite_$suite"
	fi
done

echo
if [[ $suites == "$all_suites" ]]; then
	bash test/check_acceptance.sh
	echo
fi
sum_passed=0 sum_failed=0 tests=0
for suite in "${order[@]}"; do
	printf '%-12s %5d passed %5d failed\n' "$suite" "${passed[$suite]}" "${failed[$suite]}"
	sum_passed=$((sum_passed + passed[$suite]))
	sum_failed=$((sum_failed + failed[$suite]))
	[[ $suite == rules && $suites != rules ]] || tests=$((tests + passed[$suite] + failed[$suite]))
done
((tests > 0)) || echo "no test ran"
((sum_failed == 0)) || echo "what explains the failures is in build/log"
summed=1
echo "$sum_passed passed, $sum_failed failed" | tee "$ES_LOG/result"
((tests > 0 && sum_failed == 0))
