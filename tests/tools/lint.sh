#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: lint.sh O CC ARCHFLAGS CFLAGS SYSROOT_INCLUDE ELF IMG FILE...
# Runs every lint, writes O/test/lint.tap (one point each), fails if one failed.
set -u
out=$1 cc=$2 archflags=$3 cflags=$4 sys=$5 elf=$6 img=$7
shift 7
tools=$(dirname "$0")
mkdir -p "$out/test"
tap=$out/test/lint.tap
n=0
bad=0
: >"$tap"
point() {
	name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - lint $name" >>"$tap"
	else
		echo "not ok $n - lint $name" >>"$tap"
		echo "  LINT     $name FAILED"
		bad=1
	fi
}
point layers "$tools/check_layers.sh"
point size "$tools/check_size.sh"
point headers "$tools/check_headers.sh" "$cc $archflags" "$sys"
point elf "$tools/check_elf.sh" "$elf" "$img"
point analyze "$tools/analyze.sh" "$cc" "$cflags" "$out/lint" "$@"
echo "1..$n" >>"$tap"
[ $bad = 0 ] && echo "  LINT     $n checks passed"
exit $bad
