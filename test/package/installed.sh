#!/bin/bash
# The regression tests against the installed package of a major, on a cluster that postgresql-common makes and removes.
# Called by test/package/run.sh: installed.sh MAJOR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
major=$1
bin=/usr/lib/postgresql/$major/bin
tests=$(make -s PG_CONFIG="$bin/pg_config" list-regress)
out=$(mktemp -d)
chown postgres: "$out"

dpkg -L "postgresql-$major-event-store" | grep -E 'event_store\.(so|control)$|event_store--[0-9.]*\.sql$|README|copyright$'
setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$out" LC_ALL=C.UTF-8 \
	pg_virtualenv -v "$major" -o shared_preload_libraries=event_store -o fsync=off \
	"$bin/../lib/pgxs/src/test/regress/pg_regress" --bindir="$bin" --inputdir="$PWD" --outputdir="$out" --encoding=UTF8 $tests ||
	{ cat "$out/regression.diffs" 2>/dev/null; exit 1; }
rm -rf "$out"
