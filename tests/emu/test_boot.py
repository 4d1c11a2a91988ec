# SPDX-License-Identifier: Apache-2.0
"""From reset to the first guest: every machine, every refusal, every kind of panic.

Refusals that need a tree which QEMU would not make: the machine's own tree is dumped, edited with
fdtput and handed over by a stub in the place of -kernel."""
import os
import re
import struct
import subprocess

import pytest
from tmconfig import vm

HELLO = [vm("one", image="hello.bin", memory=8, autostart=True)]
BANNER = (r"tidemark 1\.0 \([0-9a-z]+, DEBUG=%d\) arm64: %d CPUs?, %d MiB, GICv%d, PL011 at "
          r"0x9000000\r+\n")
REFUSAL = r"tidemark: cannot start: "
IMAGE_AT, TREE_AT = 0x40200000, 0x4c000000


@pytest.mark.parametrize("kind", ["release", "debug"])
@pytest.mark.parametrize("cpu", ["max", "cortex-a72", "cortex-a53"])
@pytest.mark.parametrize("gic", [3, 2])
@pytest.mark.parametrize("smp", [1, 2, 4, 8])
def test_machine(machine, smp, gic, cpu, kind):
    m = machine(kind, smp=smp, gic=gic, cpu=cpu, vms=HELLO)
    m.expect(BANNER % (kind == "debug", smp, 2048, gic), 20)
    m.expect(r"tidemark: %d CPUs? online" % smp, 20)
    m.expect(r"\[one\] hello: done", 20)


@pytest.mark.parametrize("gic,cpu", [(3, "max"), (2, "cortex-a53")])
def test_u_boot(machine, gic, cpu):
    m = machine("release", boot="u-boot", icount=False, gic=gic, cpu=cpu, vms=HELLO,
                append="log=dbg")
    m.expect(r"Starting kernel", 40)
    m.expect(BANNER % (0, 2, 2048, gic), 20)
    m.expect(r"\[one\] hello: done", 20)


@pytest.mark.parametrize("memory", [32, 64, 512, 3072])
def test_memory_size(machine, memory):
    m = machine("debug", memory=memory, vms=HELLO)
    m.expect(r"2 CPUs, %d MiB" % memory, 20)
    m.expect(r"\[one\] hello: done", 20)


# --- refusals -----------------------------------------------------------------------------------
def test_entered_at_el1(machine):
    m = machine("release", virtualization=False, vms=HELLO)
    m.expect(REFUSAL + r"entered at EL1, EL2 is needed \(QEMU: -M virt,virtualization=on\)\r+\n", 10)


def loaded(image, at, entry):
    return ["-device", "loader,file=%s,addr=0x%x,force-raw=on" % (image, at),
            "-device", "loader,addr=0x%x,cpu-num=0" % entry]


def raw_start(machine, at, **options):
    """No -kernel: the CPU starts in the image, as reset leaves it."""
    m = machine("release", start=False, modules=None, **options)
    image, plain = m.image, m.command

    def command():
        line = plain()
        i = line.index("-kernel")
        return line[:i] + line[i + 2:] + loaded(image, at, at)
    m.command = command
    return m.start()


def test_entered_at_el3(machine):
    m = raw_start(machine, IMAGE_AT, secure=True)
    m.expect(REFUSAL + r"entered at EL3, EL2 is needed \(firmware has to start it at EL2\)\r+\n", 10)


def test_misplaced(machine):
    m = raw_start(machine, IMAGE_AT + 0x1000)
    m.expect(REFUSAL + r"the image is not at a 2 MiB boundary\r+\n", 10)


def test_no_tree(machine):
    m = raw_start(machine, IMAGE_AT)
    m.expect(REFUSAL + r"no device tree \(x0 is not an 8-byte aligned address\)\r+\n", 10)


def test_no_archive(machine):
    m = machine("release", modules=None)
    m.expect(REFUSAL + r"no modules archive \(QEMU: -initrd modules\.cpio\)\r+\n", 10)


