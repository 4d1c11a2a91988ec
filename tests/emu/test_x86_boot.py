# SPDX-License-Identifier: Apache-2.0
"""x86: every way from reset to the first guests, and every refusal on the way."""
import os
import re
import struct

import pytest
from conftest import BUILD_X86
from tmconfig import vm

HELLO = [vm("one", image="hello.bin", memory=8, autostart=True)]
MANAGED = [vm("manager", manager=True, image="manager.bin"),
           vm("one", image="counter.bin", memory=8, autostart=True)]
BANNER = (r"tidemark 1\.0 \([0-9a-z]+, DEBUG=%d\) x86-64: %d CPUs?, %s MiB, x?2?APIC, %s, 16550 at "
          r"0x3f8\r+\n")
REFUSAL = r"tidemark: cannot start: "
VIRT = {"amd": "SVM", "intel": "VMX"}
# Bochs is slow, and firmware on it slower: seconds of wall time for what comes before our banner.
FIRMWARE = {("amd", "uefi"): 60, ("amd", "u-boot"): 40, ("intel", "uefi"): 240}

WAYS = [("amd", boot) for boot in ("kernel", "disk", "grub", "grub2", "uefi", "u-boot")] + [
    ("intel", boot) for boot in ("disk", "grub", "grub2", "uefi")]
EACH_WAY = pytest.mark.parametrize("vendor,boot", WAYS, ids=["-".join(way) for way in WAYS])


def banner(m, cpus, kind="release", memory=r"\d+", limit=60):
    m.expect(BANNER % (kind != "release", cpus, memory, VIRT[m.vendor]), limit)
    m.expect(r"tidemark: TSC \d+ kHz", 20)


# OVMF has no ACPI tables for Bochs: one CPU is all that can be known there.
def cpus_known(vendor, boot, smp):
    return 1 if (vendor, boot) == ("intel", "uefi") else smp


@EACH_WAY
def test_way_in(x86, vendor, boot):
    """Banner, all CPUs, the manager's prompt, and a guest that runs beside it."""
    m = x86(vendor, "release", vms=MANAGED, boot=boot, smp=2, append="log=dbg")
    cpus = cpus_known(vendor, boot, 2)
    banner(m, cpus, limit=FIRMWARE.get((vendor, boot), 90))
    m.expect(r"tidemark: %d CPUs? online" % cpus, 60)
    m.expect(r"tidemark> ", 120)
    first = int(m.expect(r"\[one\] counter: (\d+)", 60).group(1))
    m.sendline("vm list")
    m.expect(r"\d one +(?:running|ready) +1 +8 MiB", 60)
    assert int(m.expect(r"\[one\] counter: (\d+)", 60).group(1)) > first


@pytest.mark.parametrize("vendor,smp,kind", [
    ("amd", 1, "release"), ("amd", 1, "debug"), ("amd", 2, "debug"), ("amd", 4, "release"),
    ("amd", 8, "release"), ("amd", 8, "debug"), ("intel", 1, "debug"), ("intel", 2, "debug"),
    ("intel", 4, "release")])
def test_cpus(x86, vendor, smp, kind):
    m = x86(vendor, kind, vms=HELLO, smp=smp)
    banner(m, smp, kind)
    m.expect(r"tidemark: %d CPUs? online" % smp, 60)
    m.expect(r"\[one\] hello: done", 120)


@pytest.mark.parametrize("boot,memory", [("kernel", 32), ("kernel", 3072), ("disk", 32),
                                         ("disk", 5120), ("uefi", 96), ("uefi", 5120),
                                         ("u-boot", 64), ("u-boot", 5120)])
def test_memory_size(x86, boot, memory):
    m = x86("amd", "debug", vms=HELLO, boot=boot, memory=memory)
    banner(m, 2, "debug", "(%s)" % "|".join(str(memory - n) for n in range(0, 9)))
    m.expect(r"\[one\] hello: done", 60)


@pytest.mark.parametrize("boot", ["kernel", "disk", "grub", "grub2", "uefi"])
def test_older_chipset(x86, boot):
    m = x86("amd", "release", vms=HELLO, boot=boot, chipset="pc")
    banner(m, 2)
    m.expect(r"\[one\] hello: done", 60)


@pytest.mark.parametrize("boot", ["kernel", "disk", "grub", "grub2", "uefi", "u-boot"])
def test_command_line(x86, boot):
    """It arrives whole: an option at its end decides."""
    m = x86("amd", "release", vms=HELLO, boot=boot, append="x=%s virt=wrong" % ("y" * 150))
    m.expect(REFUSAL + r"virt= is neither vmx nor svm\r+\n", 60)


# --- refusals -----------------------------------------------------------------------------------
CPUS = [("amd", "qemu64,-svm", r"the CPU has no SVM"),
        ("amd", "max,-svm", r"the CPU has no SVM"),
        ("amd", "max,-npt", r"SVM without nested paging"),
        ("amd", "max,-nx", r"this CPU has no execute-disable bit \(NX\), or firmware hides it"),
        ("amd", "qemu32", r"this CPU has no 64-bit mode"),
        ("amd", "486", r"this CPU has no 64-bit mode"),
        # VMX of before EPT; and none at all.
        ("intel", "core2_penryn_t9600", r"[^\r\n]*(VMX|EPT)[^\r\n]*"),
        ("intel", "corei3_cnl", None),
        ("intel", "atom_n270", r"this CPU has no 64-bit mode|[^\r\n]*VMX[^\r\n]*"),
        ("intel", "p4_prescott_celeron_336", r"[^\r\n]*VMX[^\r\n]*")]


