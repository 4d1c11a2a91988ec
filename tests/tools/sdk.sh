#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: sdk.sh O NEWLIB GUEST_LIB GUEST_LDS LIBFDT TRIPLE FLAGS
# Gathers in O/sdk what a guest program needs, so that it builds without this tree.
set -eu
out=$1/sdk
newlib=$2
lib=$3
lds=$4
libfdt=$5
triple=$6
flags=$7
cd "$(dirname "$0")/../.." 2>/dev/null && top=$(pwd) && cd - >/dev/null
rm -rf "$out"
mkdir -p "$out/include" "$out/lib" "$out/newlib"
cp -R "$top/hyp/public/abi" "$out/include/abi"
cp -R "$top/guests/lib/include/." "$out/include/"
cp -R "$newlib/include" "$out/newlib/include"
cp "$newlib/lib/libc.a" "$newlib/COPYING.NEWLIB" "$lib" "$lds" \
	"$libfdt" "$out/lib/"
usr=$(dirname "$libfdt")/../..
cp "$usr/include/fdt.h" "$usr/include/libfdt.h" "$usr/include/libfdt_env.h" "$out/newlib/include/"
printf 'TARGET := %s\nARCH_FLAGS := %s\n' "$triple" "$flags" >"$out/lib/arch.mk"
cp "$top/LICENSE" "$top/tests/tools/sdk/Makefile" "$top/tests/tools/sdk/hello.c" "$out/"
echo "sdk: $out (cd there and make)"
