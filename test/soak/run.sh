#!/bin/bash
# make soak: the tests of concurrency, crashes, conditions, background tasks, subscriptions and handlers with long settings, and 100,000
# calls through a pooler, again and again; an hour as it is.
#   ES_ROUNDS       how often (5)
#   ES_SECONDS      how long each concurrent workload runs (60)
#   ES_CRASH_KILLS  processes killed in each crash test (200)
#   ES_RUNTIME_ROUNDS  processes ended in each test of background tasks (200)
#   ES_SEED         seed of the random choices, as a failed round has printed it; one of its own for each workload if unset
# The last line is the sum, "N passed, N failed"; failures leave what explains them under build/log/soak.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. test/lib.sh

rounds=${ES_ROUNDS:-5}
export ES_SECONDS=${ES_SECONDS:-60} ES_CRASH_KILLS=${ES_CRASH_KILLS:-200} ES_RUNTIME_ROUNDS=${ES_RUNTIME_ROUNDS:-200} ES_SOAK=1
limit=$((600 + 20 * ES_SECONDS + 20 * ES_CRASH_KILLS))      # seconds a program may take

es_setup test
rm -rf "$ES_LOG/soak"
mkdir -p "$ES_LOG/soak"
es_build
pgxs=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)
export PG_REGRESS=$pgxs/test/regress/pg_regress TEMP_CONFIG=$ES_CONF TMPDIR=$ES_SOCK

passed=0 failed=0
for ((round = 1; round <= rounds; round++)); do
	for file in test/t/010_concurrency.pl test/t/020_crash.pl test/t/071_pooler.pl test/t/080_condition.pl test/t/091_runtime_crash.pl \
		test/t/100_subscription.pl test/t/107_delivery_chaos.pl; do
		name=$(basename "$file" .pl).$round
		work=$ES_RUN/soak/$name
		out=$ES_LOG/soak/$name.out
		began=$SECONDS
		es_as_postgres mkdir -p "$work"
		# up to 15 TESTDIR, after it the other two
		if TESTDIR=$work TESTDATADIR=$work/tmp_check TESTLOGDIR=$work/tmp_check/log \
			es_watch $limit prove -v --norc -I "$pgxs/test/perl" "$file" >"$out" 2>&1; then
			passed=$((passed + 1))
			printf '%s passed in %d s\n' "$name" $((SECONDS - began))
			grep -E 'events sent| events were lost' "$out" || true
			rm -f "$out"
		else
			failed=$((failed + 1))
			printf '%s failed after %d s\n' "$name" $((SECONDS - began))
			grep -vE '^ *ok ' "$out" | tail -n 60
			cp -R --no-preserve=all "$work/tmp_check/log" "$ES_LOG/soak/$name" || true
		fi
		es_stop_servers "$work"
		rm -rf "$work"
	done
done
echo "$passed passed, $failed failed"
((failed == 0))