@pytest.mark.parametrize("vendor,cpu,text", CPUS, ids=[c[1] for c in CPUS])
def test_cpu_lacks(x86, vendor, cpu, text):
    m = x86(vendor, "release", vms=HELLO, cpu=cpu, smp=1)
    if text:
        m.expect(REFUSAL + r"(%s)\r+\n" % text, 60)
    else:
        banner(m, 1)    # an Intel CPU without PML is good enough
        m.expect(r"\[one\] hello: done", 120)


@pytest.mark.parametrize("vendor,boot", [w for w in WAYS if w != ("intel", "uefi")])
def test_no_archive(x86, vendor, boot):
    m = x86(vendor, "release", boot=boot)
    m.expect(REFUSAL + r"no modules archive", FIRMWARE.get((vendor, boot), 90))


def test_damaged_archive(x86):
    m = x86("amd", "release", vms=HELLO, start=False)
    with open(m.modules, "r+b") as archive:
        archive.write(b"x")
    m.start()
    m.expect(r"tidemark: modules archive: damaged at byte 0, looking for tidemark\.dtb", 20)
    m.expect(REFUSAL + r"no configuration: the modules archive has no readable tidemark\.dtb\r+\n", 20)


def test_no_configuration(x86):
    m = x86("amd", "release", files={"other": b"x"})
    m.expect(REFUSAL + r"no configuration: the modules archive has no readable tidemark\.dtb\r+\n", 20)


@pytest.mark.parametrize("boot,memory", [("kernel", 3), ("disk", 3), ("disk", 5)])
def test_too_little_memory(x86, boot, memory):
    m = x86("amd", "release", vms=HELLO, boot=boot, memory=memory, smp=1)
    m.expect(REFUSAL + r"not enough memory: the largest free piece has \d+ KiB, \d+ are needed\r+\n",
             20)


# --- our loaders --------------------------------------------------------------------------------
def test_disk_too_little_memory_for_the_archive(x86):
    m = x86("amd", "release", files={"big": bytes(9 << 20)}, boot="disk", memory=8)
    m.expect(REFUSAL + r"not enough memory for the modules archive\r+\n", 20)


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_disk_cut_off(x86, vendor):
    """The disk ends within the archive: the BIOS says so, and the loader passes it on."""
    m = x86(vendor, "release", files={"big": bytes(3 << 20)}, boot="disk", start=False)
    plain = m.write_medium

    def cut():
        medium = plain()
        os.truncate(medium, 4 * 16 * 63 * 512)
        return medium
    m.write_medium = cut
    m.start()
    m.expect(REFUSAL + r"the boot disk cannot be read\r+\n", 60)


def bad_image(x86, tmp_path, change):
    with open(os.path.join(BUILD_X86, "tidemark.img"), "rb") as source:
        image = bytearray(source.read())
    path = str(tmp_path / "bad.img")
    with open(path, "wb") as out:
        out.write(change(image))
    return x86("amd", "release", vms=HELLO, boot="uefi", image=path, loaders=BUILD_X86)


def no_magic(image):
    image[0] ^= 1
    return image


def entry_outside(image):
    image[16:24] = struct.pack("<Q", 1 << 32)
    return image


def no_space(image):
    image[8:16] = struct.pack("<Q", 1 << 40)
    return image


BAD_IMAGES = [(no_magic, r"not an image for x86"), (entry_outside, r"not an image for x86"),
              (no_space, r"not enough memory"),
              (lambda image: image[:-4096], r"its size is not what its header says"),
              (lambda image: image[:16], r"not an image for x86")]


@pytest.mark.parametrize("change,text", BAD_IMAGES, ids=["magic", "entry", "space", "cut", "stub"])
def test_uefi_bad_image(x86, tmp_path, change, text):
    m = bad_image(x86, tmp_path, change)
    m.expect(REFUSAL + r"\\tidemark\\tidemark\.img: %s( \(EFI status 0x[0-9a-f]+\))?\r+\n" % text, 60)


def test_uefi_ends_in_firmware(x86, tmp_path):
    """A loader that cannot start gives the machine back: the firmware goes on."""
    m = bad_image(x86, tmp_path, no_magic)
    m.expect(REFUSAL, 60)
    m.expect(r"BdsDxe: failed to start|UEFI Interactive Shell|Shell>", 60)


def test_no_room_is_wasted():
    """The loaders are as small as was promised."""
    assert os.path.getsize(os.path.join(BUILD_X86, "BOOTX64.EFI")) < 16384
    assert os.path.getsize(os.path.join(BUILD_X86, "disk.bin")) < 8192
    assert re.match(rb"MZ", open(os.path.join(BUILD_X86, "BOOTX64.EFI"), "rb").read(2))
