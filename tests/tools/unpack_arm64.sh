#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: unpack_arm64.sh DIR
# Fetches Debian's arm64 kernel, busybox and libfdt and unpacks them under DIR. Installs nothing,
# needs no root and leaves the machine's apt alone: its own lists, cache and empty status file
# live in DIR/apt (removed at the end). DIR/linux.img links to the kernel, DIR/.stamp is last.
set -eu
umask 022

dir=$1
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

A="-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State=$apt/state
-o Dir::State::status=/dev/null -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root
-o Acquire::Languages=none -o Acquire::Retries=3"

if ! fetch_ok; then
	echo "arm64: fetching the package lists (kernel, busybox, libfdt; nothing gets installed)"
	# A third-party source without arm64 makes update fail; what counts is what follows.
	apt-get $A update -qq </dev/null >"$apt/log" 2>&1 || true
	kernel=$(apt-cache $A depends linux-image-cloud-arm64 2>/dev/null |
		awk '/Depends: linux-image-/{print $2; exit}')
	if [ -z "$kernel" ]; then
		tail -n 10 "$apt/log" >&2
		echo "arm64: apt knows no linux-image-cloud-arm64 (are the Debian 12 sources reachable?)" >&2
		exit 1
	fi
	echo "arm64: downloading $kernel busybox-static libfdt-dev"
	rm -f "$debs"/*.deb
	(cd "$debs" && apt-get $A download -qq "$kernel" busybox-static libfdt-dev </dev/null) || {
		rm -f "$debs"/*.deb
		echo "arm64: download failed" >&2
		exit 1
	}
fi

for deb in "$debs"/*.deb; do
	dpkg -x "$deb" "$dir"
done
rm -rf "$apt" "$dir"/lib/modules/*/kernel "$dir/usr/share"

set -- "$dir"/boot/vmlinuz-*
[ -e "$1" ] || { echo "arm64: the kernel package holds no vmlinuz" >&2; exit 1; }
# The raw Image magic "ARM\x64" at 56; a compressed kernel would need unpacking first.
if [ "$(dd if="$1" bs=1 skip=56 count=4 2>/dev/null)" != "ARMd" ]; then
	echo "arm64: $1 is not a raw arm64 Image" >&2
	exit 1
fi
ln -s "boot/$(basename "$1")" "$dir/linux.img"
if [ -x "$dir/usr/bin/busybox" ] && [ ! -e "$dir/bin/busybox" ]; then
	mkdir -p "$dir/bin"
	ln -s ../usr/bin/busybox "$dir/bin/busybox"
fi
for need in bin/busybox usr/include/libfdt.h usr/lib/aarch64-linux-gnu/libfdt.a; do
	[ -e "$dir/$need" ] || { echo "arm64: $need is missing after unpacking" >&2; exit 1; }
done
(cd "$debs" && ls *.deb) >"$dir/.stamp"
echo "arm64: unpacked $(tr '\n' ' ' <"$dir/.stamp")"
