# SPDX-License-Identifier: Apache-2.0
"""One emulated machine: the QEMU command line, its console by pexpect, its end by pid.

    m = Machine(image="build/tidemark.img", modules="build/modules.cpio", smp=2, append="log=debug")
    m.start()
    m.expect(r"tidemark: .*ready", 10)     # returns the re.Match; a failure shows the console tail
    m.sendline("vm list")
    m.close()

Used by tests/emu (fixture `machine` in conftest.py) and by run.py. Time limits are seconds of wall
time, stretched by TM_TIMEOUT_SCALE= on slow machines. Every character of the console goes to
`log`, and the command line to the file beside it that ends in .cmd.
"""
import ctypes
import os
import re
import shlex
import signal
import subprocess
import time

import pexpect

SCALE = float(os.environ.get("TM_TIMEOUT_SCALE", "1"))
QEMU = os.environ.get("TM_QEMU", "qemu-system-aarch64")
UBOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
PR_SET_PDEATHSIG = 1
# How a pattern may end, and what must then come behind it; see Machine.compile.
OPEN_ENDS = (((rb".*", rb".+", rb"[^\n]*", rb"[^\n]+", rb"[^\r\n]*", rb"[^\r\n]+"), rb"(?=[\r\n])"),
             ((rb"\d+", rb"\w+", rb"[0-9a-f]+"), rb"(?=\W)"), ((rb"\S+",), rb"(?=\s)"))


def newer_qemu():
    """A QEMU 8 or later for a few smoke rows: TM_QEMU_NEW=, or the one that runs anyway; or None."""
    path = os.environ.get("TM_QEMU_NEW", QEMU)
    try:
        text = subprocess.run([path, "--version"], stdout=subprocess.PIPE).stdout.decode()
    except OSError:
        return None
    match = re.search(r"version (\d+)\.", text)
    return path if match and int(match.group(1)) >= 8 else None


class MachineError(AssertionError):
    pass


