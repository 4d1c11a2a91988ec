#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may include whom, and other rules a grep can hold. Prints each breach as file:line and fails.
#   public headers      <stdint.h>, <abi/...>
#   pure files          <hyp/types.h> <hyp/err.h> <stdatomic.h> and their own header
#   *_format.c          <hyp/pgtable.h>, their own header; no assembly
#   hyp/                <abi/> <hyp/> <arch/>, the pure helpers of boot/, C's own headers; <asm/> only in three headers
#   drivers/            <hyp/types.h> <hyp/console.h> <hyp/err.h> <asm/io.h> <asm/msr.h>
#   guests/             <abi/>, guests/lib, the C library: the compile line has no other -I
# One place issues TLB invalidations; the core has no #if on the architecture.
set -u
cd "$(dirname "$0")/../.."
bad=0
STD='<(stdint|stddef|stdbool|stdarg|stdatomic|limits|stdalign|stdnoreturn|assert)\.h>'

fail() {
	bad=1
	printf '%s\n' "$2" | sed "s|^|layers: $1: |"
}

# includes RULE ALLOWED FILE...: every #include must match ALLOWED.
includes() {
	rule=$1 allowed=$2
	shift 2
	[ $# -gt 0 ] || return 0
	hits=$(grep -nHE '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null | grep -vE "$allowed")
	[ -z "$hits" ] || fail "$rule" "$hits"
}

files() {
	find "$@" -name '*.[chS]' -type f 2>/dev/null | sort
}

includes 'a public header includes only <stdint.h> and <abi/...>' \
	'<(stdint\.h|abi/[a-z0-9_/]*\.h)>' $(files hyp/public arch/*/public)

for name in pgtable dirty_ring bitmap; do
	[ -e "hyp/$name.c" ] && includes "hyp/$name.c is pure: types, err, its own header" \
		"<(hyp/(types|err|string|$name)\.h|abi/[a-z0-9_]*\.h)>|$STD" "hyp/$name.c"
done

for f in $(files arch | grep '_format\.c$'); do
	includes 'a format includes <hyp/pgtable.h> only' \
		"<hyp/(pgtable|types)\.h>|<arch/[a-z0-9_]*\.h>|\"[a-z0-9_]*\.h\"|$STD" "$f"
	hits=$(grep -nHE '\basm\b|__asm__|\b(read|write)_sysreg' "$f")
	[ -z "$hits" ] || fail 'a format has no assembly' "$hits"
done

core=$(files hyp | grep -v '^hyp/public/')
includes 'the core includes <abi/> <hyp/> <arch/>' \
	"<(abi|hyp|arch)/[a-z0-9_/]*\.h>|<asm/|<boot/(guest_fdt|guest_start|image_load)\.h>|\"[a-z0-9_]*\.h\"|<libfdt\.h>|$STD" $core
hits=$(grep -nHE 'include *<asm/' $core /dev/null |
	grep -vE '^hyp/include/(hyp/(lock|vcpu|vm|stage2|types)|arch/[a-z0-9_]*)\.h:')
[ -z "$hits" ] || fail 'the core includes <asm/> through lock.h, vcpu.h, vm.h, stage2.h, types.h only' "$hits"
hits=$(grep -nHE '^[[:space:]]*#[[:space:]]*(el)?if.*(__aarch64__|__x86_64__|__arm__|TM_ARCH|defined *\(ARCH)' $core /dev/null)
[ -z "$hits" ] || fail 'the core has no #if on the architecture' "$hits"

includes 'a driver includes types, console, io, msr' \
	"<hyp/(types|console|err|drivers|log)\.h>|<asm/(io|msr)\.h>|\"[a-z0-9_]*\.h\"|$STD" $(files drivers)
hits=$(grep -rnHE 'include *["<](hyp|arch|asm|boot)/|include *"[^"]*\.\./\.\.' $(files guests) /dev/null)
[ -z "$hits" ] || fail 'a guest sees <abi/> and guests/lib only' "$hits"

# One TLBI site: arch/<a>/tlb.c; head.S empties the CPU's own TLB once, before the MMU is on.
hits=$(grep -nHiE '\btlbi\b' $(files hyp arch boot drivers) /dev/null |
	grep -vE '^(arch/arm64/tlb\.c|boot/arm64/head\.S):' |
	grep -vE ':[[:space:]]*(//|\*|/\*)|//.*tlbi|/\*.*tlbi' | grep -E '["\t ]tlbi[[:space:]"\\]')
[ -z "$hits" ] || fail 'TLBI is issued in arch/arm64/tlb.c only' "$hits"

# First line of every source file.
for f in $(files hyp arch boot drivers guests tests linker); do
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
		fail 'no SPDX line' "$f"
done
for f in $(find tests .ci -name '*.py' -o -name '*.sh' -o -path .ci/run | sort); do
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || fail 'no SPDX line' "$f"
done

exit $bad
