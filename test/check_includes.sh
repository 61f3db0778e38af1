#!/bin/bash
# The house rules that a search can check; prints each breach and exits 1 if there is one. Usage: check_includes.sh [ROOT]
#
# A directory of src/ is a floor. A file includes headers of its own floor and of those below it, nothing above; event_store.c,
# the door, includes what it likes. http is no floor but a library of its own, which nobody includes, and which is linked to none
# of the floors: it sees of them what is no more than declarations. Some names are for one file alone.
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# from the ground up
floors=(base observe store log model runtime deliver cluster)
http_sees="base/compat.h base/extension.h runtime/endpoint.h"
declare -A height
for i in "${!floors[@]}"; do height[${floors[i]}]=$i; done

breaches=0
breach() {
	echo "$1: $2"
	breaches=$((breaches + 1))
}

shopt -s nullglob globstar
include='^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]([^">]*)[">]'
for file in src/**/*.[ch]; do
	IFS=/ read -r _ floor name <<<"$file"
	if [[ -z $name ]]; then
		[[ $file == src/event_store.c ]] || breach "$file" "belongs in the directory of a floor"
		continue
	fi
	if [[ (-z ${height[$floor]:-} && $floor != http) || $name == */* ]]; then
		breach "$file" "src/$floor/ is no floor; the floors are ${floors[*]}"
		continue
	fi
	n=0
	while IFS= read -r line || [[ -n $line ]]; do
		n=$((n + 1))
		[[ $line =~ $include ]] || continue
		header=${BASH_REMATCH[1]}
		other=${header%%/*}
		if [[ $header == ../* || $header == ./* || ($header != */* && -e src/$floor/$header) ]]; then
			breach "$file:$n" "write \"$header\" as \"floor/name.h\""
		elif [[ $floor == http ]]; then
			[[ $other == http || -z ${height[$other]:-} || " $http_sees " == *" $header "* ]] ||
				breach "$file:$n" "http includes $header, but may include of other directories only $http_sees"
		elif [[ $other == http && $header == */* ]]; then
			breach "$file:$n" "$floor includes $header, but http is a library of its own"
		elif [[ $header == */* && -n ${height[$other]:-} ]] && ((height[$other] > height[$floor])); then
			breach "$file:$n" "$floor includes $header, but $other is a floor above it"
		fi
	done <"$file"
done

# only OWNER PATTERN WHAT: the pattern stands in no other file of src/
only() {
	local hit
	while IFS= read -r hit; do
		breach "$(cut -d: -f1,2 <<<"$hit")" "$3 belong in $1 only"
	done < <(grep -rnE --include='*.[ch]' "$2" src | grep -v "^$1:" || true)
}
only src/base/compat.h '\<PG_VERSION_NUM\>' "differences between server versions"
only src/base/shmem.c '\<(RequestNamedLWLockTranche|GetNamedLWLockTranche|LWLockRegisterTranche|LWLockNewTrancheId)\>' "names of locks"

((breaches == 0))
