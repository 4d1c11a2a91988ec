# SPDX-License-Identifier: Apache-2.0
"""guests/lib on the bare machine: the same binaries at EL1 without a hypervisor. What fails here is
the SDK's fault, whatever the rows with the hypervisor say."""
import os
import re

import pytest

from conftest import BUILD


def guest(name):
    return os.path.join(BUILD, "guests", name + ".bin")


@pytest.mark.parametrize("gic,cpu,smp", [(3, "max", 4), (2, "max", 4), (3, "cortex-a53", 2),
                                         (3, "cortex-a72", 1)])
def test_selftest(machine, gic, cpu, smp):
    m = machine(image=guest("selftest"), virtualization=False, gic=gic, cpu=cpu, smp=smp,
                memory=512)
    machine.tap(m, 60)
    assert m.wait_exit(20) == 0


def test_hello_sees_its_arguments(machine):
    m = machine(image=guest("hello"), virtualization=False, memory=256, smp=1, append="one two=3")
    m.expect(r"hello from a guest of 1 CPU\(s\), GICv3", 20)
    m.expect(r"argument 2 is two=3", 10)
    assert m.wait_exit(20) == 0


def test_crash_says_where(machine):
    m = machine(image=guest("selftest"), virtualization=False, memory=256, smp=1, append="crash")
    m.expect(r"guest CRASH: cpu 0 vector 4 esr 0x96000050 far 0xa800000 pc", 30)
    assert m.wait_exit(20) == 0


@pytest.mark.parametrize("smp", [1, 2, 4])
def test_dirty_ledger_agrees_with_memory(machine, smp):
    m = machine(image=guest("dirty"), virtualization=False, memory=256, smp=smp, append="seed=5")
    m.expect(r"dirty: demo: 0 words differ", 60)
    line = m.expect(r"dirty: vcpus (\d+) rounds 3 ([^\r\n]*)[\r\n]", 10)
    assert int(line.group(1)) == smp
    counts = [int(n) for n in re.findall(rb" (\d+)", b" " + line.group(2))]
    assert len(counts) == 9 and min(counts) > 0, line.group(2)
    assert m.wait_exit(20) == 0


def test_one_cpu_is_the_same_twice(machine):
    text = []
    for _ in range(2):
        m = machine(image=guest("dirty"), virtualization=False, memory=256, smp=1, append="seed=8")
        m.wait_exit(60)
        # QEMU's own last words come or not, as its end races with the terminal.
        text.append(m.text().split("qemu-system")[0])
    assert text[0] == text[1] and "dirty: vcpus 1" in text[0]


@pytest.mark.parametrize("gic", [3, 2])
def test_bench_counts_instructions(machine, gic):
    m = machine(image=guest("bench"), virtualization=False, gic=gic, memory=256, smp=1)
    m.expect(r"bench: nops=64 cost=64", 30)
    m.expect(r"bench: op=timer_irq how=marker unit=insns value=\d+\s", 30)
    m.expect(r"bench: done", 30)
    assert m.wait_exit(20) == 0
