#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench`: what single operations cost, in executed instructions.

    bench.py run --build build          measures; table and build/bench.json
    bench.py diff BASE.json NEW.json    compares two such files

Everything runs on stock QEMU under -icount shift=0, one CPU, release image: one instruction is one
nanosecond, so numbers repeat exactly. Two ways of looking:
  marker  in the guest, around the operation: the guest reads the virtual counter before and after
  vector  from the first instruction at EL2's vector to the eret, by our TCG plugin trapcount.c
The guest first proves that 64 nops cost 64. Instructions hide what hardware adds to exceptions and
TLB maintenance, so exits and TLBI instructions per operation stand beside each value.

    bench.py run --build build/x86 --arch x86      the same by marker only: SVM on QEMU, VMX on Bochs,
                                                   where one instruction is one tick of the TSC
"""
import argparse
import json
import os
import re
import subprocess
import sys

import modules as modules_tool
import tmconfig
from qemu import QEMU, Machine
from x86machine import QEMU_X86, X86Machine

# id in guests/bench/ops.h, name, kind of trap, operations in a run (samples x batch)
OPS = [(1, "hypercall_null", "sync", 33 * 64), (2, "psci_version", "sync", 33 * 64),
       (3, "gicd_typer_read", "sync", 33 * 64), (4, "sgi_self", "sync", 33 * 64),
       (5, "timer_irq", "irq", 33 * 64), (6, "first_touch_4k", "sync", 2 * 1024),
       (7, "mmio_exit_manager", "sync", 17 * 16), (8, "dirty_fault_wp", "sync", 2 * 18 * 64)]
MARKER_OPS = [op[1] for op in OPS] + ["ring_reset_page", "bitmap_get_page"]
# What the project aims at (vector), and beyond which an operation counts as broken.
AIMS = {"hypercall_null": 150, "psci_version": 200, "gicd_typer_read": 250, "sgi_self": 400,
        "timer_irq": 400, "first_touch_4k": 1300, "dirty_fault_wp": 600, "boot_banner": 500000,
        "image_bytes": 160 * 1024}

# x86, all by marker: a round trip is in it, of 54 on QEMU and 60 on Bochs.
X86_OPS = ["hypercall_null", "cpuid", "port_read", "apic_write", "sgi_self", "timer_irq",
           "first_touch_4k", "mmio_exit_manager", "dirty_fault_wp", "ring_reset_page",
           "bitmap_get_page"]
X86_TARGETS = [("amd", "x86-svm-qemu", X86_OPS),
               ("intel", "x86-vmx-bochs", X86_OPS + ["pml_write"])]
X86_AIMS = {"hypercall_null": 150, "dirty_fault_wp": 600, "pml_write": 80}


def symbols(elf):
    out = subprocess.run(["llvm-nm", elf], check=True, stdout=subprocess.PIPE).stdout.decode()
    return {line.split()[2]: int(line.split()[0], 16) for line in out.splitlines()
            if len(line.split()) == 3}


def measure(build, sysroot, name, vms, done, elf):
    """One run; returns (console text, plugin rows)."""
    where = os.path.join(build, "bench")
    os.makedirs(where, exist_ok=True)
    archive = os.path.join(where, name + ".cpio")
    modules_tool.write_archive(archive, vms, {}, build, sysroot)
    sym = symbols(elf)
    counts = os.path.join(where, name + ".counts")
    plugin = "%s,vbar=%#x,text=%#x,end=%#x,out=%s,mark=%#x" % (
        os.path.join(os.path.abspath(build), "trapcount.so"), sym["el2_vectors"],
        sym["__text_start"], sym["__text_end"], counts, sym["owner_init"])
    with Machine(os.path.join(build, "tidemark.img"), archive, smp=1, memory=1024, icount=True,
                 plugin=plugin, log=os.path.join(where, name + ".log")) as machine:
        machine.expect(done, 300)
        machine.child.kill(15)      # the plugin reports when QEMU ends by itself
        machine.wait_exit(30)
        text = machine.text()
    with open(counts) as rows:
        return text, [line.split() for line in rows]


def rows_of(text, counts):
    proof = re.search(r"nops=64 cost=(\d+)", text)
    if not proof or proof.group(1) != "64":
        sys.exit("bench: 64 nops cost %s: this is no icount run" % (proof and proof.group(1)))
    rows = []
    traps = {(int(c[1]), c[2]): [int(x) for x in c[3:]] for c in counts if c[0] == "op"}
    for ident, op, kind, n in OPS:
        seen = traps.get((ident, kind))
        marker = re.search(r"op=%s how=marker unit=insns value=(\d+)" % op, text)
        exits = sum(v[0] for (i, _), v in traps.items() if i == ident) / n
        flushes = sum(v[4] for (i, _), v in traps.items() if i == ident) / n
        if marker:
            rows.append(row(op, "marker", "insns", int(marker.group(1)), exits, flushes))
        if seen and marker:
            rows.append(row(op, "vector", "insns", seen[2], 1, seen[4] / seen[0]))
    for op in ("ring_reset_page", "bitmap_get_page"):
        marker = re.search(r"op=%s how=marker unit=insns value=(\d+)" % op, text)
        if marker:
            rows.append(row(op, "marker", "insns", int(marker.group(1)), None, None))
    return rows


def row(op, how, unit, value, exits, flushes, target="arm64-gicv3-max"):
    return {"target": target, "op": op, "how": how, "unit": unit, "value": value,
            "exits": exits if exits is None else round(exits, 2),
            "flushes": flushes if flushes is None else round(flushes, 2)}


def image_bytes(elf):
    """What the loader puts into memory: file bytes of all PT_LOADs."""
    out = subprocess.run(["llvm-readelf", "-lW", elf], check=True,
                         stdout=subprocess.PIPE).stdout.decode()
    return sum(int(line.split()[4], 16) for line in out.splitlines()
               if line.split()[:1] == ["LOAD"])


def run(build, sysroot):
    elf = os.path.join(build, "tidemark.elf")
    rows = []
    alone = tmconfig.vm("bench", image="bench.bin", memory=128, vcpus=1, autostart=True)
    text, counts = measure(build, sysroot, "alone", [alone], r"bench: done", elf)
    boot = {c[0]: int(c[-1]) for c in counts if c[0] in ("mark", "first_eret")}
    rows += rows_of(text, counts)
    manager = tmconfig.vm("manager", manager=True, image="benchmgr.bin", memory=256,
                          bootargs="stay image=bench.bin")
    text, counts = measure(build, sysroot, "manager", [manager], r"bench: manager (?:done|FAILED)", elf)
    if "bench: manager done" not in text:
        sys.exit("bench: the manager's part failed:\n" + text[-2000:])
    rows += rows_of(text, counts)
    rows.append(row("boot_banner", "vector", "insns", boot["mark"], None, None))
    rows.append(row("boot_first_guest", "vector", "insns", boot["first_eret"], None, None))
    rows.append(row("image_bytes", "vector", "bytes", image_bytes(elf), None, None))
    missing = set(MARKER_OPS) - {r["op"] for r in rows}
    finish(build, QEMU, rows, missing)


def run_x86(build, sysroot):
    where = os.path.join(build, "bench")
    os.makedirs(where, exist_ok=True)
    parts = [("alone", [tmconfig.vm("bench", image="bench.bin", memory=128, autostart=True)],
              r"bench: done"),
             ("manager", [tmconfig.vm("manager", manager=True, image="benchmgr.bin", memory=256,
                                      bootargs="stay image=bench.bin")],
              r"bench: manager (?:done|FAILED)")]
    rows, missing = [], set()
    for vendor, target, ops in X86_TARGETS:
        text = ""
        for name, vms, done in parts:
            archive = os.path.join(where, "%s-%s.cpio" % (vendor, name))
            modules_tool.write_archive(archive, vms, {}, build, sysroot)
            machine = X86Machine(os.path.join(build, "tidemark.img"), archive, vendor=vendor, smp=1,
                                 log=os.path.join(where, "%s-%s.log" % (vendor, name)))
            with machine:
                machine.expect(done, 300)
                text += machine.text()
            machine.drop_media()
        proof = re.search(r"nops=64 cost=(\d+)", text)
        if not proof or proof.group(1) != "64" or "bench: manager done" not in text:
            sys.exit("bench: %s failed:\n%s" % (target, text[-2000:]))
        values = dict(re.findall(r"op=(\w+) how=marker unit=insns value=(\d+)", text))
        missing |= {"%s %s" % (target, op) for op in ops if op not in values}
        rows += [row(op, "marker", "insns", int(values[op]), None, None, target) for op in ops
                 if op in values]
    rows.append(row("image_bytes", "vector", "bytes",
                    image_bytes(os.path.join(build, "tidemark.elf")), None, None, "x86"))
    finish(build, QEMU_X86, rows, missing)


def finish(build, qemu, rows, missing):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout.decode().strip()
    version = subprocess.run([qemu, "--version"], stdout=subprocess.PIPE).stdout.decode()
    result = {"commit": commit or "unknown", "emulator": version.splitlines()[0],
              "cpu": "max", "DEBUG": 0, "rows": rows}
    path = os.path.join(build, "bench.json")
    with open(path, "w") as out:
        json.dump(result, out, indent=1)
    table(result)
    print("written to", path)
    if missing:
        sys.exit("bench: no value for " + ", ".join(sorted(missing)))


def table(result):
    print("\n%s, commit %s, DEBUG=0" % (result["emulator"], result["commit"]))
    print("%-20s %-7s %10s %-6s %6s %8s %10s" % ("operation", "how", "value", "unit", "exits",
                                                "flushes", "aim"))
    target = result["rows"][0]["target"]
    for r in result["rows"]:
        if r["target"] != target:
            target = r["target"]
            print("--", target)
        x86 = r["target"].startswith("x86")
        aim = X86_AIMS.get(r["op"]) if x86 else AIMS.get(r["op"]) if r["how"] == "vector" else None
        print("%-20s %-7s %10d %-6s %6s %8s %10s%s" % (
            r["op"], r["how"], r["value"], r["unit"],
            "" if r["exits"] is None else r["exits"],
            "" if r["flushes"] is None else r["flushes"], aim or "",
            "  above 2x the aim" if aim and r["value"] > 2 * aim else
            "  above the aim" if aim and r["value"] > aim else ""))


def diff(base, new):
    def load(path):
        with open(path) as source:
            return {(r["target"], r["op"], r["how"]): r["value"] for r in json.load(source)["rows"]}
    old, now = load(base), load(new)
    print("%-20s %-7s %10s %10s %8s" % ("operation", "how", "base", "now", "change"))
    for key in sorted(old.keys() | now.keys()):
        a, b = old.get(key), now.get(key)
        change = "%+.1f %%" % (100.0 * (b - a) / a) if a and b is not None else ""
        print("%-20s %-7s %10s %10s %8s" % (key[1], key[2], a, b, change))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = parser.add_subparsers(dest="verb", required=True)
    p = sub.add_parser("run")
    p.add_argument("--build", default="build")
    p.add_argument("--sysroot")
    p.add_argument("--arch", default="arm64", choices=["arm64", "x86"])
    p = sub.add_parser("diff")
    p.add_argument("base")
    p.add_argument("new")
    args = parser.parse_args()
    if args.verb == "run":
        (run_x86 if args.arch == "x86" else run)(args.build, args.sysroot or "")
    else:
        diff(args.base, args.new)


if __name__ == "__main__":
    main()
