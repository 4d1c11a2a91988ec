#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make run`: boot Tidemark with the manager and one guest, and watch: arm64 and x86 with SVM under
QEMU, x86 with VMX under Bochs.

By default the manager plays its run script (boot Debian Linux, snapshot it live, destroy it,
restore it, compare) and prints `tidemark: run PASS ...` or `FAIL`; run.py ends with 0 only on
PASS. INTERACTIVE=1 gives the keyboard to the manager's shell instead. Everything is kept in
$(O)/run: console.log, console.log.cmd (the emulator's command line), config.dts, modules.cpio, seed.
"""
import argparse
import os
import re
import sys
import time

import modules as modules_tool
import tmconfig
from qemu import Machine, MachineError
from x86machine import X86Machine

LINUX_ARGS = {"arm64": "console=ttyAMA0 earlycon=pl011,0x09000000 quiet rdinit=/init",
              "x86": "console=ttyS0 quiet rdinit=/init"}
TIMEOUT = {"amd": 300, "intel": 900}
MEMORY = {"amd": 256, "intel": 128}
# Where the guest's start takes time that nobody knows (Bochs does 50 million instructions a second of
# its own time, UEFI and U-Boot of x86 run in the host's), the script waits for a key: see press_keys().
PATIENT_MANAGER, SLOW_LINUX = " settle=600000 after=600000", " files=4"
TICK = rb"\[linux\] [^\n]*tick \d+[^\n]*\n"
RESULT = re.compile(rb"(tidemark: run (PASS|FAIL)[^\r\n]*)[\r\n]")
DEAD = re.compile(rb"(tidemark: PANIC[^\r\n]*)[\r\n]")

TRY = """\
The keyboard goes to the manager's shell. Try:
  help                     all commands
  vm list                  the guests, their state and memory
  dirty start linux        log its writes; `dirty stat linux` shows the rate
  snap take linux one      a snapshot while it runs
  snap restore one         back to it
  console linux            the guest's own console; its shell is BusyBox
  Ctrl-T n gives the keyboard to the next VM
To leave: Ctrl-A then x.
"""


def is_patient(args):
    return not args.guest and args.arch == "x86" and (
        args.vendor == "intel" or args.boot in ("uefi", "u-boot"))


def configuration(args):
    """Returns (vms, extra files) from the options."""
    manager = tmconfig.vm("manager", manager=True, image="manager.bin")
    files = {}
    slow = args.vendor == "intel"
    if args.guest:
        files["guest.img"] = args.guest
        guest = tmconfig.vm("guest", image="guest.img")
        if args.bootargs:
            guest["bootargs"] = args.bootargs
    else:
        guest = tmconfig.vm("linux", image="linux.img", ramdisk="initramfs.cpio",
                            bootargs=(LINUX_ARGS[args.arch] + (SLOW_LINUX if slow else "") +
                                      " " + (args.bootargs or "")).strip())
    guest.update(memory=args.mem, vcpus=args.cpus, autostart=True)
    if not args.interactive and not args.guest:
        manager["bootargs"] = "run=%s%s%s" % (guest["name"], " lose=1" if args.lose else "",
                                              PATIENT_MANAGER if is_patient(args) else "")
    return [manager, guest], files


def check_numbers(text):
    """The guest's rising number across the snapshot; returns (what was seen, fault or None).

    Before `live snapshot` it was some A; the guest is destroyed at some Z; restored, it must go on
    from a number of between (it was taken in between), one by one, with nothing bad on the way."""
    parts = re.split(r"run: live snapshot|run: \S+ destroyed|run: \S+ starts again", text)
    if len(parts) != 4:
        return "", "the console lacks a step of the run"
    before, during, after = ([int(n) for n in re.findall(r"\btick (\d+)", parts[i])]
                             for i in (0, 1, 3))
    bad = re.search(r"tick: BAD[^\n]*|\bBUG:[^\n]*|[^\n]*stall(?:ed)? on[^\n]*|soft lockup[^\n]*"
                    r"|Kernel panic[^\n]*|Oops[^\n]*", text)
    if bad:
        return "", "the guest says: " + bad.group(0)
    if not before or len(after) < 3:
        return "", "too few numbers: %d before, %d after" % (len(before), len(after))
    last = (during or before)[-1]
    seen = "numbers: %d at the start of the snapshot, %d when destroyed, then %d to %d" % (
        before[-1], last, after[0], after[-1])
    if after != list(range(after[0], after[0] + len(after))):
        return seen, "a number is missing after the restore: %s" % after[:10]
    if not before[-1] < after[0] <= last + 1:
        return seen, "the restored guest goes on from the wrong number"
    return seen, None


def press_keys(machine, args):
    """The guest has counted far enough: on with the script. Looks ahead only: what it waits for is
    left for others to find in the log, and what ends the run ends this."""
    ahead = rb"(?=(?s:.*)(?:tidemark: run (?:PASS|FAIL)|tidemark: PANIC)[^\r\n]*[\r\n])"
    for step in (TICK * 2, rb"starts again(?s:.*?)" + TICK * 4):
        step = re.compile(step.replace(TICK, rb"(?s:.*?)" + TICK))
        if machine.expect_any([step, re.compile(ahead)], args.timeout)[0] == 1:
            return
        machine.send("\r")


def watch(machine, args):
    """Waits for the verdict; returns (exit code, last line)."""
    if is_patient(args):
        press_keys(machine, args)
    index, match = machine.expect_any([RESULT, DEAD], args.timeout)
    verdict = match.group(1).decode(errors="replace")
    # After PASS the manager switches the machine off; a panic needs a moment to print itself.
    machine.drain(5 if index == 1 else 1)
    if index == 1 or match.group(2) != b"PASS":
        return 1, verdict
    seen, fault = check_numbers(machine.text())
    if fault:
        return 1, "tidemark: run FAIL %s%s" % (fault, " (%s)" % seen if seen else "")
    print("\nrun: " + seen)
    return 0, verdict


def guest_only(machine, args):
    """GUEST= without a script: show the console until QEMU ends or time is over."""
    index = 0
    try:
        index, _ = machine.expect_any([DEAD, rb"tidemark: all guests ended[^\r\n]*"], args.timeout)
    except MachineError as error:
        print("\nrun: %s" % str(error).splitlines()[0])
        return 0 if "QEMU ended" in str(error) else 1
    machine.drain(0.3)
    return 1 if index == 0 else 0


def interactive(machine):
    print(TRY)
    sys.stdout.flush()
    # The emulator itself takes the terminal: its own escape key ends it.
    line = machine.command()
    if "-serial" in line:
        line[line.index("-serial") + 1] = "mon:stdio"
        monitor = line.index("-monitor")
        del line[monitor:monitor + 2]
    else:
        line.append("--escape")
    with open(machine.log + ".cmd", "w") as out:
        out.write(" ".join(line) + "\n")
    os.execvp(line[0], line)


def make_machine(args, archive, log):
    options = {"modules": archive, "smp": args.ncpus, "memory": max(2048, args.mem * 4),
               "boot": args.boot, "seed": args.seed, "icount": not args.interactive, "log": log,
               "echo": sys.stdout.buffer}
    if args.arch == "x86":
        options["icount"] = None if options["icount"] else False
        return X86Machine(args.image, vendor=args.vendor, cpu=args.cpu, **options)
    options["boot"] = "kernel" if args.boot == "auto" else args.boot
    return Machine(args.image, cpu=args.cpu or "max", gic=args.gic, **options)


def main():
    parser = argparse.ArgumentParser(prog="make run", usage="see `make help`")
    parser.add_argument("--build", required=True)
    parser.add_argument("--sysroot", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--out", help="where console and command line are kept; default: BUILD/run")
    parser.add_argument("--guest")
    parser.add_argument("--bootargs", default="")
    parser.add_argument("--mem", type=int)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--ncpus", type=int, default=2)
    parser.add_argument("--arch", default="arm64", choices=["arm64", "x86"])
    parser.add_argument("--vendor", default="amd", choices=["amd", "intel"], help="of x86")
    parser.add_argument("--cpu", help="a model of the emulator's")
    parser.add_argument("--gic", type=int, default=3, choices=[2, 3])
    parser.add_argument("--boot", default="auto",
                        choices=["auto", "kernel", "u-boot", "disk", "grub", "grub2", "uefi"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--lose", action="store_true")
    parser.add_argument("--interactive", action="store_true")
    args = parser.parse_args()
    args.timeout = args.timeout or TIMEOUT[args.vendor]
    args.mem = args.mem or MEMORY[args.vendor]

    run_dir = args.out or os.path.join(args.build, "run")
    os.makedirs(run_dir, exist_ok=True)
    vms, files = configuration(args)
    with open(os.path.join(run_dir, "config.dts"), "w") as out:
        out.write(tmconfig.dts(vms))
    with open(os.path.join(run_dir, "seed"), "w") as out:
        out.write("%d\n" % args.seed)
    archive = os.path.join(run_dir, "modules.cpio")
    modules_tool.write_archive(archive, vms, files, args.build, args.sysroot)
    machine = make_machine(args, archive, os.path.join(run_dir, "console.log"))
    if args.interactive:
        interactive(machine)
    started = time.monotonic()
    last = None
    try:
        with machine:
            if args.guest:
                code = guest_only(machine, args)
            else:
                code, last = watch(machine, args)
    except MachineError as error:
        code = 1
        last = "tidemark: run FAIL " + str(error).splitlines()[0]
    except KeyboardInterrupt:
        code = 130
    print("\nrun: %.0f s; console, command line and seed are in %s" % (
        time.monotonic() - started, run_dir))
    if last:
        print(last)
    return code


sys.exit(main())
