#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: unpack.sh ARCH DIR
# Fetches Debian's kernel, busybox and libfdt for ARCH (arm64 or x86) and unpacks them under DIR.
# Installs nothing, needs no root and leaves the machine's apt alone: its own lists, cache and empty
# status file live in DIR/apt (removed at the end). DIR/linux.img links to the kernel, DIR/.stamp is
# last.
set -eu
umask 022

arch=$1
dir=$2
case $arch in
arm64)
	deb_arch=arm64
	triplet=aarch64-linux-gnu
	# The raw Image magic "ARM\x64"; a compressed kernel would need unpacking first.
	magic_at=56 magic=ARMd what='a raw arm64 Image'
	;;
x86)
	deb_arch=amd64
	triplet=x86_64-linux-gnu
	magic_at=514 magic=HdrS what='a bzImage'
	;;
*)
	echo "unpack: no recipe for ARCH=$arch" >&2
	exit 1
	;;
esac
# Somebody else's make may have done it while this one waited for the lock.
if [ -e "$dir/.stamp" ] && [ "$dir/.stamp" -nt "$0" ]; then
	exit 0
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
apt=$dir/apt
debs=$dir/debs

rm -rf "$apt" "$dir/usr" "$dir/bin" "$dir/boot" "$dir/lib" "$dir/linux.img" "$dir/.stamp"
mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$debs"

fetch_ok() {
	[ -n "$(ls "$debs"/linux-image-*.deb 2>/dev/null)" ] &&
		[ -n "$(ls "$debs"/busybox-static_*.deb 2>/dev/null)" ] &&
		[ -n "$(ls "$debs"/libfdt-dev_*.deb 2>/dev/null)" ]
}

A="-o APT::Architecture=$deb_arch -o APT::Architectures=$deb_arch -o Dir::State=$apt/state
-o Dir::State::status=/dev/null -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root
-o Acquire::Languages=none -o Acquire::Retries=3"

if ! fetch_ok; then
	echo "$arch: fetching the package lists (kernel, busybox, libfdt; nothing gets installed)"
	# A third-party source without it makes update fail; what counts is what follows.
	apt-get $A update -qq </dev/null >"$apt/log" 2>&1 || true
	kernel=$(apt-cache $A depends linux-image-cloud-$deb_arch 2>/dev/null |
		awk '/Depends: linux-image-/{print $2; exit}')
	if [ -z "$kernel" ]; then
		tail -n 10 "$apt/log" >&2
		echo "$arch: apt knows no linux-image-cloud-$deb_arch (are the Debian 12 sources reachable?)" >&2
		exit 1
	fi
	echo "$arch: downloading $kernel busybox-static libfdt-dev"
	rm -f "$debs"/*.deb
	(cd "$debs" && apt-get $A download -qq "$kernel" busybox-static libfdt-dev </dev/null) || {
		rm -f "$debs"/*.deb
		echo "$arch: download failed" >&2
		exit 1
	}
fi

for deb in "$debs"/*.deb; do
	dpkg -x "$deb" "$dir"
done
rm -rf "$apt" "$dir"/lib/modules/*/kernel "$dir/usr/share"

set -- "$dir"/boot/vmlinuz-*
[ -e "$1" ] || { echo "$arch: the kernel package holds no vmlinuz" >&2; exit 1; }
if [ "$(dd if="$1" bs=1 skip=$magic_at count=4 2>/dev/null)" != $magic ]; then
	echo "$arch: $1 is not $what" >&2
	exit 1
fi
ln -s "boot/$(basename "$1")" "$dir/linux.img"
if [ -x "$dir/usr/bin/busybox" ] && [ ! -e "$dir/bin/busybox" ]; then
	mkdir -p "$dir/bin"
	ln -s ../usr/bin/busybox "$dir/bin/busybox"
fi
for need in bin/busybox usr/include/libfdt.h usr/lib/$triplet/libfdt.a; do
	[ -e "$dir/$need" ] || { echo "$arch: $need is missing after unpacking" >&2; exit 1; }
done
(cd "$debs" && ls *.deb) >"$dir/.stamp"
echo "$arch: unpacked $(tr '\n' ' ' <"$dir/.stamp")"
