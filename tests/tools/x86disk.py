#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bootable media for x86 from one image, one module archive and one command line:

    x86disk.py disk -o disk.img --loader disk.bin --image tidemark.img [--modules M] [--cmdline C]
    x86disk.py esp  -o esp.img  --loader BOOTX64.EFI --image ... (UEFI and U-Boot: a FAT volume)
    x86disk.py iso  -o grub.iso --image ... [--multiboot 1|2]    (GRUB on a CD)

disk: loader (boot/disk) and its header in the first sectors, then image and archive. The loader
knows nothing of Multiboot headers: where the image goes is read from its header here.
"""
import argparse
import os
import shutil
import struct
import subprocess
import sys

SECTOR = 512
LOADER_SECTORS = 25             # MBR and DISK_LOADER_SECTORS of boot/disk/disk.h
HEADER_AT = SECTOR + 4          # DISK_HEADER_OFFSET
DISK_MAGIC = 0x6b73446d
CMDLINE_BYTES = 1024
# A whole number of cylinders of 16 heads and 63 sectors: Bochs takes no other size.
CYLINDER = 16 * 63 * SECTOR
MULTIBOOT_MAGIC = 0x1badb002
HAS_ADDRESSES = 1 << 16


class DiskError(Exception):
    pass


def multiboot(image):
    """(offset in file, load address, bytes in file, bytes in memory, entry) by the header of
    Multiboot 1 in a flat image."""
    for at in range(0, min(8192, len(image) - 32), 4):
        magic, flags, checksum, header, load, load_end, bss_end, entry = struct.unpack_from(
            "<8I", image, at)
        if magic == MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xffffffff == 0:
            break
    else:
        raise DiskError("no Multiboot header in the image")
    if not flags & HAS_ADDRESSES:
        raise DiskError("the Multiboot header has no addresses")
    offset = at - (header - load)
    size = (load_end - load) if load_end else len(image) - offset
    memory = max(size, bss_end - load if bss_end else 0)
    if offset < 0 or offset + size > len(image) or not load <= entry < load + size:
        raise DiskError("the Multiboot header's addresses do not fit the image")
    return offset, load, size, (memory + 4095) & ~4095, entry


def cmdline_bytes(text):
    data = text.encode("ascii")
    if len(data) >= CMDLINE_BYTES:
        raise DiskError("the command line is longer than %d bytes" % (CMDLINE_BYTES - 1))
    return data


def disk(out, loader, image, modules=None, cmdline=""):
    with open(loader, "rb") as source:
        head = bytearray(source.read())
    with open(image, "rb") as source:
        data = source.read()
    if len(head) > LOADER_SECTORS * SECTOR:
        raise DiskError("the loader is too large")
    head += bytes(LOADER_SECTORS * SECTOR - len(head))
    if struct.unpack_from("<I", head, HEADER_AT)[0] != DISK_MAGIC:
        raise DiskError("no header in the loader")
    offset, load, size, memory, entry = multiboot(data)
    image_lba = LOADER_SECTORS
    module_lba = image_lba + (size + SECTOR - 1) // SECTOR
    module_bytes = os.path.getsize(modules) if modules else 0
    struct.pack_into("<7I", head, HEADER_AT + 4, image_lba, size, load, memory, entry,
                     module_lba, module_bytes)
    text = cmdline_bytes(cmdline)
    head[HEADER_AT + 32:HEADER_AT + 32 + len(text)] = text
    with open(out, "wb") as target:
        target.write(head)
        target.write(data[offset:offset + size])
        if modules:
            target.seek(module_lba * SECTOR)
            with open(modules, "rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        end = target.tell()
        target.truncate((end + CYLINDER - 1) // CYLINDER * CYLINDER)


def tool(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
    if done.returncode != 0:
        raise DiskError("%s: %s" % (words[0], done.stdout.decode(errors="replace").strip()))


def esp(out, loader, image, modules=None, cmdline=""):
    """A FAT volume without partitions, which UEFI and U-Boot start from."""
    text = out + ".cmdline"
    with open(text, "wb") as target:
        target.write(cmdline_bytes(cmdline))
    files = [(loader, "EFI/BOOT/BOOTX64.EFI"), (image, "tidemark/tidemark.img"),
             (text, "tidemark/cmdline.txt")]
    if modules:
        files.append((modules, "tidemark/modules.cpio"))
    size = sum(os.path.getsize(name) for name, _ in files)
    # A whole number of cylinders again, FAT16 (smaller volumes get FAT12) and some space.
    cylinders = max(16 << 20, size + size // 64 + (2 << 20)) // CYLINDER + 1
    with open(out, "wb") as target:
        target.truncate(cylinders * CYLINDER)
    tool("mformat", "-i", out, "-t", str(cylinders), "-h", "16", "-s", "63", "::")
    tool("mmd", "-i", out, "::/EFI", "::/EFI/BOOT", "::/tidemark")
    for name, path in files:
        tool("mcopy", "-o", "-i", out, name, "::/" + path)
    os.remove(text)


def iso(out, image, modules=None, cmdline="", version=1):
    """GRUB for PC BIOSes on a CD, which loads by Multiboot 1 or 2."""
    tree = out + ".tree"
    shutil.rmtree(tree, ignore_errors=True)
    os.makedirs(tree + "/boot/grub")
    shutil.copyfile(image, tree + "/boot/tidemark.img")
    suffix = "2" if version == 2 else ""
    config = ["serial --unit=0 --speed=115200", "terminal_output serial", "set timeout=0",
              "menuentry tidemark {",
              "\tmultiboot%s /boot/tidemark.img %s" % (suffix, cmdline)]
    cmdline_bytes(cmdline)
    if modules:
        shutil.copyfile(modules, tree + "/boot/modules.cpio")
        config.append("\tmodule%s /boot/modules.cpio modules.cpio" % suffix)
    with open(tree + "/boot/grub/grub.cfg", "w") as target:
        target.write("\n".join(config) + "\n\tboot\n}\n")
    tool("grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--locales=", "--fonts=", "-o", out, tree)
    shutil.rmtree(tree)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kind", choices=("disk", "esp", "iso"))
    parser.add_argument("-o", required=True)
    parser.add_argument("--loader")
    parser.add_argument("--image", required=True)
    parser.add_argument("--modules")
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--multiboot", type=int, choices=(1, 2), default=1)
    a = parser.parse_args()
    try:
        if a.kind == "iso":
            iso(a.o, a.image, a.modules, a.cmdline, a.multiboot)
        elif not a.loader:
            parser.error("--loader is missing")
        else:
            (disk if a.kind == "disk" else esp)(a.o, a.loader, a.image, a.modules, a.cmdline)
    except (DiskError, OSError) as why:
        sys.exit("x86disk: %s" % why)


if __name__ == "__main__":
    main()
