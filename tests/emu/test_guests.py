# SPDX-License-Identifier: Apache-2.0
"""The SDK's guests in VMs: static ones without a manager, and those that a manager makes."""
import re

import pytest

from tmconfig import vm

# What the console puts before a VM's lines.
OWN = r"(?:\x1b\[K|\r)*(?:\[self\] )?"


@pytest.mark.parametrize("kind,gic,cpu,ncpus,vcpus", [
    ("release", 3, "max", 4, 4), ("release", 2, "max", 2, 4), ("debug", 3, "max", 2, 2),
    ("debug", 3, "cortex-a72", 1, 4), ("release", 3, "cortex-a53", 2, 1)])
def test_selftest(machine, kind, gic, cpu, ncpus, vcpus):
    m = machine(kind, gic=gic, cpu=cpu, smp=ncpus, memory=512,
                vms=[vm("self", image="selftest.bin", memory=16, vcpus=vcpus, autostart=True,
                         bootargs="hyp")])
    machine.tap(m, 120, OWN)


def test_two_static_guests(machine):
    m = machine("release", smp=2, memory=512, vms=[
        vm("one", image="hello.bin", memory=8, bootargs="first", autostart=True),
        vm("two", image="dirty.bin", memory=8, vcpus=2, bootargs="seed=3", autostart=True)])
    seen = set()
    while len(seen) < 3:
        index, _ = m.expect_any([r"argument 1 is first", r"dirty: demo: 0 words differ",
                                 r"dirty: vcpus 2 rounds 3"], 60)
        seen.add(index)


@pytest.mark.parametrize("gic", [3, 2])
def test_bench(machine, gic):
    m = machine("release", gic=gic, smp=1, memory=512,
                vms=[vm("self", image="bench.bin", memory=64, autostart=True)])
    m.expect(r"nops=64 cost=64", 60)
    for op in ("hypercall_null", "psci_version", "gicd_typer_read", "sgi_self", "timer_irq"):
        value = int(m.expect(r"op=%s how=marker unit=insns value=(\d+)\s" % op, 60).group(1))
        assert 10 < value < 5000, op
    m.expect(r"bench: done", 60)


def test_bench_with_manager(machine):
    m = machine("release", smp=1, memory=1024, files={"bench.bin": guest_path("bench.bin")},
                vms=[vm("benchmgr", image="benchmgr.bin", manager=True)])
    for op in ("mmio_exit_manager", "first_touch_4k", "dirty_fault_wp", "ring_reset_page", "bitmap_get_page"):
        value = int(m.expect(r"op=%s how=marker unit=insns value=(\d+)\s" % op, 60,
                             refuse=(r"tidemark: PANIC[^\n]*", r"FAIL[^\n]*")).group(1))
        assert 10 < value < 20000, op
    m.expect(r"bench: manager done", 60)
    assert m.wait_exit(30) == 0


def guest_path(name):
    from conftest import BUILD
    import os
    return os.path.join(BUILD, "guests", name)


def test_hello_from_a_shell_of_lines(machine):
    """A guest's words stay whole lines under its name."""
    m = machine("release", smp=1, memory=256,
                vms=[vm("self", image="hello.bin", memory=8, bootargs="a b", autostart=True)])
    m.expect(OWN + r"hello from a guest of 1 CPU", 30)
    m.expect(r"hello: done", 30)
    assert not re.search(r"hello: done[^\n]*\S+hello", m.text())


def test_uboot_as_a_guest(machine):
    """Debian's U-Boot for QEMU's board, unmodified, in a VM that the manager makes."""
    m = machine("release", smp=2, memory=1024, icount=False,
                files={"u-boot.bin": "/usr/lib/u-boot/qemu_arm64/u-boot.bin"},
                vms=[vm("manager", image="manager.bin", manager=True)])
    m.expect(r"tidemark>", 30)
    m.sendline("vm create u image=u-boot.bin mem=128")
    m.expect(r"runs it", 20)
    m.sendline("vm start u")
    m.expect(r"\[u\] U-Boot 20\d\d", 30)
    m.expect(r"DRAM: +128 MiB", 30)
    m.expect(r"bad CRC, using default environment", 30)
    m.expect(r"Hit any key to stop autoboot", 30)
    m.expect(r"No ethernet found", 60)


@pytest.mark.parametrize("kind,gic,cpu,ncpus", [
    ("release", 3, "max", 2), ("debug", 2, "max", 1), ("debug-test", 3, "cortex-a72", 4),
    ("release", 2, "cortex-a53", 4)])
def test_manager_library(machine, kind, gic, cpu, ncpus):
    m = machine(kind, gic=gic, cpu=cpu, smp=ncpus, memory=1024,
                files={name: guest_path(name) for name in ("hello.bin", "dirty.bin")},
                vms=[vm("self", image="vmmtest.bin", manager=True)])
    machine.tap(m, 120, OWN)
    assert m.wait_exit(30) == 0