def test_damaged_archive(machine):
    m = machine("release", vms=HELLO, start=False)
    with open(m.modules, "r+b") as archive:
        archive.write(b"x")
    m.start()
    m.expect(r"tidemark: modules archive: damaged at byte 0, looking for tidemark\.dtb", 10)
    m.expect(REFUSAL + r"no configuration: the modules archive has no readable tidemark\.dtb\r+\n", 10)


def test_no_configuration(machine):
    m = machine("release", vms=None, files={"other": b"x"})
    m.expect(REFUSAL + r"no configuration: the modules archive has no readable tidemark\.dtb\r+\n", 10)


def test_unreadable_configuration(machine):
    m = machine("release", vms=b"no tree at all, but long enough to hold a header of one....")
    m.expect(r"configuration: /: tree: asked \d+ bytes, there is FDT_ERR_", 10)
    m.expect(REFUSAL + r"no configuration: tidemark\.dtb cannot be read\r+\n", 10)


def test_no_manager_module(machine):
    m = machine("release", vms=HELLO + [vm("manager", manager=True, image="no-such-file.bin")])
    m.expect(r"configuration: /tidemark/manager: image: asked no-such-file\.bin, there is no such "
             r"module in the archive", 10)
    m.expect(REFUSAL + r"no manager: its part of the configuration is wrong \(see above\)\r+\n", 10)


def test_nothing_to_run(machine):
    m = machine("release", vms=[])
    m.expect(REFUSAL + r"nothing to run: the configuration has no good VM\r+\n", 10)


def test_too_little_memory(machine):
    m = machine("release", vms=HELLO, memory=8)
    m.expect(REFUSAL + r"not enough memory: the largest free piece has \d+ KiB, \d+ are needed\r+\n",
             10)


def tree_start(machine, edit=None, damage=None, **options):
    """Boots with QEMU's tree after edit(fdtput) and damage(bytes) have changed it."""
    m = machine("release", start=False, modules=None, **options)
    base = m.log
    line = m.command()
    dump = list(line)
    dump[dump.index("-M") + 1] += ",dumpdtb=" + base + ".dtb"
    i = dump.index("-kernel")
    subprocess.run(dump[:i] + dump[i + 2:], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=30)
    if edit:
        edit(lambda *words: subprocess.run(["fdtput", *words[:-1], base + ".dtb", *words[-1]],
                                           check=True, timeout=30))
    with open(base + ".dtb", "rb") as tree:
        blob = tree.read()
    with open(base + ".dtb", "wb") as tree:
        tree.write(damage(blob) if damage else blob)
    with open(base + ".stub", "wb") as stub:
        # ldr x0, tree; ldr x1, image; br x1; nop
        stub.write(struct.pack("<4I2Q", 0x58000080, 0x580000a1, 0xd61f0020, 0xd503201f,
                               TREE_AT, IMAGE_AT))
    image, m.image = m.image, base + ".stub"
    m.extra += ["-device", "loader,file=%s,addr=0x%x,force-raw=on" % (image, IMAGE_AT),
                "-device", "loader,file=%s.dtb,addr=0x%x,force-raw=on" % (base, TREE_AT)]
    return m.start()


def drop(*nodes):
    return lambda fdtput: [fdtput("-r", [node]) for node in nodes]


TREES = {
    "no-memory": (drop("/memory@40000000"), r"no memory in the device tree"),
    "no-gic": (drop("/intc@8000000"),
               r"no GIC: the device tree has neither arm,gic-v3 nor arm,cortex-a15-gic"),
    "no-uart": (drop("/pl011@9000000"), r"no PL011 UART in the device tree"),
    "no-timer": (drop("/timer"), r"no hypervisor timer in the device tree \(arm,armv8-timer\)"),
    "no-cpus": (drop("/cpus"), r"no CPUs in the device tree"),
    "other-cpus": (drop("/cpus/cpu@0"), r"the boot CPU \(MPIDR 0x0\) is not in the device tree"),
    "no-redistributor": (
        lambda fdtput: fdtput("-t", "x", ["/intc@8000000", "reg", "0", "8000000", "0", "10000",
                                          "0", "80a0000", "0", "0"]),
        None),
}


