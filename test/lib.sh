# Shared by the programs that build the extension and run a server of their own: make test, demo, bench and soak.
#
#	. test/lib.sh
#	es_setup                          what is missing is installed; scratch directories; clean-up at exit
#	es_build                          a copy of the checkout is built and staged, nothing goes into system directories
#	es_server_start -c work_mem=8MB   a server on a Unix socket, with the staged library preloaded
#	es_psql -c 'CREATE EXTENSION event_store'
#	es_server_stop                    optional: the exit trap stops what still runs
#
# The server refuses to run as root, so root runs everything but the installing of packages as user postgres, in a copy of the
# checkout that this user can read. Hence: a file that psql or pgbench opens by name must lie under $ES_TREE (a file redirected
# to stdin may lie anywhere), and what they write under $ES_RUN.
#
# Settings from outside: PG_CONFIG or PG_MAJOR choose the server (15, 17, 18), SHARED names a directory with further material.
# After es_setup: ES_ROOT the checkout, ES_RUN scratch of this run, ES_LOG where logs of failures stay, ES_MAJOR, ES_BIN (first
# on the PATH too). After es_build: ES_TREE, ES_CONF (the settings every server here needs). After es_server_start: ES_DATA.
# An EXIT trap set before es_setup is kept and runs last; one set after it must call es_cleanup itself.

