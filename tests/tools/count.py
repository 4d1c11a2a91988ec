#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sum up the test run: count.py [--title T] PATH...   (a PATH is a .tap file or a directory of them)

One count is one TAP point or one emulated row. What fails the run:
  - a point `not ok`
  - a file whose plan `1..N` does not match its points, that has no plan, or has no points at all
  - a program that did not exit 0 (`# exit`), a file that is not there, a directory without files
  - a skip `ok ... # SKIP reason` whose row is required, that is: everything, unless the reason
    starts with `optional:`
The closing line is `N passed, M failed`, alone on its line; skips are listed before it.
"""
import os
import re
import sys

POINT = re.compile(r"^(ok|not ok)\b\s*(\d+)?\s*-?\s*(.*)$")
SKIP = re.compile(r"#\s*SKIP\b\s*(.*)$", re.I)


def collect(paths):
    for path in paths:
        if os.path.isdir(path):
            files = sorted(f for f in os.listdir(path) if f.endswith(".tap"))
            yield from (os.path.join(path, f) for f in files)
            if not files:
                yield os.path.join(path, "(no .tap file)")
        else:
            yield path


def target_of(path, text):
    """Where a point ran: the host, or one of the emulated machines."""
    if os.path.basename(path) != "emu.tap":
        return "lint" if os.path.basename(path) == "lint.tap" else "host"
    if "test_x86_" not in text:
        return "arm64"
    return "vmx" if re.search(r"\[(.*-)?intel\b", text) else "svm"


def count_file(path, skips, faults, targets):
    """Returns (passed, failed) of one file."""
    try:
        with open(path, errors="replace") as source:
            lines = source.read().splitlines()
    except OSError:
        faults.append("%s: no result file" % path)
        return 0, 1
    passed = failed = points = 0
    plan = None
    code = "0"
    for line in lines:
        match = POINT.match(line)
        if match:
            points += 1
            skip = SKIP.search(match.group(3))
            if match.group(1) == "not ok":
                failed += 1
                faults.append("%s: %s" % (path, line))
            elif skip:
                skips.append("%s: %s" % (path, match.group(3)))
                if not skip.group(1).startswith("optional:"):
                    failed += 1
                    faults.append("%s: a required row was skipped: %s" % (path, line))
            else:
                passed += 1
                targets[target_of(path, line)] = targets.get(target_of(path, line), 0) + 1
        elif line.startswith("1.."):
            plan = int(line[3:].split()[0])
        elif line.startswith("# exit "):
            code = line[7:].strip()
    if plan is None:
        faults.append("%s: no plan" % path)
        failed += 1
    elif plan != points:
        faults.append("%s: planned %d, got %d" % (path, plan, points))
        failed += 1
    elif points == 0:
        faults.append("%s: zero points" % path)
        failed += 1
    if code != "0" and failed == 0:
        faults.append("%s: exit %s" % (path, code))
        failed += 1
    return passed, failed


def main(argv):
    title = "test"
    if argv[:1] == ["--title"]:
        title, argv = argv[1], argv[2:]
    passed = failed = 0
    skips, faults, targets = [], [], {}
    for path in collect(argv):
        good, bad = count_file(path, skips, faults, targets)
        passed += good
        failed += bad
    if passed == 0 and failed == 0:
        faults.append("nothing was run")
        failed = 1
    for text in skips:
        print("%s: skipped: %s" % (title, text))
    for text in faults:
        print("%s: FAILED: %s" % (title, text))
    print("%s: passed by target: %s" % (
        title, ", ".join("%s %d" % item for item in sorted(targets.items()))))
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


main(sys.argv[1:])
