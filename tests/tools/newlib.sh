#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: newlib.sh ARCH DIR
# Builds newlib (nano configuration) for guests from Debian's newlib-source into DIR/include and
# DIR/lib/libc.a; about a minute, once. -Os is a requirement, not taste: it selects the C string
# functions; the assembly ones use NEON and DC ZVA, which fault while a guest's MMU is off.
# -fpie because guests are static PIEs.
set -eu

arch=$1
out=$2
# Somebody else's make may have done it while this one waited for the lock.
if [ -e "$out/.stamp" ] && [ "$out/.stamp" -nt "$0" ]; then
	exit 0
fi
case $arch in
arm64)
	triple=aarch64-none-elf
	flags='-mstrict-align'
	;;
x86)
	# No SSE where no float is asked for: interrupt handlers print too, and save no such registers.
	triple=x86_64-none-elf
	flags='-mno-implicit-float -mno-red-zone -nostdlibinc -fcf-protection=none'
	;;
*)
	echo "newlib: no recipe for ARCH=$arch" >&2
	exit 1
	;;
esac

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$out/work
rm -rf "$work" "$out/include" "$out/lib" "$out/.stamp"
mkdir -p "$work/build"
echo "newlib: building for $triple (once, about a minute)"

tar -C "$work" -xf /usr/src/newlib/newlib-3.3.0.tar.xz
src=$(ls -d "$work"/newlib-*)

# The nano printf knows one `l` and no `z`, `j`, `t`: "%llx" prints the text "lx". All of them are
# a long on our 64-bit targets, so one loop in front of its own parsing makes them right.
printf_c=$src/newlib/libc/stdio/nano-vfprintf.c
sed -i 's/^ *flag_chars = "hlL";/      while (*fmt != 0 \&\& memchr ("lzjt", *fmt, 4) != NULL)\n\t{\n\t  prt_data.flags |= LONGINT;\n\t  fmt++;\n\t}\n&/' "$printf_c"
grep -q '"lzjt"' "$printf_c" || {
	echo "newlib: $printf_c is not the file this script knows" >&2
	exit 1
}

cd "$work/build"
# MAKEFLAGS of the outer make (no built-in rules) would break newlib's own makefiles.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES O V ARCH DEBUG TEST CC LD AR 2>/dev/null || true
run() {
	"$@" >>"$work/log" 2>&1 </dev/null || {
		tail -n 20 "$work/log" >&2
		echo "newlib: '$1' failed; the whole log is $work/log" >&2
		exit 1
	}
}
run "$src/configure" --target="$triple" --prefix="$work/inst" \
	--disable-multilib --disable-libgloss --disable-newlib-supplied-syscalls \
	--enable-newlib-nano-malloc --enable-newlib-nano-formatted-io \
	--disable-newlib-multithread --enable-newlib-reent-small --enable-lite-exit \
	--disable-newlib-wide-orient --disable-newlib-unbuf-stream-opt \
	--disable-newlib-fvwrite-in-streamio --enable-newlib-global-atexit --disable-nls \
	CC=clang CC_FOR_TARGET="clang --target=$triple" AR_FOR_TARGET=llvm-ar \
	RANLIB_FOR_TARGET=llvm-ranlib \
	CFLAGS_FOR_TARGET="-g0 -Os -ffreestanding $flags -fpie -ffunction-sections -fdata-sections"
run make -j"$(nproc)" MAKEINFO=true all-target-newlib
run make MAKEINFO=true install-target-newlib

mv "$work/inst/$triple/include" "$out/include"
mkdir -p "$out/lib"
mv "$work/inst/$triple/lib/libc.a" "$out/lib/libc.a"
cp "$src/COPYING.NEWLIB" "$out/COPYING.NEWLIB"
rm -rf "$work"
date -u +%Y-%m-%d >"$out/.stamp"
echo "newlib: done"