ES_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SHARED=${SHARED:-../shared}
[[ $SHARED == /* ]] || SHARED=$ES_ROOT/$SHARED
export SHARED

es_die() {
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# es_as_postgres COMMAND...: run it as user postgres (as the current user if that is not root) in the tree, or before there is
# one in the scratch directory. Environment, stdin and exit status are the caller's.
es_as_postgres() {
	(es_exec_as_postgres "$@")
}

es_exec_as_postgres() {
	cd "${ES_TREE:-${ES_RUN:-/}}" || exit
	export HOME=${ES_RUN:-/}
	((EUID != 0)) || exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
	exec "$@"
}

# es_watch SECONDS COMMAND...: es_as_postgres for what may take long or hang. It is ended after SECONDS (status 124), and a signal
# that ends this script ends it too, with all its children, at once. Its stdin is empty.
es_watch() {
	local status=0
	set -m                      # a process group of its own
	es_exec_as_postgres timeout -k 20 "$@" </dev/null &
	ES_CHILD=$!
	set +m
	wait "$ES_CHILD" || status=$?
	ES_CHILD=
	return $status
}

# es_find_server: choose the server's pg_config without asking that it exists yet. Sets PG_CONFIG and ES_MAJOR.
es_find_server() {
	ES_MAJOR=${PG_MAJOR:-}
	if [[ -n ${PG_CONFIG:-} ]]; then
		PG_CONFIG=$(command -v "$PG_CONFIG" || echo "$PG_CONFIG")
		if [[ -x $PG_CONFIG ]]; then
			ES_MAJOR=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
		elif [[ $PG_CONFIG =~ /postgresql/([0-9]+)/bin/pg_config$ ]]; then
			ES_MAJOR=${BASH_REMATCH[1]}
		else
			es_die "PG_CONFIG names no program: $PG_CONFIG"
		fi
	else
		if [[ -z $ES_MAJOR ]]; then
			ES_MAJOR=15
			! grep -qs '^VERSION_CODENAME=trixie' /etc/os-release || ES_MAJOR=17
		fi
		PG_CONFIG=$(command -v pg_config || true)
		# a pg_config may come with the client library alone
		[[ -n $PG_CONFIG && $("$PG_CONFIG" --version) == "PostgreSQL $ES_MAJOR"[.a-z]* && -f $("$PG_CONFIG" --pgxs) &&
			-x $("$PG_CONFIG" --bindir)/postgres ]] ||
			PG_CONFIG=/usr/lib/postgresql/$ES_MAJOR/bin/pg_config
	fi
	export PG_CONFIG
}

# es_stop_servers DIRECTORY: stop every server whose data lies below it, at once
es_stop_servers() {
	local pidfile
	while IFS= read -r pidfile; do
		es_as_postgres "$ES_BIN/pg_ctl" -D "${pidfile%/*}" -m immediate stop >/dev/null 2>&1 || true
	done < <(find "$1" -name postmaster.pid 2>/dev/null)
}

# es_cleanup: end what this run started, remove its scratch. The exit trap; keeps $?.
es_cleanup() {
	local status=$?
	set +e
	trap '' INT TERM HUP
	[[ -z ${ES_CHILD:-} ]] || kill -- "-$ES_CHILD" 2>/dev/null || true
	if [[ -n ${ES_RUN:-} ]]; then
		ES_TREE=
		es_stop_servers "$ES_RUN"
		rm -rf "$ES_RUN" "${ES_SOCK:-}" 2>/dev/null || { sleep 1; rm -rf "$ES_RUN" "$ES_SOCK"; }
		[[ $ES_WORK == "$ES_ROOT"/* ]] || rm -rf "$ES_WORK"
		# it may be somebody else's checkout, who must be able to remove what is left
		((EUID != 0)) || chown -R --reference="$ES_ROOT" "$ES_LOG"
	fi
	ES_RUN='' ES_CHILD=''
	return $status
}

# es_setup [test]: install what is missing (with "test": for the tests too), choose the server, make the scratch directories,
# set the exit trap. Without root, what is missing is an error that names it.
es_setup() {
	local name trapped dir
	ES_PURPOSE=${1:-plain}

	# what a surrounding make, psql or login says must not reach the builds and servers here
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CDPATH
	for name in ${!PG@}; do
		[[ $name == PG_CONFIG || $name == PG_MAJOR || $name == PGTAP ]] || unset "$name"
	done
	export LANG=C.UTF-8 LC_ALL=C.UTF-8
	umask 022

	es_find_server
	bash "$ES_ROOT/test/setup.sh" "$ES_PURPOSE"
	ES_BIN=$("$PG_CONFIG" --bindir)
	export PATH=$ES_BIN:$PATH

	trapped=$(trap -p EXIT)
	eval "set -- ${trapped:-_ _ ''}"
	trap "es_cleanup; ${3:-:}" EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	ES_LOG=$ES_ROOT/build/log
	mkdir -p "$ES_LOG" "$ES_ROOT/build/work"
	if ((EUID == 0)); then
		chown --reference="$ES_ROOT" "$ES_ROOT/build"
		chown postgres: "$ES_ROOT/build/work"
	fi
	ES_WORK=$ES_ROOT/build/work
	es_as_postgres test -w "$ES_WORK" 2>/dev/null || ES_WORK=$(es_mktemp)
	for dir in "$ES_WORK"/run.*; do
		# left by a run that was killed
		[[ -d $dir ]] && ! kill -0 "${dir##*.}" 2>/dev/null || continue
		es_stop_servers "$dir"
		es_as_postgres rm -rf "$(readlink "$dir/sock")" "$dir" || true
	done
	es_as_postgres mkdir -m 700 "$ES_WORK/run.$$"
	ES_RUN=$ES_WORK/run.$$
	ES_SOCK=$(es_mktemp)
	es_as_postgres ln -s "$ES_SOCK" "$ES_RUN/sock"

	# where user postgres can run what setup.sh has put aside
	if [[ -d $ES_ROOT/build/tools ]]; then
		if es_as_postgres test -x "$ES_ROOT/build/tools" 2>/dev/null; then
			PATH=$PATH:$ES_ROOT/build/tools
		else
			cp -r "$ES_ROOT/build/tools" "$ES_RUN/tools"
			PATH=$PATH:$ES_RUN/tools
		fi
	fi
}

# es_mktemp: a temporary directory that user postgres owns and whose name leaves room for that of a socket; prints it
es_mktemp() {
	local base dir
	for base in "${TMPDIR:-/tmp}" /tmp; do
		dir=$(mktemp -d "$base/es.XXXXXX")
		((EUID != 0)) || chown postgres: "$dir"
		if ((${#dir} < 60)) && es_as_postgres test -w "$dir"; then
			echo "$dir"
			return
		fi
		rmdir "$dir"
	done
	es_die "no usable directory for temporary files; set TMPDIR"
}

# es_files: the files of the checkout that make it up, NUL after each
es_files() {
	cd "$ES_ROOT" || return
	# root may be working in somebody else's checkout, which git refuses unless told
	{ [[ -e .git ]] && git -c safe.directory="$ES_ROOT" ls-files -z --cached --others --exclude-standard 2>/dev/null; } ||
		find . \( -path ./build -o -path ./.git \) -prune -o -type f ! -name '*.o' ! -name '*.bc' ! -name '*.so' -printf '%P\0'
}

# es_build [MAKE ARGUMENT...]: build a copy of the checkout with these arguments and stage it. The copy is kept from run to run,
# so only what changed is built again. Non-zero if it does not build, with the compiler's words on stderr.
es_build() {
	local kept=$ES_WORK/$ES_MAJOR-$ES_PURPOSE status=0
	ES_TREE=
	rm -rf "$ES_RUN/tree" "$ES_RUN/stage"

	# runs may overlap; each takes its own copy of what was built
	exec 9>>"$ES_WORK/.lock"
	flock 9
	# no bitcode: nobody inlines functions of a private server's extension
	es_copy_to "$kept" "$@" &&
		es_as_postgres make -C "$kept" -s -k -j "$(nproc)" PG_CONFIG="$PG_CONFIG" with_llvm=no "$@" all >&2 &&
		es_as_postgres cp -a "$kept" "$ES_RUN/tree" || status=1
	exec 9>&-
	((status == 0)) || return 1

	ES_TREE=$ES_RUN/tree
	es_stage "$@"
}

# es_copy_to DIRECTORY KEY...: make it a copy of the checkout, keeping what was built there if the key is the same
es_copy_to() {
	local kept=$1 file
	local -a files=() changed=()
	while IFS= read -rd '' file; do
		[[ ! -f $ES_ROOT/$file ]] || files+=("$file")
	done < <(es_files | sort -zu)
	# make would not see that a file has gone or that the flags are others
	printf '%s\n' "$("$PG_CONFIG" --version --configure)" "$(pkg-config --modversion libmicrohttpd 2>&1)" \
		"${CC-} ${CFLAGS-} ${CPPFLAGS-} ${COPT-} ${PROFILE-}" "$@" "${files[@]}" \
		>"$ES_SOCK/key"
	if ! cmp -s "$ES_SOCK/key" "$kept/.key" || ! es_as_postgres test -w "$kept"; then
		rm -rf "$kept"
		es_as_postgres mkdir "$kept" || return 1
	fi
	for file in "${files[@]}"; do
		cmp -s "$ES_ROOT/$file" "$kept/$file" || changed+=("$file")
	done
	if ((${#changed[@]} > 0)); then
		# the time of the copy counts, so that make also sees a file put back as it was
		printf '%s\0' "${changed[@]}" | tar -C "$ES_ROOT" --null --verbatim-files-from -T - -cf - |
			es_as_postgres tar -C "$kept" --no-same-owner -xmf - || return 1
	fi
	es_as_postgres tee "$kept/.key" <"$ES_SOCK/key" >/dev/null
}

# es_stage [MAKE ARGUMENT...]: put the built files where a server finds them that is told to look, and write what it must be
# told to $ES_CONF. Debian's servers have extension_destdir; from 18 on any server has extension_control_path. A server with
# neither is served only if its own directories belong to whoever runs the tests, as those of a build from source do.
es_stage() {
	local stage=$ES_RUN/stage library where=
	ES_CONF=$ES_RUN/event_store.conf
	library=$("$PG_CONFIG" --pkglibdir)
	if ((ES_MAJOR >= 18)); then
		where="extension_control_path = '$stage$("$PG_CONFIG" --sharedir):\$system'"
	elif "$ES_BIN/postgres" --describe-config | grep '^extension_destdir' >/dev/null; then
		where="extension_destdir = '$stage'"
	elif es_as_postgres test -w "$library"; then
		stage=
	else
		es_die "this server has no extension_destdir (Debian's have) and its directories are not ours"
	fi
	{
		[[ -z $stage ]] || printf '%s\n' "$where" "dynamic_library_path = '$stage$library:\$libdir'"
		cat "$ES_ROOT/test/server.conf"
	} | es_as_postgres tee "$ES_CONF" >/dev/null &&
		es_as_postgres make -C "$ES_TREE" -s PG_CONFIG="$PG_CONFIG" with_llvm=no "$@" DESTDIR="$stage" install >/dev/null
}

# es_server_start [POSTGRES OPTION...]: start the private server, e.g. with -c fsync=on. Its data directory is made by the first
# call; a start after es_server_stop finds it as it was. Exports PGHOST, PGPORT, PGUSER (a superuser) and, unless it is set,
# PGDATABASE=postgres. Non-zero, with the end of its log on stderr, if it does not start.
es_server_start() {
	ES_DATA=$ES_RUN/server/data
	if [[ ! -d $ES_DATA ]]; then
		es_as_postgres mkdir -p "$ES_RUN/server"
		es_as_postgres initdb -D "$ES_DATA" -U postgres -A trust -E UTF8 --no-sync >"$ES_SOCK/initdb" 2>&1 ||
			{ cat "$ES_SOCK/initdb" >&2; return 1; }
		es_as_postgres tee -a "$ES_DATA/postgresql.conf" <"$ES_CONF" >/dev/null
	fi
	export PGHOST=$ES_SOCK PGPORT=5432 PGUSER=postgres
	export PGDATABASE=${PGDATABASE:-postgres}
	es_as_postgres pg_ctl -D "$ES_DATA" -l "$ES_RUN/server/server.log" -w -t 60 \
		-o "$(printf '%q ' -c unix_socket_directories="$ES_SOCK" "$@")" start >/dev/null || {
		tail -n 40 "$ES_RUN/server/server.log" >&2
		return 1
	}
}

# es_server_stop [MODE]: stop it (fast, smart or immediate); nothing to do is no error
es_server_stop() {
	[[ -n ${ES_DATA:-} && -f $ES_DATA/postmaster.pid ]] || return 0
	es_as_postgres pg_ctl -D "$ES_DATA" -m "${1:-fast}" -w -t 60 stop >/dev/null
}

# es_psql ARGUMENT...: psql as user postgres on the private server, without anybody's psqlrc
es_psql() {
	es_as_postgres psql -X "$@"
}
