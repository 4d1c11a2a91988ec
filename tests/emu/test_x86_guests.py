# SPDX-License-Identifier: Apache-2.0
"""x86: the SDK's guests in VMs, on SVM and on VMX: static ones, those that a manager makes, and the
kinds of program that the loader knows."""
import os
import re

import pytest
from conftest import BUILD_X86
from tmconfig import vm

# What the console puts before a VM's lines.
OWN = r"(?:\x1b\[K|\r)*(?:\[self\] )?"
LIMIT = {"amd": 120, "intel": 300}


def guest(name):
    return os.path.join(BUILD_X86, "guests", name)


@pytest.mark.parametrize("vendor,kind,ncpus,vcpus", [
    ("amd", "release", 4, 4), ("amd", "debug", 2, 2), ("amd", "debug", 1, 4),
    ("intel", "release", 1, 1), ("intel", "release", 2, 3), ("intel", "debug", 1, 2)])
def test_selftest(x86, vendor, kind, ncpus, vcpus):
    m = x86(vendor, kind, smp=ncpus,
            vms=[vm("self", image="selftest.bin", memory=16, vcpus=vcpus, autostart=True,
                    bootargs="hyp")])
    x86.tap(m, LIMIT[vendor], OWN)


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_two_static_guests(x86, vendor):
    m = x86(vendor, smp=2, vms=[
        vm("one", image="hello.bin", memory=8, bootargs="first", autostart=True),
        vm("two", image="dirty.bin", memory=8, vcpus=2, bootargs="seed=3", autostart=True)])
    seen = set()
    while len(seen) < 3:
        index, _ = m.expect_any([r"argument 1 is first", r"dirty: demo: 0 words differ",
                                 r"dirty: vcpus 2 rounds 3"], LIMIT[vendor])
        seen.add(index)


# RAM below and above 4 GiB; a program that is linked to run anywhere, as ELF file.
def test_places(x86):
    m = x86("amd", smp=1, files={"hello.elf": guest("hello.elf")}, vms=[
        vm("elf", image="hello.elf", memory=8, autostart=True),
        vm("far", image="hello.bin", memory=8, memory_base=0x140000000, autostart=True),
        vm("bad", image="hello.bin", memory=8, memory_base=0xbfe00000, autostart=True)])
    m.expect(r"/tidemark/bad: memory-size: asked 0x800000, there is no RAM from 0xc0000000 to "
             r"0x100000000", 60)
    seen = set()
    while len(seen) < 2:
        index, _ = m.expect_any([r"\[elf\] hello: 8 MiB of memory at 0x0",
                                 r"\[far\] hello: 8 MiB of memory at 0x140000000"], 60)
        seen.add(index)


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_multiboot(x86, vendor):
    """Tidemark as a guest of itself: Multiboot with addresses in the header, entered in 32-bit mode.
    Its own code finds no virtualization and says so on the UART that it finds."""
    m = x86(vendor, smp=1, files={"inner.img": os.path.join(BUILD_X86, "tidemark.img")},
            vms=[vm("inner", image="inner.img", memory=64, autostart=True)])
    m.expect(r"\[inner\] tidemark: cannot start: the CPU has no (?:SVM|VMX)|"
             r"\[inner\] tidemark: cannot start: .*(?:SVM|VMX)", LIMIT[vendor])


@pytest.mark.parametrize("vendor,kind,ncpus", [
    ("amd", "release", 2), ("amd", "debug", 1), ("amd", "debug-test", 4), ("intel", "release", 2)])
def test_manager_library(x86, vendor, kind, ncpus):
    m = x86(vendor, kind, smp=ncpus, icount=ncpus == 1,
            files={name: guest(name) for name in ("hello.bin", "dirty.bin")},
            vms=[vm("self", image="vmmtest.bin", manager=True)])
    x86.tap(m, 2 * LIMIT[vendor], OWN)
    m.expect(r"tidemark: machine off", 30)


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_bench(x86, vendor):
    m = x86(vendor, smp=1, vms=[vm("self", image="bench.bin", memory=64, autostart=True)])
    m.expect(r"nops=64 cost=64", LIMIT[vendor])
    for op in ("hypercall_null", "cpuid", "port_read", "apic_write", "sgi_self", "timer_irq"):
        value = int(m.expect(r"op=%s how=marker unit=insns value=(\d+)\s" % op, 60).group(1))
        assert 10 < value < 10000, op
    m.expect(r"bench: done", 60)


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_bench_with_manager(x86, vendor):
    m = x86(vendor, smp=1, files={"bench.bin": guest("bench.bin")},
            vms=[vm("benchmgr", image="benchmgr.bin", manager=True)])
    for op in ("mmio_exit_manager", "first_touch_4k", "dirty_fault_wp", "ring_reset_page",
               "bitmap_get_page"):
        value = int(m.expect(r"op=%s how=marker unit=insns value=(\d+)\s" % op, LIMIT[vendor],
                             refuse=(r"tidemark: PANIC[^\n]*", r"FAIL[^\n]*")).group(1))
        assert 10 < value < 50000, op
    m.expect(r"bench: manager done", 60)


def test_hello_from_a_shell_of_lines(x86):
    """A guest's words stay whole lines under its name."""
    m = x86("amd", smp=1,
            vms=[vm("self", image="hello.bin", memory=8, bootargs="a b", autostart=True)])
    m.expect(OWN + r"hello from a guest of 1 CPU", 30)
    m.expect(r"hello: done", 30)
    assert not re.search(r"hello: done[^\n]*\S+hello", m.text())
