#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: check_elf.sh ELF IMG
# The image as linked: three segments, none writable and executable, no dynamic relocation, no
# floating-point code of ours to speak of is checked at compile time; the flat file holds no bss
# and starts with the header of its architecture; its size against the budget of 160 KiB.
set -u
elf=$1
img=$2
bad=0
fail() {
	echo "elf: $elf: $1"
	bad=1
}
# Its low 32 bits: the image is smaller, and an address of x86's upper half no number of the shell's.
symbol() {
	llvm-nm "$elf" | awk -v name="$1" '$3 == name { print "0x" substr($1, 9) }'
}

segments=$(llvm-readelf -lW "$elf" | awk '$1 == "LOAD" { print }')
[ "$(printf '%s\n' "$segments" | wc -l)" = 3 ] || fail "want 3 LOAD segments (RX, R, RW)"
printf '%s\n' "$segments" | grep -q 'W *E' && fail "a segment is writable and executable"
llvm-readelf -rW "$elf" | grep -qE 'R_(AARCH64|X86_64)' && fail "relocations are left"
llvm-nm -u "$elf" | grep -q . && fail "undefined symbols are left"

size=$(wc -c <"$img")
file_end=$(($(symbol __data_file_end) - $(symbol __image_start)))
[ "$size" -le "$file_end" ] || fail "the flat file has $size bytes, data ends at $file_end: bss is in it"
# header OFFSET TEXT NAME
header() {
	[ "$(dd if="$img" bs=1 skip="$1" count=${#2} 2>/dev/null)" = "$2" ] || fail "no $3"
}
case $(llvm-readelf -hW "$elf" | awk '$1 == "Machine:" { print $NF }') in
AArch64) header 56 ARMd 'arm64 Image header' ;;
X86-64) header 0 IMGtmx86 'header of boot/x86/entry.h' ;;
*) fail 'a machine that has no such image' ;;
esac
if [ "$size" -gt 163840 ]; then
	echo "elf: note: $img has $size bytes, the aim is 163840"
	[ "$size" -le 327680 ] || fail "more than twice the aim"
fi
exit $bad
