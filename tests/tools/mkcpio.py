#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A reproducible cpio archive (newc) made without root.

  mkcpio.py -o OUT [--file NAME=PATH[:MODE]] [--dir NAME] [--symlink NAME=TARGET]
                   [--node NAME=MAJOR:MINOR:MODE] ...

Entries appear in the order given; owner 0, time 0, inode numbers counted from 1. MODE is octal.
File data starts on a 4-byte boundary of the archive, as newc asks.
"""
import sys

S_DIR, S_FILE, S_LINK, S_CHR = 0o040000, 0o100000, 0o120000, 0o020000


def entry(ino, name, mode, data=b"", rdev=(0, 0)):
    raw = name.encode() + b"\0"
    fields = (ino, mode, 0, 0, 2 if mode & S_DIR == S_DIR else 1, 0, len(data), 0, 0,
              rdev[0], rdev[1], len(raw), 0)
    out = b"070701" + b"".join(b"%08x" % f for f in fields) + raw
    out += b"\0" * (-len(out) % 4)
    out += data
    return out + b"\0" * (-len(out) % 4)


def archive(items):
    """items: list of (name, mode, data, rdev)."""
    out = b"".join(entry(i + 1, *item) for i, item in enumerate(items))
    return out + entry(0, "TRAILER!!!", 0)


def with_mode(text, default):
    head, colon, tail = text.rpartition(":")
    return (head, int(tail, 8)) if colon else (text, default)


def main(argv):
    out, items, i = None, [], 0
    while i < len(argv):
        option, value = argv[i], argv[i + 1]
        i += 2
        name, _, rest = value.partition("=")
        if option == "-o":
            out = value
        elif option == "--dir":
            items.append((value, S_DIR | 0o755, b"", (0, 0)))
        elif option == "--file":
            path, mode = with_mode(rest, 0o644)
            with open(path, "rb") as source:
                items.append((name, S_FILE | mode, source.read(), (0, 0)))
        elif option == "--symlink":
            items.append((name, S_LINK | 0o777, rest.encode(), (0, 0)))
        elif option == "--node":
            major, minor, mode = rest.split(":")
            items.append((name, S_CHR | int(mode, 8), b"", (int(major), int(minor))))
        else:
            sys.exit("mkcpio: unknown option " + option)
    if out is None:
        sys.exit(__doc__)
    with open(out, "wb") as target:
        target.write(archive(items))


if __name__ == "__main__":
    main(sys.argv[1:])
