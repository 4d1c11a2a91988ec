#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The symbol table inside the image, for backtraces.

  symtab.py empty                      an empty table, for the first link
  symtab.py make PASS1.nm              the table from `llvm-nm -n` of the first link
  symtab.py compare PASS1.nm PASS2.nm  fails if a function moved between the two links

Layout, all in .symtab_table, the tail of .rodata (functions only); hyp/symtab.c reads it:
  const uint32_t hyp_symtab_count;         number of functions n
  const uint16_t hyp_symtab_deltas[n];     (address - address of the one before) / 4; the first
                                           counts from __image_start
  const uint8_t  hyp_symtab_pairs[128][2]  what a byte 0x80 + i in a name stands for: two bytes,
                                           each a character or again such a byte
  const uint8_t  hyp_symtab_names[];       n names, each ended by a NUL, in the same order

An address belongs to the last entry that is not above it; its name is found by skipping that many
NULs. Pairs (byte pair encoding, at most 15 deep) make the names about half as long.
"""
import collections
import sys


def read_nm(path):
    base = None
    functions = []
    with open(path) as lines:
        for line in lines:
            fields = line.split()
            if len(fields) != 3:
                continue
            address, kind, name = int(fields[0], 16), fields[1], fields[2]
            if name == "__image_start":
                base = address
            # Unaligned: a string among the code, not a function (the build aligns those to 4).
            if kind in "tTwW" and address % 4 == 0 and not name.startswith(("$", ".L", "__image", "__text")):
                functions.append((address, name))
    if base is None:
        sys.exit("symtab: no __image_start in " + path)
    return base, sorted(set(functions))


TOKENS = 128
TOKEN_FIRST = 0x80
DEPTH_MAX = 15


def compress(names):
    """Byte pair encoding; returns (list of token lists, list of pairs)."""
    coded = [list(name.encode()) for name in names]
    pairs, depth = [], {}
    while len(pairs) < TOKENS:
        seen = collections.Counter()
        for name in coded:
            seen.update(zip(name, name[1:]))
        best = [(n, p) for p, n in seen.items()
                if n > 2 and max(depth.get(p[0], 0), depth.get(p[1], 0)) < DEPTH_MAX - 1]
        if not best:
            break
        # The smallest of the most frequent: the table must not depend on hash order.
        count = max(n for n, _ in best)
        pair = min(p for n, p in best if n == count)
        token = TOKEN_FIRST + len(pairs)
        pairs.append(pair)
        depth[token] = 1 + max(depth.get(pair[0], 0), depth.get(pair[1], 0))
        for name in coded:
            i = 0
            while i + 1 < len(name):
                if (name[i], name[i + 1]) == pair:
                    name[i:i + 2] = [token]
                i += 1
    return coded, pairs


def emit(base, functions):
    coded, pairs = compress([name for _, name in functions])
    print("/* made by tests/tools/symtab.py */")
    print('\t.section .symtab_table, "a"')
    print("\t.balign 4")
    for name in ("hyp_symtab_count", "hyp_symtab_deltas", "hyp_symtab_pairs", "hyp_symtab_names"):
        print("\t.globl %s\n\t.type %s, %%object" % (name, name))
    print("hyp_symtab_count:\n\t.long %d" % len(functions))
    print("hyp_symtab_deltas:")
    before = base
    for address, name in functions:
        if (address - before) % 4 or (address - before) // 4 > 0xffff:
            sys.exit("symtab: %s is not within 256 KiB of the function before it" % name)
        print("\t.short %d" % ((address - before) // 4))
        before = address
    print("hyp_symtab_pairs:")
    for pair in pairs:
        print("\t.byte %d, %d" % pair)
    print("\t.space %d" % (2 * (TOKENS - len(pairs)) if functions else 2))
    print("hyp_symtab_names:")
    for name in coded:
        print("\t.byte " + ", ".join(str(c) for c in name + [0]))
    if not functions:
        print("\t.byte 0")


def main():
    if sys.argv[1:] == ["empty"]:
        emit(0, [])
    elif sys.argv[1:2] == ["make"] and len(sys.argv) == 3:
        base, functions = read_nm(sys.argv[2])
        unique = {}
        for address, name in functions:
            unique.setdefault(address, name)
        # What the compiler moved out of several functions stands in runs; one name for a run.
        listed = []
        for address, name in sorted(unique.items()):
            name = "outlined" if name.startswith("OUTLINED_FUNCTION_") else name
            if not (name == "outlined" and listed and listed[-1][1] == name):
                listed.append((address, name))
        emit(base, listed)
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        first, second = read_nm(sys.argv[2]), read_nm(sys.argv[3])
        if first != second:
            moved = set(first[1]) ^ set(second[1])
            sys.exit("symtab: functions moved between the links: %s" % sorted(moved)[:5])
    else:
        sys.exit(__doc__)


main()
