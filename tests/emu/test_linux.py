# SPDX-License-Identifier: Apache-2.0
"""Debian's arm64 kernel, unmodified, as a static guest: on both interrupt controllers, on each CPU
model, with as many and more vCPUs than CPUs. Its workload checks its own files; the shell answers
what is typed, so receive interrupts work too."""
import re

import pytest
from tmconfig import vm

TROUBLE = r"BUG:|WARNING:|Oops|Internal error|rcu.*stall|tick: BAD|PANIC|: undefined"


def boot(machine, kind, vcpus, gic, cpu, ncpus):
    m = machine(kind, gic=gic, cpu=cpu, smp=ncpus, memory=512,
                vms=[vm("linux", image="linux.img", ramdisk="initramfs.cpio", memory=128,
                        vcpus=vcpus, bootargs="console=ttyAMA0 files=8", autostart=True)])
    m.expect(r"psci: PSCIv1.1 detected", 60)
    m.expect(r"SMP: Total of %d processors activated" % vcpus, 60)
    m.expect(r"guest: Linux \S+ on aarch64, %d CPUs" % vcpus, 120)
    m.expect(r"tick 8 checked 8 files", 120)
    assert not re.search(TROUBLE, m.text()), re.search(TROUBLE + r".*", m.text()).group()
    return m


@pytest.mark.parametrize("cpu", ["max", "cortex-a72", "cortex-a53"])
@pytest.mark.parametrize("gic", [3, 2])
@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_linux(machine, vcpus, gic, cpu):
    m = boot(machine, "release", vcpus, gic, cpu, 2)
    m.sendline("echo answer $((6 * 7))")
    m.expect(r"answer 42", 60)
    m.sendline("poweroff -f")
    m.expect(r"vm linux: shutdown type 1", 60)


@pytest.mark.parametrize("vcpus,gic,ncpus", [(2, 3, 1), (4, 2, 4), (4, 3, 1)])
def test_linux_with_checkers(machine, vcpus, gic, ncpus):
    """The debug build: lock ranks and the TLB checker watch; vCPUs share CPUs, or have their own."""
    boot(machine, "debug", vcpus, gic, "max", ncpus)
