#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bochs 2.7 as if it were `qemu -serial stdio`: COM1 is this program's standard input and output.

    bochs.py [--cpus N] [--memory MiB] [--timeout S] [--log FILE] --disk disk.img

Each run has a directory of its own. COM1 goes through a TCP connection to ourselves: nothing is
lost when nobody reads, and what comes is written at once to standard output and, by --log, to a
file. Bochs dies with this process and its lock file with it.

Exit status: 0 when the machine was switched off by ACPI or wrote 'D' to port 0x8900; 1 after
"Shutdown" there or a triple fault; 124 after --timeout. From Python: run(disk, ...) returns (status, output).
"""
import argparse
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

BOCHS = os.environ.get("TM_BOCHS", "bochs-bin")
SHARE = "/usr/share/bochs/"
OVMF = "/usr/share/ovmf/OVMF.fd"
MODEL = "corei7_skylake_x"
PR_SET_PDEATHSIG = 1
STARTED_AT = 20     # seconds until Bochs has opened its COM1

CONFIG = """\
config_interface: textconfig
display_library: term
cpu: model=%(model)s, count=%(cpus)d, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=%(msrs)d
memory: guest=%(memory)d, host=%(memory)d
romimage: %(rom)s
vgaromimage: file=%(share)sVGABIOS-lgpl-latest
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
%(drive)s
clock: sync=none, time0=946681200
com1: enabled=1, mode=socket-client, dev=127.0.0.1:%(port)d
port_e9_hack: enabled=1
speaker: enabled=0, mode=none
sound: waveoutdrv=dummy, wavein=""
log: %(dir)s/bochs.log
debugger_log: -
panic: action=fatal
error: action=ignore
info: action=%(info)s
debug: action=ignore
"""


def config_text(directory, port, disk, cdrom, cpus, memory, model, uefi, verbose):
    rom = "file=%sBIOS-bochs-latest" % SHARE
    if uefi:
        shutil.copyfile(OVMF, directory + "/rom.fd")
        rom = "file=%s/rom.fd, address=0xffe00000, options=none" % directory
    if cdrom:
        drive = 'ata0-master: type=cdrom, path="%s", status=inserted\nboot: cdrom' % cdrom
    else:
        drive = ('ata0-master: type=disk, path="%s", mode=flat, cylinders=0, heads=16, spt=63, '
                 'biosdetect=auto, translation=auto\nboot: disk' % disk)
    return CONFIG % {"model": model, "cpus": cpus, "msrs": 1 if uefi else 0, "memory": memory,
                     "rom": rom, "share": SHARE, "drive": drive, "port": port, "dir": directory,
                     "info": "report" if verbose else "ignore"}


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Bochs:
    """One run. pump() moves bytes; end() always clears everything away."""

    def __init__(self, disk=None, cdrom=None, cpus=1, memory=256, model=MODEL, uefi=False,
                 keep=None, verbose=False):
        self.dir = tempfile.mkdtemp(prefix="bochs-")
        self.keep = keep
        self.medium = os.path.abspath(cdrom or disk)
        self.process = self.link = None
        try:
            self.start(disk, cdrom, cpus, memory, model, uefi, verbose)
        except BaseException:
            self.end()
            raise

    def start(self, disk, cdrom, cpus, memory, model, uefi, verbose):
        listener = socket.create_server(("127.0.0.1", 0))
        with listener, open(self.dir + "/out.txt", "wb") as screen:
            with open(self.dir + "/rc.txt", "w") as out:
                out.write("c\nq\n")
            with open(self.dir + "/bochsrc.txt", "w") as out:
                out.write(config_text(self.dir, listener.getsockname()[1],
                                      disk and self.medium, cdrom and self.medium, cpus, memory,
                                      model, uefi, verbose))
            self.process = subprocess.Popen(
                [BOCHS, "-q", "-unlock", "-f", self.dir + "/bochsrc.txt", "-rc",
                 self.dir + "/rc.txt"], stdin=subprocess.DEVNULL, stdout=screen,
                stderr=subprocess.STDOUT, cwd=self.dir, preexec_fn=die_with_parent,
                env=dict(os.environ, TERM="dumb"))
            listener.settimeout(0.2)
            limit = time.monotonic() + STARTED_AT
            while self.link is None:
                try:
                    self.link = listener.accept()[0]
                except socket.timeout:
                    if self.process.poll() is not None or time.monotonic() > limit:
                        raise RuntimeError("Bochs did not start:\n" + self.trouble()) from None
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def trouble(self):
        """The end of what Bochs says itself."""
        text = ""
        for name in ("out.txt", "bochs.log"):
            try:
                with open(self.dir + "/" + name, errors="replace") as source:
                    text += "".join(source.readlines()[-15:])
            except OSError:
                pass
        return text

    def end(self):
        if self.process is not None:
            if self.process.poll() is None:
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.link is not None:
            self.link.close()
        if os.path.exists(self.medium + ".lock"):
            os.remove(self.medium + ".lock")
        if self.keep:
            shutil.copytree(self.dir, self.keep, dirs_exist_ok=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pump(self, sink, source=None, timeout=None, keys=None):
        """COM1 to sink(bytes) and the file descriptor `source` to COM1, until Bochs ends.

        keys: what a person types passes through it; None from it ends the run."""
        limit = time.monotonic() + timeout if timeout else None
        while True:
            left = 1.0 if limit is None else min(1.0, limit - time.monotonic())
            if left <= 0:
                return 124
            ready = select.select([self.link] + ([source] if source is not None else []), [], [],
                                  left)[0]
            if source in ready and source is not None:
                data = os.read(source, 4096)
                if data:
                    data = keys(data) if keys else data
                    if data is None:
                        return 0
                    self.link.sendall(data)
                else:
                    source = None
            if self.link in ready:
                try:
                    data = self.link.recv(65536)
                except ConnectionResetError:
                    data = b""
                if not data:
                    status = self.process.wait()
                    return 0 if "soft power off" in self.trouble() else status
                sink(data)


class EscapeKey:
    """Ctrl-A x ends, Ctrl-A Ctrl-A is one Ctrl-A, as in QEMU."""

    def __init__(self):
        self.seen = False

    def __call__(self, data):
        out = bytearray()
        for byte in data:
            if self.seen and byte in b"xX":
                return None
            if byte != 1 or self.seen:
                out.append(byte)
                self.seen = False
            else:
                self.seen = True
        return bytes(out)


def run(disk, timeout=60, log=None, **options):
    """Runs to its end; (status, everything that COM1 said). See Bochs for the options."""
    output = bytearray()
    machine = Bochs(disk, **options)
    try:
        with open(log or os.devnull, "wb", buffering=0) as target:
            def sink(data):
                output.extend(data)
                target.write(data)
            status = machine.pump(sink, None, timeout)
    finally:
        machine.end()
    return status, bytes(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--disk")
    parser.add_argument("--cdrom")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", type=int, default=256)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--uefi", action="store_true")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--log")
    parser.add_argument("--keep", help="copy Bochs's own files here at the end")
    parser.add_argument("--escape", action="store_true", help="Ctrl-A x on the keyboard ends it")
    parser.add_argument("--verbose", action="store_true", help="Bochs's log with its remarks")
    a = parser.parse_args()
    if not a.disk and not a.cdrom:
        parser.error("--disk or --cdrom")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    machine = None
    screen = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        if screen:
            tty.setraw(0)
        machine = Bochs(a.disk, a.cdrom, a.cpus, a.memory, a.model, a.uefi, a.keep, a.verbose)
        with open(a.log or os.devnull, "wb", buffering=0) as log:
            def sink(data):
                log.write(data)
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            status = machine.pump(sink, sys.stdin.fileno(), a.timeout,
                                  EscapeKey() if a.escape else None)
        if status not in (0, 124):
            sys.stderr.write(machine.trouble())
    except RuntimeError as why:
        sys.stderr.write("bochs: %s\n" % why)
        status = 125
    except KeyboardInterrupt:
        status = 130
    finally:
        if machine:
            machine.end()
        if screen:
            termios.tcsetattr(0, termios.TCSADRAIN, screen)
    sys.exit(status)


if __name__ == "__main__":
    main()
