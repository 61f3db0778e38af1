#!/bin/bash
# Installs, with apt-get, what the machine lacks to build the extension and run a server; with the argument "test" also what the
# tests need. Does nothing, quickly, if nothing is missing; without root says what is.
#
# The programs of Prometheus that the tests run come in packages that would start them as services; they are taken out of their
# packages and put into build/tools. Without root, tests that need one of them are skipped if there is none.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

es_find_server
ask() { "$PG_CONFIG" "$1" 2>/dev/null || echo /nonexistent; }

missing=()
tools=()                    # PROGRAM:PACKAGE, or one name for both
# a compiler without the C library's headers is what installing gcc alone gives
echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
server=()
[[ -x $(ask --bindir)/postgres && -x $(ask --bindir)/psql ]] || server+=("postgresql-$ES_MAJOR")
[[ -f $(ask --pgxs) && -f $(ask --includedir-server)/postgres.h ]] || server+=("postgresql-server-dev-$ES_MAJOR")
if [[ ${1:-} == test ]]; then
	[[ -f $(ask --sharedir)/extension/pgtap.control ]] || missing+=("postgresql-$ES_MAJOR-pgtap")
	command -v prove >/dev/null || missing+=(perl)
	command -v patch >/dev/null || missing+=(patch)
	perl -MIPC::Run -e 1 2>/dev/null || missing+=(libipc-run-perl)
	command -v pkg-config >/dev/null || missing+=(pkg-config)
	pkg-config --exists libmicrohttpd 2>/dev/null || missing+=(libmicrohttpd-dev)
	/usr/bin/python3 -c 'import prometheus_client.openmetrics.parser' 2>/dev/null || missing+=(python3-prometheus-client)
	for tool in promtool:prometheus prometheus-sql-exporter prometheus-postgres-exporter; do
		command -v "${tool%:*}" >/dev/null || [[ -x $ES_ROOT/build/tools/${tool%:*} ]] || tools+=("$tool")
	done
	perl -MTAP::Parser::SourceHandler::pgTAP -e 1 2>/dev/null || missing+=(libtap-parser-sourcehandler-pgtap-perl)
	PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || missing+=(pgbouncer)
	# brings the test suite of JSON Schema
	perl -e 'exit !grep { -d "$_/auto/share/dist/Test-JSON-Schema-Acceptance" } @INC' || missing+=(libtest-json-schema-acceptance-perl)
fi

if ((EUID != 0 && ${#tools[@]} > 0)); then
	echo "not installed: ${tools[*]%:*}; the tests that need them are skipped" >&2
	tools=()
fi
if ((${#missing[@]} + ${#server[@]} + ${#tools[@]} > 0)); then
	((EUID == 0)) || es_die "not installed: ${server[*]} ${missing[*]}; run this as root, or install them"
	command -v apt-get >/dev/null || es_die "not installed: ${server[*]} ${missing[*]}; there is no apt-get here to install them"
	echo "installing ${server[*]} ${missing[*]} ${tools[*]%:*}" >&2
	export DEBIAN_FRONTEND=noninteractive
	# quiet, unless something goes wrong
	apt() {
		local log
		log=$(mktemp)
		apt-get -y -q "$@" </dev/null >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; es_die "apt-get $1 failed"; }
		rm -f "$log"
	}
	apt update

	# A server that is there already is somebody's: the headers come in its version if that can still be had, and only
	# otherwise is it brought up to theirs.
	if [[ ${server[*]} == "postgresql-server-dev-$ES_MAJOR" ]]; then
		version=$(dpkg-query -W -f '${Version}' "postgresql-$ES_MAJOR" 2>/dev/null || true)
		if [[ -n $version ]] && apt-cache show "${server[0]}=$version" >/dev/null 2>&1; then
			server=("${server[0]}=$version" "postgresql-$ES_MAJOR=$version" "postgresql-client-$ES_MAJOR=$version")
		elif [[ -n $version ]]; then
			server+=("postgresql-$ES_MAJOR")
		fi
	fi

	# The package of a server makes and starts a cluster unless told not to. Told only for now: it is the machine's default.
	no_cluster=
	if [[ " ${server[*]} " == *" postgresql-$ES_MAJOR "* && ! -e /etc/postgresql-common/createcluster.conf ]]; then
		no_cluster=/etc/postgresql-common/createcluster.d/event_store.conf
		mkdir -p "${no_cluster%/*}"
		trap 'rm -f "$no_cluster" "${no_service:-}"' EXIT
		echo "create_main_cluster = false" >"$no_cluster"
	fi
	# So does that of a pooler with its service.
	no_service=
	if [[ " ${missing[*]} " == *" pgbouncer "* && ! -e /usr/sbin/policy-rc.d ]]; then
		no_service=/usr/sbin/policy-rc.d
		trap 'rm -f "$no_cluster" "$no_service"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$no_service"
		chmod +x "$no_service"
	fi
	((${#missing[@]} + ${#server[@]} == 0)) || apt install --no-install-recommends "${server[@]}" "${missing[@]}"
	[[ -z $no_service ]] || rm -f "$no_service"
	for tool in "${tools[@]}"; do
		unpacked=$(mktemp -d)
		(cd "$unpacked" && apt download "${tool#*:}" && dpkg-deb -x ./*.deb .) || es_die "no ${tool#*:} to be had"
		mkdir -p "$ES_ROOT/build/tools"
		install -m 755 "$unpacked/usr/bin/${tool%:*}" "$ES_ROOT/build/tools/"
		rm -rf "$unpacked"
	done
	if [[ -n $no_cluster ]]; then
		rm -f "$no_cluster"
		rmdir --ignore-fail-on-non-empty "${no_cluster%/*}"
	fi
	hash -r
	unset PG_CONFIG
	PG_MAJOR=$ES_MAJOR es_find_server
fi

# A library built with the headers of a later minor may not load into an earlier server.
headers=$(sed -n 's/^#define PG_VERSION "\(.*\)"/\1/p' "$(ask --includedir-server)"/pg_config*.h)
program=$("$(ask --bindir)/postgres" --version)
[[ "$program " == *" $headers "* ]] || es_die "the server is $program, its headers are of $headers: bring both to one version"
((EUID != 0)) || id postgres >/dev/null 2>&1 || es_die "there is no user postgres to run the server as"
