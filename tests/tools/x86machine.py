# SPDX-License-Identifier: Apache-2.0
"""An x86 machine with the interface of qemu.Machine: SVM under QEMU, VMX under Bochs.

    m = X86Machine(image="build/x86/tidemark.img", modules=..., vendor="intel", boot="grub")

vendor  amd: qemu-system-x86_64 -accel tcg -cpu max; intel: Bochs (bochs.py), corei7_skylake_x.
        Bochs takes up to 8 CPUs.
boot    kernel (QEMU's own Multiboot), disk (boot/disk), grub (Multiboot 1), grub2 (Multiboot 2),
        uefi (OVMF) or u-boot (QEMU only). `auto` is kernel on QEMU and disk on Bochs.
The medium is written beside the log; drop_media() removes it.
"""
import os
import signal
import sys
import time

from bochs import MODEL
from qemu import Machine, MachineError
import x86disk

QEMU_X86 = os.environ.get("TM_QEMU_X86", "qemu-system-x86_64")
OVMF = "/usr/share/ovmf/OVMF.fd"
UBOOT_X86 = "/usr/lib/u-boot/qemu-x86_64/u-boot.rom"
HERE = os.path.dirname(os.path.abspath(__file__))


class X86Machine(Machine):
    def __init__(self, image, modules=None, append="", vendor="amd", cpu=None, smp=2, memory=512,
                 icount=None, boot="auto", chipset="q35", seed=1, log=None, extra=(), qemu=QEMU_X86,
                 plugin=None, echo=None, loaders=None):
        super().__init__(image, modules, append, cpu=cpu, smp=smp, memory=memory, icount=icount,
                         boot=boot, seed=seed, log=log, extra=extra, qemu=qemu, plugin=plugin,
                         echo=echo)
        if vendor not in ("amd", "intel"):
            raise MachineError("vendor=%s: choose amd or intel" % vendor)
        self.vendor, self.chipset = vendor, chipset
        # Where disk.bin and BOOTX64.EFI are: beside the image.
        self.loaders = loaders or os.path.dirname(os.path.abspath(image))
        if boot == "auto":
            self.boot = "kernel" if vendor == "amd" else "disk"
        if icount is None:
            # Firmware that waits in a loop costs half a minute under icount.
            self.icount = self.boot not in ("uefi", "u-boot")
        self.medium = None

    def write_medium(self):
        base = self.log or "/tmp/tidemark-%d" % os.getpid()
        loader = os.path.join(self.loaders, "disk.bin" if self.boot == "disk" else "BOOTX64.EFI")
        if self.boot == "disk":
            self.medium = base + ".disk"
            x86disk.disk(self.medium, loader, self.image, self.modules, self.append)
        elif self.boot in ("grub", "grub2"):
            self.medium = base + ".iso"
            x86disk.iso(self.medium, self.image, self.modules, self.append,
                        2 if self.boot == "grub2" else 1)
        elif self.boot in ("uefi", "u-boot"):
            self.medium = base + ".esp"
            x86disk.esp(self.medium, loader, self.image, self.modules, self.append)
        elif self.boot != "kernel" or self.vendor == "intel":
            raise MachineError("boot=%s: not on this machine" % self.boot)
        return self.medium

    def qemu_command(self):
        line = [self.qemu, "-accel", "tcg", "-M", self.chipset, "-cpu", self.cpu or "max",
                "-smp", str(self.smp), "-m", str(self.memory), "-display", "none", "-nodefaults",
                "-serial", "stdio", "-monitor", "none", "-no-reboot", "-seed", str(self.seed),
                "-rtc", "base=2025-01-01,clock=vm",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        if self.icount:
            line += ["-icount", "shift=0,sleep=off"]
        if self.plugin:
            line += ["-plugin", self.plugin]
        medium = self.write_medium()
        if self.boot == "kernel":
            line += ["-kernel", self.image]
            line += ["-initrd", self.modules] if self.modules else []
            line += ["-append", self.append] if self.append else []
        elif self.boot in ("grub", "grub2"):
            line += ["-drive", "file=%s,format=raw,if=ide,media=cdrom,readonly=on" % medium]
        else:
            line += ["-drive", "file=%s,format=raw,if=ide,snapshot=on" % medium]
        firmware = {"uefi": OVMF, "u-boot": UBOOT_X86}.get(self.boot)
        return line + (["-bios", firmware] if firmware else [])

    def bochs_command(self):
        if self.boot == "u-boot":
            raise MachineError("U-Boot does not run on Bochs")
        line = [sys.executable, os.path.join(HERE, "bochs.py"), "--cpus", str(self.smp),
                "--memory", str(self.memory), "--model", self.cpu or MODEL]
        medium = self.write_medium()
        line += ["--cdrom" if self.boot in ("grub", "grub2") else "--disk", medium]
        return line + (["--uefi"] if self.boot == "uefi" else [])

    def command(self):
        try:
            line = self.qemu_command() if self.vendor == "amd" else self.bochs_command()
        except x86disk.DiskError as why:
            raise MachineError("x86disk: %s" % why) from None
        return line + self.extra

    def after_start(self):
        """U-Boot's countdown is short here: nothing to type."""

    def close(self):
        # bochs.py has a directory and a lock file to remove.
        if self.vendor == "intel" and self.child is not None and self.child.isalive():
            self.child.kill(signal.SIGTERM)
            end = time.monotonic() + 5
            while self.child.isalive() and time.monotonic() < end:
                time.sleep(0.02)
        super().close()

    def drop_media(self):
        if self.medium and os.path.exists(self.medium):
            os.remove(self.medium)
