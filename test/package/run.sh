#!/bin/bash
# make package: builds the Debian packages, one for each major of the server, in the root of make matrix; installs them there, runs
# the regression tests against what they brought, upgrades a cluster with pg_upgrade, and removes them again. The packages are left
# in build/package. The last line is the sum, "N passed, N failed"; logs are under build/log/package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. test/lib.sh
. test/matrix/root.sh

root_check
log=$ES_ROOT/build/log/package
rm -rf "$log"
mkdir -p "$log" "$ES_ROOT/build/log/matrix"
exec 8>>"$ES_ROOT/build/matrix.lock"
flock 8
root_make

tree=/srv/package/event_store
passed=0 failed=0

# step NAME COMMAND...: run it in the root, count it, and show the end of what it said if it fails
step() {
	local name=$1 out
	out=$log/${name//[^a-z0-9]/_}.out
	if root_run "$tree" "${@:2}" >"$out" 2>&1; then
		passed=$((passed + 1))
		echo "ok: $name"
	else
		failed=$((failed + 1))
		echo "not ok: $name"
		tail -n 40 "$out"
		return 1
	fi
}

finish() {
	root_enter apt-get purge -y -q "${packages[@]}" >>"$log/remove.out" 2>&1 || true
	chown -R --reference="$ES_ROOT" "$log" "$ES_ROOT/build/package" 2>/dev/null || true
	echo
	echo "$passed passed, $failed failed"
}

packages=()
for major in "${ROOT_MAJORS[@]}"; do
	packages+=("postgresql-$major-event-store")
done
rm -rf "$ROOT_DIR/srv/package"
root_copy "$tree"
printf '%s\n' "${ROOT_MAJORS[@]}" >"$ROOT_DIR/etc/postgresql-common/supported_versions"
trap finish EXIT

step "the packages are built" bash -ec 'pg_buildext updatecontrol && dpkg-buildpackage -b -us -uc' || exit 1
rm -rf "$ES_ROOT/build/package"
mkdir -p "$ES_ROOT/build/package"
cp "$ROOT_DIR"/srv/package/*.deb "$ES_ROOT/build/package/"
step "they are installed" bash -ec 'dpkg -i ../postgresql-*-event-store_*.deb' || exit 1

for major in "${ROOT_MAJORS[@]}"; do
	step "regression tests with the package for $major" bash test/package/installed.sh "$major" || true
done
step "pg_upgrade from 15 to 17" bash test/package/upgraded.sh 15 17 || true
((failed == 0))
