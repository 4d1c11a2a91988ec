# SPDX-License-Identifier: Apache-2.0
"""Debian's amd64 cloud kernel, unmodified, as a static guest on SVM and VMX with one and several
vCPUs. Its workload checks its own files; the shell answers what is typed; interrupts of the UART,
timers and IPIs rise in /proc/interrupts."""
import re

import pytest
from tmconfig import vm

TROUBLE = r"BUG:|WARNING: CPU|Oops|general protection|rcu.*stall|tick: BAD|PANIC|soft lockup"
LIMIT = {"amd": 180, "intel": 600}
# Bochs gives a guest 50 million instructions a second of its own time.
ARGS = {"amd": "console=ttyS0 files=8", "intel": "console=ttyS0 quiet files=4 tick_ms=20"}


def trouble(m):
    found = re.search(TROUBLE + r".*", m.text())
    assert not found, found.group()


def boot(x86, vendor, kind, vcpus, ncpus, icount=True):
    m = x86(vendor, kind, smp=ncpus, icount=icount,
            vms=[vm("linux", image="linux.img", ramdisk="initramfs.cpio", memory=128, vcpus=vcpus,
                    bootargs=ARGS[vendor], autostart=True)])
    m.expect(r"guest: Linux \S+ on x86_64, %d CPUs" % vcpus, LIMIT[vendor])
    m.expect(r"tick 8 checked \d files", LIMIT[vendor])
    trouble(m)
    return m


def interrupts(m, vendor):
    """The numbers of all CPUs by source."""
    m.sendline("cat /proc/interrupts; echo end $((40 + 2))")
    text = m.expect(r"CPU0(?:.|\n)*?end 42", LIMIT[vendor]).group(0).decode(errors="replace")
    rows = re.findall(r"(?m)^(?:\[linux\] )?\s*(\w+): +((?:\d+ +)+)(.*?)\r*$", text)
    return {(name + " " + what).strip(): sum(int(n) for n in counts.split())
            for name, counts, what in rows}


def by_name(rows, pattern):
    return sum(n for name, n in rows.items() if re.search(pattern, name))


@pytest.mark.parametrize("vendor,vcpus,ncpus", [
    ("amd", 1, 1), ("amd", 2, 2), ("amd", 4, 2), ("intel", 1, 1), ("intel", 2, 2)])
def test_linux(x86, vendor, vcpus, ncpus):
    m = boot(x86, vendor, "release", vcpus, ncpus)
    first = interrupts(m, vendor)
    m.expect(r"tick \d+ checked", LIMIT[vendor])
    second = interrupts(m, vendor)
    sources = [r"^4 .*ttyS0", r"^LOC "] + ([r"^(RES|CAL) "] if vcpus > 1 else [])
    for source in sources:
        assert by_name(second, source) > by_name(first, source), (source, first, second)
    assert by_name(second, r"^ERR|^SPU") == 0
    trouble(m)
    m.sendline("poweroff -f")
    m.expect(r"vm linux: shutdown type 1", LIMIT[vendor])


@pytest.mark.parametrize("vcpus,ncpus", [(4, 1), (2, 2)])
def test_linux_with_checkers(x86, vcpus, ncpus):
    """The debug build: lock ranks, the TLB checker and the state check before each entry watch."""
    boot(x86, "amd", "debug", vcpus, ncpus, icount=ncpus == 1)
