#!/bin/bash
# The test of pg_upgrade, with the installed packages of two majors. Called by test/package/run.sh: upgraded.sh OLD NEW
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
pgxs=/usr/lib/postgresql/$2/lib/pgxs/src/test
work=$(mktemp -d)
chown postgres: "$work"

setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$work" TMPDIR="$work" LC_ALL=C.UTF-8 \
	PATH="/usr/lib/postgresql/$2/bin:$PATH" PG_REGRESS="$pgxs/regress/pg_regress" \
	TESTDIR="$work" TESTDATADIR="$work/tmp_check" TESTLOGDIR="$work/tmp_check/log" ES_OLD="$1" ES_NEW="$2" \
	prove -v --norc -I "$pgxs/perl" -I test/perl test/package/upgrade.pl ||
	{ tail -n 30 "$work"/tmp_check/log/regress_log_*; exit 1; }
rm -rf "$work"