def die_with_parent():
    """In the child: no QEMU outlives a killed test run."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def uboot_disk(path, image, modules, append):
    """A FAT disk without partitions that U-Boot boots by itself: Image, archive, boot.scr."""
    script = path + ".cmd.txt"
    with open(script, "w") as out:
        out.write("load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} tidemark.img\n")
        if modules:
            out.write("load ${devtype} ${devnum}:${distro_bootpart} ${ramdisk_addr_r} modules.cpi\n")
            out.write("setenv initrd ${ramdisk_addr_r}:${filesize}\n")
        else:
            out.write("setenv initrd -\n")
        out.write("setenv bootargs '%s'\n" % append)
        out.write("booti ${kernel_addr_r} ${initrd} ${fdt_addr}\n")
    subprocess.run(["mkimage", "-A", "arm64", "-T", "script", "-C", "none", "-d", script,
                    path + ".scr"], check=True, stdout=subprocess.DEVNULL)
    files = [(image, "tidemark.img"), (path + ".scr", "boot.scr")]
    if modules:
        files.append((modules, "modules.cpi"))
    megabytes = 8 + sum(os.path.getsize(f) for f, _ in files) // 1000000
    with open(path, "wb") as disk:
        disk.truncate(megabytes << 20)
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1")
    subprocess.run(["mformat", "-i", path, "-T", str(megabytes * 2048), "-h", "2", "-s", "32",
                    "::"], check=True, env=env)
    for source, name in files:
        subprocess.run(["mcopy", "-o", "-i", path, source, "::/" + name], check=True, env=env)


class Tee:
    """Console bytes go to the log as they are, and without carriage returns to a second file."""

    def __init__(self, log, echo):
        self.log, self.echo = log, echo

    def write(self, data):
        self.log.write(data)
        self.echo.write(data.replace(b"\r", b""))
        self.echo.flush()

    def flush(self):
        self.log.flush()


class Machine:
    def __init__(self, image, modules=None, append="", gic=3, cpu="max", smp=2, memory=2048,
                 icount=True, virtualization=True, secure=False, boot="kernel", seed=1, log=None,
                 extra=(), qemu=QEMU, plugin=None, dtb=None, echo=None):
        self.image, self.modules, self.append = image, modules, append
        self.gic, self.cpu, self.smp, self.memory = gic, cpu, smp, memory
        self.icount, self.boot, self.seed = icount, boot, seed
        self.virtualization, self.secure = virtualization, secure
        self.log, self.extra, self.qemu, self.plugin, self.dtb = log, list(extra), qemu, plugin, dtb
        self.echo = echo
        self.child = None
        self.log_file = None

    def command(self):
        machine = "virt,gic-version=%d" % self.gic
        if self.virtualization:
            machine += ",virtualization=on"
        if self.secure:
            machine += ",secure=on"
        cpu = self.cpu
        if cpu == "max":
            # The architected pointer authentication algorithm costs a TCG guest half its time.
            cpu = "max,pauth-impdef=on"
        line = [self.qemu, "-M", machine, "-cpu", cpu, "-smp", str(self.smp), "-m",
                str(self.memory), "-display", "none", "-nodefaults", "-serial", "stdio",
                "-monitor", "none", "-no-reboot", "-seed", str(self.seed),
                "-rtc", "base=2025-01-01,clock=vm"]
        if self.icount:
            line += ["-icount", "shift=0,sleep=off"]
        if self.plugin:
            line += ["-plugin", self.plugin]
        if self.dtb:
            line += ["-dtb", self.dtb]
        if self.boot == "u-boot":
            disk = (self.log or "/tmp/tidemark-%d" % os.getpid()) + ".disk"
            uboot_disk(disk, self.image, self.modules, self.append)
            line += ["-bios", UBOOT, "-drive", "if=none,id=d,format=raw,file=" + disk,
                     "-device", "virtio-blk-device,drive=d"]
        elif self.boot == "kernel":
            line += ["-kernel", self.image]
            if self.modules:
                line += ["-initrd", self.modules]
            if self.append:
                line += ["-append", self.append]
        else:
            raise MachineError("boot=%s: choose kernel or u-boot" % self.boot)
        return line + self.extra

    def start(self):
        line = self.command()
        if self.log:
            os.makedirs(os.path.dirname(self.log) or ".", exist_ok=True)
            self.log_file = open(self.log, "wb")
            with open(self.log + ".cmd", "w") as out:
                out.write(" ".join(shlex.quote(word) for word in line) + "\n")
        self.child = pexpect.spawn(line[0], line[1:], timeout=30, echo=False,
                                   preexec_fn=die_with_parent, maxread=65536,
                                   dimensions=(24, 200))
        # No pause before each write; QEMU reads its terminal in raw mode.
        self.child.delaybeforesend = None
        self.child.logfile_read = Tee(self.log_file, self.echo) if self.echo else self.log_file
        self.after_start()
        return self

    def after_start(self):
        if self.boot == "u-boot":
            # Its countdown of two seconds costs 20 s of wall time under icount: skip it by a key.
            self.expect("Hit any key to stop autoboot", 30)
            self.send(" ")
            self.expect("=> ", 30)
            self.sendline("run bootcmd")

    @staticmethod
    def compile(pattern):
        """Bytes regex. One that ends open (`.*`, `\\d+`) is made to wait for what ends it:
        the console comes in pieces, and a match on half a line would do otherwise."""
        if isinstance(pattern, re.Pattern):
            return pattern
        text = pattern if isinstance(pattern, bytes) else pattern.encode()
        for ends, follows in OPEN_ENDS:
            if text.endswith(ends) or text.endswith(tuple(end + b")" for end in ends)):
                return re.compile(b"(?:" + text + b")" + follows)
        return re.compile(text)

    def expect_any(self, patterns, timeout=30):
        """Waits for the first of several patterns; returns (index, match)."""
        compiled = [self.compile(p) for p in patterns]
        try:
            index = self.child.expect(compiled, timeout=timeout * SCALE)
        except pexpect.TIMEOUT:
            raise MachineError("not seen in %g s: %s\n%s" % (
                timeout * SCALE, " | ".join(map(str, patterns)), self.tail())) from None
        except pexpect.EOF:
            raise MachineError("QEMU ended while waiting for: %s\n%s" % (
                " | ".join(map(str, patterns)), self.tail())) from None
        return index, self.child.match

    def expect(self, pattern, timeout=30, refuse=(r"tidemark: PANIC[^\n]*",)):
        """Waits for a pattern; anything of `refuse` seen before it is a failure."""
        index, match = self.expect_any([pattern, *refuse], timeout)
        if index != 0:
            self.drain(2)
            raise MachineError("console says %r\n%s" % (match.group(0), self.tail()))
        return match

    def send(self, text):
        self.child.send(text)

    def sendline(self, text):
        self.child.send(text + "\r")

    def drain(self, seconds):
        """Reads what still comes, for at most that long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.child.expect(re.compile(rb".+", re.S), timeout=0.2)
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                return

    def wait_exit(self, timeout=30):
        """Waits until QEMU ends by itself (guest power off); returns its exit status."""
        try:
            self.child.expect(pexpect.EOF, timeout=timeout * SCALE)
        except pexpect.TIMEOUT:
            raise MachineError("QEMU still runs after %g s\n%s" % (timeout * SCALE, self.tail())) from None
        self.child.wait()
        return self.child.exitstatus

    def text(self):
        """All console output so far (needs `log`)."""
        self.log_file.flush()
        with open(self.log, errors="replace", newline="") as source:
            return re.sub("\r+\n", "\n", source.read())

    def tail(self, lines=25):
        if not self.log_file:
            return ""
        return "--- console tail (%s):\n%s" % (self.log, "\n".join(self.text().splitlines()[-lines:]))

    def collect_tap(self, timeout=60, prefix=r""):
        """Reads one TAP stream (plan first or last) from the console; returns [(ok, text)].

        `prefix` matches what stands before each TAP line, such as the VM's name. A plan that does
        not match, a missing one or no point at all is a failure, as is a panic meanwhile."""
        point = r"(?:^|\n)" + prefix + r"((?:ok|not ok) \d+[^\r\n]*|1\.\.\d+[^\r\n]*)\r*(?=\n)"
        points, plan = [], None
        end = time.monotonic() + timeout * SCALE
        while plan is None or len(points) < plan:
            left = max(0.1, (end - time.monotonic()) / SCALE)
            line = self.expect(point, left).group(1).decode(errors="replace")
            if line.startswith("1.."):
                plan = int(re.match(r"1\.\.(\d+)", line).group(1))
            else:
                points.append((line.startswith("ok"), line))
        if not points or len(points) != plan:
            raise MachineError("TAP: planned %s, got %d\n%s" % (plan, len(points), self.tail()))
        return points

    def close(self):
        if self.child is not None:
            if self.child.isalive():
                os.kill(self.child.pid, signal.SIGKILL)
            self.child.close(force=True)
            self.child = None
        if self.log_file is not None:
            self.log_file.close()
            self.log_file = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()
