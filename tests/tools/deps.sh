#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The one list of Debian 12 packages that the build and the tests need. Prints nothing and needs
# no network when everything is there; else installs what is missing, as root or through sudo.
set -u

# package:probe. A probe is a command, or an absolute path (shell pattern allowed).
LIST='
clang:clang
lld:ld.lld
llvm:llvm-objcopy
libclang-rt-14-dev:/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.asan-*.a
libc6-dev:/usr/include/stdio.h
xz-utils:xz
file:file
cppcheck:cppcheck
newlib-source:/usr/src/newlib/newlib-3.3.0.tar.xz
libfdt-dev:/usr/include/libfdt.h
libzydis-dev:/usr/include/Zydis/Zydis.h
device-tree-compiler:dtc
qemu-system-arm:qemu-system-aarch64
qemu-system-x86:qemu-system-x86_64
ovmf:/usr/share/ovmf/OVMF.fd
bochs:bochs-bin
bochs-term:/usr/lib/*/bochs/plugins/libbx_term_gui.so
bochsbios:/usr/share/bochs/BIOS-bochs-latest
vgabios:/usr/share/bochs/VGABIOS-lgpl-latest
gnu-efi:/usr/include/efi/efi.h
grub-common:grub-mkrescue
grub-pc-bin:/usr/lib/grub/i386-pc/multiboot2.mod
xorriso:xorriso
u-boot-qemu:/usr/lib/u-boot/qemu_arm64/u-boot.bin
u-boot-tools:mkimage
mtools:mcopy
python3:/usr/bin/python3
python3-pytest:/usr/lib/python3/dist-packages/pytest
python3-pytest-xdist:/usr/lib/python3/dist-packages/xdist
python3-pexpect:/usr/lib/python3/dist-packages/pexpect
'

missing() {
	for entry in $LIST; do
		package=${entry%%:*}
		probe=${entry#*:}
		case $probe in
		/*)
			set -- $probe
			[ -e "$1" ] || printf '%s ' "$package"
			;;
		*)
			command -v "$probe" >/dev/null 2>&1 || printf '%s ' "$package"
			;;
		esac
	done
}

want=$(missing)
[ -z "$want" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: this machine has no apt-get; install these yourself (Debian 12 names): $want" >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null 2>&1; then
	as_root='sudo'
else
	echo "deps: packages are missing, and this is neither root nor is there sudo." >&2
	echo "deps: as root, run: apt-get update && apt-get install -y --no-install-recommends $want" >&2
	exit 1
fi

install() {
	echo "deps: apt-get install $want"
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Use-Pty=0 $want </dev/null >"$log" 2>&1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Without package lists, or with stale ones, the first try fails: fetch them and try once more.
if ! install; then
	echo "deps: apt-get update"
	if ! $as_root apt-get update -qq </dev/null >>"$log" 2>&1 || ! install; then
		tail -n 15 "$log" >&2
		echo "deps: could not install: $want" >&2
		exit 1
	fi
fi

want=$(missing)
if [ -n "$want" ]; then
	echo "deps: installed, yet not found: $want" >&2
	exit 1
fi
echo "deps: all packages are there"
