#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The module archive: one cpio that holds tidemark.dtb (the VM configuration) and what it names.

  modules.py --build O --sysroot DIR -o OUT CONFIG.dts [NAME=PATH ...]

A file goes in when its name stands as a string anywhere in the compiled configuration:
  <guest>.bin      $(O)/guests/<guest>.bin
  linux.img        Debian's arm64 kernel          initramfs.cpio   $(O)/initramfs.cpio
and any NAME=PATH given. A name the configuration uses and nobody has stays out: the hypervisor
reports it and skips that VM.
"""
import argparse
import os
import subprocess
import sys

import mkcpio
import tmconfig


def known_files(build, sysroot):
    files = {"linux.img": os.path.join(sysroot, "linux.img"),
             "initramfs.cpio": os.path.join(build, "initramfs.cpio")}
    guests = os.path.join(build, "guests")
    if os.path.isdir(guests):
        for name in os.listdir(guests):
            if name.endswith((".bin", ".elf")):
                files[name] = os.path.join(guests, name)
    return files


def compile_dts(text):
    result = subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb"], input=text.encode(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        raise SystemExit("modules: dtc: " + result.stderr.decode() + text)
    return result.stdout


def write_archive(out, vms, files, build, sysroot):
    """vms: list of tmconfig.vm(), text of a .dts, bytes of a .dtb, or None for no configuration."""
    items = []
    dtb = b""
    if vms is not None:
        if isinstance(vms, list):
            vms = tmconfig.dts(vms)
        dtb = compile_dts(vms) if isinstance(vms, str) else vms
        items.append(("tidemark.dtb", mkcpio.S_FILE | 0o644, dtb, (0, 0)))
    for name, path in known_files(build, sysroot).items():
        if name not in files and name.encode() + b"\0" in dtb:
            files = dict(files, **{name: path})
    for name, source in sorted(files.items()):
        if not isinstance(source, bytes):
            with open(source, "rb") as data:
                source = data.read()
        items.append((name, mkcpio.S_FILE | 0o644, source, (0, 0)))
    temporary = "%s.%d" % (out, os.getpid())
    with open(temporary, "wb") as target:
        target.write(mkcpio.archive(items))
    os.replace(temporary, out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--sysroot", required=True)
    parser.add_argument("-o", dest="out", required=True)
    parser.add_argument("config")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    with open(args.config) as source:
        text = source.read()
    extra = dict(item.split("=", 1) for item in args.files)
    write_archive(args.out, text, extra, args.build, args.sysroot)


if __name__ == "__main__":
    sys.exit(main())
