#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run host test programs: run_host.py OUTDIR PROGRAM...

Each program's standard output (TAP) goes to OUTDIR/<sanitizer>.<name>.tap, its standard error to
.err beside it; the last line of the .tap is `# exit <code>` (`timeout` after LIMIT seconds), by
which count.py knows a crash. Two programs at a time. Fails if any program failed.
"""
import concurrent.futures
import os
import subprocess
import sys
import time

LIMIT = int(os.environ.get("TM_HOST_LIMIT", "120"))


def run(out_dir, program):
    name = "%s.%s" % tuple(program.split(os.sep)[-2:])
    tap = os.path.join(out_dir, name + ".tap")
    err = os.path.join(out_dir, name + ".err")
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1")
    start = time.monotonic()
    with open(tap, "wb") as tap_file, open(err, "wb") as err_file:
        try:
            code = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=tap_file,
                                  stderr=err_file, timeout=LIMIT, env=env).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
    with open(tap, "a") as tap_file:
        tap_file.write("# exit %s\n" % code)
    return name, tap, err, code, time.monotonic() - start


def main():
    out_dir, programs = sys.argv[1], sys.argv[2:]
    os.makedirs(out_dir, exist_ok=True)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, tap, err, code, took in pool.map(lambda p: run(out_dir, p), programs):
            with open(tap, errors="replace") as lines:
                text = lines.read().splitlines()
            points = sum(1 for line in text if line.startswith("ok "))
            failed = [line for line in text if line.startswith("not ok")]
            print("  %-8s %-28s %4d ok %3d not ok  %5.1f s%s" % (
                "TEST", name, points, len(failed), took, "" if code == 0 else "  exit %s" % code))
            if code != 0:
                bad += 1
                for line in failed[:10]:
                    print("    " + line)
                with open(err, errors="replace") as lines:
                    for line in lines.read().splitlines()[:30]:
                        print("    " + line)
    sys.exit(1 if bad else 0)


main()
