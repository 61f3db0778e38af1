# A Debian root beside this machine's that holds every major of the server we promise, for make matrix and make package.
#
#	. test/lib.sh; . test/matrix/root.sh
#	root_check                     says and exits if this user or machine cannot have one
#	root_make                      build/matrix/root, made anew unless it is there and holds what it should
#	root_copy DIRECTORY            the checkout, as it stands, into a directory of the root; what was built there is kept
#	root_run DIRECTORY COMMAND...  run a command as root there, without a network; everything it started ends with it
#
# The packages come from the Debian archive that this machine's own apt is set up with, by its settings (proxies among them). The
# root is of the youngest release, for a younger C library serves older programs and not the reverse. Nothing is mounted or runs
# outside of root_run's own namespaces, so to remove the directory is to remove it all.

ROOT_DIR=$ES_ROOT/build/matrix/root
ROOT_MAJORS=(15 17 18)
declare -A ROOT_RELEASE=([15]=bookworm [17]=trixie [18]=forky)     # the Debian release that brings each major
ROOT_PACKAGES=(build-essential iproute2 patch perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl
	pkg-config libmicrohttpd-dev python3-prometheus-client libtest-json-schema-acceptance-perl pgbouncer
	dpkg-dev debhelper fakeroot postgresql-server-dev-all)
for major in "${ROOT_MAJORS[@]}"; do
	ROOT_PACKAGES+=("postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-pgtap")
done
ROOT_BASE=${ROOT_RELEASE[${ROOT_MAJORS[-1]}]}

# root_archive LABEL: the URI of a Debian archive in this machine's apt configuration, empty if it has none
root_archive() {
	apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
		sed -n "s/^Debian|$1|//p" | head -n 1
}

# root_key: what the root is made from; another key makes another root
root_key() {
	echo "$ROOT_BASE" "${ROOT_RELEASE[@]}" "${ROOT_PACKAGES[@]}"
}

root_sources() {
	local archive=$1 security=$2 release
	for release in $(printf '%s\n' "${ROOT_RELEASE[@]}" | sort -u); do
		echo "deb $archive $release main"
		# the youngest release has no security archive yet
		[[ -z $security || $release == "$ROOT_BASE" ]] || echo "deb $security $release-security main"
	done
}

# root_enter COMMAND...: run it in the root, in namespaces of its own that end it and all its children
root_enter() {
	root_unshare '' "$@"
}

# root_unshare OPTION COMMAND...: the same with one more option of unshare
root_unshare() {
	local -x LANG=C.UTF-8 LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root
	local -x PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	unset TMPDIR
	unshare --mount --pid --ipc --fork --kill-child $1 -- bash -ec '
		mount -t proc proc "$0/proc"
		mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm"
		exec chroot "$0" "$@"' "$ROOT_DIR" "${@:2}" </dev/null
}

# root_check: say what keeps this user or machine from having a root
root_check() {
	((EUID == 0)) || es_die "a Debian root can be made and entered by root alone: run this as root"
	command -v apt-get >/dev/null || es_die "there is no apt-get here, whose archive the root is to come from"
	unshare --mount --pid --ipc --net --fork true 2>/dev/null ||
		es_die "this machine does not let root make namespaces (unshare): run this where it does"
}

root_make() {
	local archive security script log
	if [[ -f $ROOT_DIR/.key && $(<"$ROOT_DIR/.key") == "$(root_key)" ]]; then
		return
	fi
	log=$ES_ROOT/build/log/matrix/root.out
	archive=$(root_archive Debian)
	security=$(root_archive Debian-Security)
	[[ -n $archive ]] || es_die "no Debian archive in the configuration of apt (apt-get update may help)"
	if ! command -v debootstrap >/dev/null; then
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap; } \
			</dev/null >"$log" 2>&1 || { tail -n 20 "$log" >&2; es_die "debootstrap could not be installed"; }
	fi

	echo "making a Debian root ($ROOT_BASE) under build/matrix, of 4 GB"
	rm -rf "$ROOT_DIR"
	mkdir -p "$ROOT_DIR"
	# an older debootstrap does not know the youngest releases, which are made like the others
	script=/usr/share/debootstrap/scripts/$ROOT_BASE
	[[ -e $script ]] || script=/usr/share/debootstrap/scripts/sid
	debootstrap --variant=minbase "$ROOT_BASE" "$ROOT_DIR" "$archive" "$script" >"$log" 2>&1 ||
		{ tail -n 20 "$log" >&2; es_die "debootstrap failed, see $log"; }

	root_sources "$archive" "$security" >"$ROOT_DIR/etc/apt/sources.list"
	apt-config dump | grep '^Acquire::' >"$ROOT_DIR/etc/apt/apt.conf.d/90acquire" || true
	# the packages of the servers start nothing and make no cluster
	printf '#!/bin/sh\nexit 101\n' >"$ROOT_DIR/usr/sbin/policy-rc.d"
	chmod +x "$ROOT_DIR/usr/sbin/policy-rc.d"
	mkdir -p "$ROOT_DIR/etc/postgresql-common/createcluster.d"
	echo "create_main_cluster = false" >"$ROOT_DIR/etc/postgresql-common/createcluster.d/matrix.conf"
	root_enter apt-get update -q >>"$log" 2>&1 &&
		root_enter apt-get install -y -q --no-install-recommends "${ROOT_PACKAGES[@]}" >>"$log" 2>&1 &&
		root_enter apt-get clean ||
		{ tail -n 20 "$log" >&2; es_die "the packages could not be installed, see $log"; }
	root_key >"$ROOT_DIR/.key"
}

root_copy() {
	local to=$ROOT_DIR$1
	mkdir -p "$to"
	find "$to" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	es_files | while IFS= read -rd '' file; do
		[[ ! -f $ES_ROOT/$file ]] || printf '%s\0' "$file"
	done | tar -C "$ES_ROOT" --null --verbatim-files-from -T - -cf - | tar -C "$to" --no-same-owner -xf -
	# what test/setup.sh fetched here serves there too; without a network it cannot fetch
	if [[ -d $ES_ROOT/build/tools ]]; then
		mkdir -p "$to/build"
		cp -R "$ES_ROOT/build/tools" "$to/build/"
	fi
}

root_run() {
	# servers that listen on a port do so on a loopback of their own
	root_unshare --net bash -c 'ip link set lo up && cd "$0" && exec "$@"' "$@"
}
