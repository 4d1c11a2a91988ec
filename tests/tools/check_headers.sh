#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: check_headers.sh 'CC with target flags' SYSROOT_INCLUDE
# Every header of CC's architecture compiles alone; ABI headers as C11 and C++17, with nothing but -I hyp/public.
set -u
cd "$(dirname "$0")/../.."
cc=$1
sys=$2
WARN='-Wall -Wextra -Werror -Wundef -fsyntax-only -ffreestanding'
case $cc in
*x86_64*) arch=x86 ;;
*) arch=arm64 ;;
esac
list=$(mktemp)
trap 'rm -f "$list"' EXIT

for h in $(find hyp/public -name '*.h' | sort); do
	echo "$cc -std=c11 $WARN -I hyp/public -x c -include $h /dev/null"
	echo "$cc -std=c++17 $WARN -I hyp/public -x c++ -include $h /dev/null"
done >"$list"
for h in $(find hyp/include arch/$arch/include -name '*.h' 2>/dev/null | sort); do
	echo "$cc -std=c11 $WARN -DDEBUG=1 -DTM_TEST_BUILD=1 -I hyp/public -I hyp/include" \
		"-I arch/$arch/include -I . -isystem boot/include -isystem $sys -x c -include $h /dev/null"
done >>"$list"
xargs -P "$(nproc)" -I{} sh -c '{} || { echo "headers: does not compile alone: {}" >&2; exit 1; }' <"$list"