@pytest.mark.parametrize("name", TREES)
def test_tree_lacks(machine, name):
    edit, text = TREES[name]
    m = tree_start(machine, edit)
    if text is None:
        m.expect(r"tidemark: PANIC CPU 0: no redistributor for this CPU", 10, refuse=())
    else:
        m.expect(REFUSAL + text + r"\r+\n", 10)


def be32(blob, offset, value):
    return blob[:offset] + struct.pack(">I", value) + blob[offset + 4:]


DAMAGES = {
    "magic": (lambda b: b"x" + b[1:], r"bad device tree \(no magic number where x0 points\)"),
    "huge": (lambda b: be32(b, 4, 0x300000), r"bad device tree \(larger than 2 MiB\)"),
    "structure": (lambda b: be32(b, 8, 0x0fffff00), r"bad device tree: FDT_ERR_\w+"),
    "cut": (lambda b: be32(b, 36, 16), r"bad device tree: FDT_ERR_\w+"),
    "version": (lambda b: be32(b, 24, 0x7fffffff), r"bad device tree: FDT_ERR_BADVERSION"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_tree_damaged(machine, name):
    damage, text = DAMAGES[name]
    m = tree_start(machine, None, damage)
    m.expect(REFUSAL + text + r"\r+\n", 10)


def test_no_psci_is_one_cpu(machine):
    m = tree_start(machine, drop("/psci"))
    m.expect(r"tidemark: 1 of 2 CPUs are online", 10)
    m.expect(REFUSAL + r"no modules archive", 10)


# --- configuration ------------------------------------------------------------------------------
def test_bad_vm_is_skipped(machine):
    m = machine("release", vms=[
        vm("bad", image="hello.bin", memory=8, vcpus=65),
        vm("worse", image="absent.bin", memory=8, raw="spelling-mistake;"),
        vm("one", image="hello.bin", memory=8, autostart=True)])
    m.expect(r"tidemark: configuration: /tidemark/bad: vcpus: asked 65, there is 1 to 64\r+\n", 10)
    m.expect(r"/tidemark/worse: image: asked absent\.bin, there is no such module in the archive", 10)
    m.expect(r"/tidemark/worse: spelling-mistake: asked for it, there is no such property", 10)
    m.expect(r"\[one\] hello: done", 10)


# --- panics -------------------------------------------------------------------------------------
CRASHES = {
    "panic": r"asked for by crash=panic",
    "null": r"data abort: translation fault, read at 0x0",
    "stack": r"stack overflow: sp 0x[0-9a-f]+, data abort at 0x[0-9a-f]+",
    "ubsan": r"undefined behaviour: addition overflow",
    "buffer": r"undefined behaviour: index out of bounds",
    "text": r"data abort: permission fault, write at 0x[0-9a-f]+",
    "exec": r"instruction abort: permission fault, fetch at 0x[0-9a-f]+",
}


@pytest.mark.parametrize("name", CRASHES)
def test_panic(machine, name):
    m = machine("debug-test", vms=HELLO, append="crash=" + name)
    m.expect(r"\ntidemark: PANIC " + CRASHES[name] + r"\r+\n", 10, refuse=())
    if name != "panic":
        m.expect(r"\n  x30 [0-9a-f]{16}  sp  [0-9a-f]{16}  pc  [0-9a-f]{16}", 10, refuse=())
    m.expect(r"backtrace:\r+\n", 10, refuse=())
    m.expect(r"hyp_main\+0x[0-9a-f]+\r+\n", 10, refuse=())
    m.expect(r"tidemark: halted\r+\n", 10, refuse=())
    assert len(re.findall("PANIC", m.text())) == 1


def test_log_level(machine):
    m = machine("release", vms=HELLO, append="log=err quiet")
    m.expect(r"\[one\] hello: done", 10)
    assert "online" not in m.text()
