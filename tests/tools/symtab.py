#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The symbol table inside the image, for backtraces.

  symtab.py empty                      an empty table, for the first link
  symtab.py make PASS1.nm              the table from `llvm-nm -n` of the first link
  symtab.py compare PASS1.nm PASS2.nm  fails if a function moved between the two links

Layout, all in .symtab_table, the tail of .rodata (functions only):
  const uint32_t hyp_symtab_count;       number of functions n
  const uint32_t hyp_symtab_offsets[n];  address - __image_start, ascending
  const char     hyp_symtab_names[];     n names, each ended by a NUL, in the same order

An address belongs to the last entry whose offset is not above it; its name is found by skipping
that many NULs. The declarations belong to whoever prints the backtrace.
"""
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
            if kind in "tTwW" and not name.startswith(("$", ".L", "__image", "__text")):
                functions.append((address, name))
    if base is None:
        sys.exit("symtab: no __image_start in " + path)
    return base, sorted(set(functions))


def emit(base, functions):
    print("/* made by tests/tools/symtab.py */")
    print('\t.section .symtab_table, "a"')
    print("\t.balign 4")
    for name in ("hyp_symtab_count", "hyp_symtab_offsets", "hyp_symtab_names"):
        print("\t.globl %s\n\t.type %s, %%object" % (name, name))
    print("hyp_symtab_count:\n\t.word %d" % len(functions))
    print("hyp_symtab_offsets:")
    for address, _ in functions:
        print("\t.word 0x%x" % (address - base))
    print("hyp_symtab_names:")
    for _, name in functions:
        print('\t.asciz "%s"' % name)
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
        emit(base, sorted(unique.items()))
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        first, second = read_nm(sys.argv[2]), read_nm(sys.argv[3])
        if first != second:
            moved = set(first[1]) ^ set(second[1])
            sys.exit("symtab: functions moved between the links: %s" % sorted(moved)[:5])
    else:
        sys.exit(__doc__)


main()
