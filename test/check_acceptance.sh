#!/bin/bash
# Lists the acceptance statements that no test names. They are the numbered items below a heading "N.M Acceptance" of
# $SHARED/spec/systems.md; a test names one in a comment: "systems" and its number, or several with commas between.
# Usage: check_acceptance.sh [ROOT]
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"
statements=${SHARED:-../shared}/spec/systems.md
if [[ ! -r $statements ]]; then
	echo "acceptance: no list of statements here"
	exit
fi

shopt -s nullglob globstar
tests=(sql/*.sql test/*/**/*.{sql,spec,pl,pm,sh})
{
	((${#tests[@]} == 0)) || grep -hoE '\<systems [0-9]+\.[0-9]+\.[0-9]+( *, *[0-9]+\.[0-9]+\.[0-9]+)*' "${tests[@]}" || true
} | awk '
	function flush() {
		if (first != "")
			list = list (list == "" ? "" : ", ") (first == last ? first : first "-" last)
		first = ""
	}
	function report() {
		flush()
		if (all > 0 && list != "")
			printf "systems %s: %d of %d statements have no test yet: %s\n", group, missing, all, list
		all = missing = 0
		list = ""
	}
	tests { for (i = 2; i <= split($0, id, /[ ,]+/); i++) named[id[i]] = 1; next }
	/^#/ {
		report()
		section = ""
		if (match($0, /[0-9]+\.[0-9]+ Acceptance/)) {
			section = substr($0, RSTART, RLENGTH - length(" Acceptance"))
			group = section
			sub(/\..*/, "", group)
		}
		next
	}
	section != "" && /^[0-9]+\. / {
		n = $1 + 0
		all++
		if ((section "." n) in named) { flush(); next }
		missing++
		if (first == "") first = n
		last = n
	}
	END { report() }
' tests=1 - tests=0 "$statements"
