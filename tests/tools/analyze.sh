#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: analyze.sh CC CFLAGS OUTDIR FILE...
# cppcheck and clang's analyzer, when present. A file is looked at again only after it or a header
# changed (stamps in OUTDIR). False positives are silenced where they stand, with a reason:
#   // cppcheck-suppress <id>   or   #ifndef __clang_analyzer__
set -u
cc=$1
cflags=$2
out=$3
shift 3
[ $# -gt 0 ] || exit 0
mkdir -p "$out"

one() {
	f=$1
	log=$out/$(echo "$f" | tr / _).log
	$cc $cflags --analyze -Xclang -analyzer-output=text -o /dev/null "$f" >"$log" 2>&1
	if grep -q 'warning:' "$log"; then
		cat "$log"
		return 1
	fi
	if command -v cppcheck >/dev/null 2>&1; then
		cppcheck -q --std=c11 --platform=unix64 --error-exitcode=1 --inline-suppr \
			--enable=warning --suppress=comparePointers --suppress=missingInclude --suppress=unusedFunction \
			--suppress=preprocessorErrorDirective --suppress=unknownMacro \
			--suppress=normalCheckLevelMaxBranches --suppress=shiftTooManyBitsSigned \
			-D__aarch64__=1 -DDEBUG=1 -DTM_TEST_BUILD=1 \
			-I hyp/public -I hyp/include -I arch/arm64/include "$f" || return 1
	fi
	: >"$out/$(echo "$f" | tr / _).ok"
}

if [ "${TM_ANALYZE_ONE:-}" = 1 ]; then
	one "$1"
	exit $?
fi
newest=$(find hyp arch boot drivers -name '*.h' -newer "$out/all.stamp" 2>/dev/null | head -n 1)
[ -e "$out/all.stamp" ] && [ -z "$newest" ] || rm -f "$out"/*.ok
todo=$(mktemp)
trap 'rm -f "$todo"' EXIT
for f in "$@"; do
	[ -e "$f" ] || continue
	stamp=$out/$(echo "$f" | tr / _).ok
	[ "$stamp" -nt "$f" ] || printf '%s\n' "$f"
done >"$todo"
[ -s "$todo" ] || exit 0

export TM_ANALYZE_ONE=1
xargs -P "$(nproc)" -I{} "$0" "$cc" "$cflags" "$out" {} <"$todo" || exit 1
: >"$out/all.stamp"
