# SPDX-License-Identifier: Apache-2.0
"""A few rows on a QEMU 8 or later, where there is one (TM_QEMU_NEW=<path>, or the one in PATH): it
models alignment faults with the MMU off, which QEMU 7.2 does not. Optional: stock Debian 12 has none."""
import pytest
from conftest import newer_qemu
from tmconfig import vm


@pytest.mark.parametrize("gic,cpu", [(3, "max"), (3, "cortex-a72"), (2, "cortex-a53")])
def test_boots_a_guest(machine, gic, cpu):
    qemu = newer_qemu()
    if not qemu:
        pytest.skip("optional: no QEMU 8 or later")
    m = machine("debug", qemu=qemu, gic=gic, cpu=cpu,
                vms=[vm("one", image="hello.bin", memory=8, autostart=True)])
    m.expect(r"\[one\] hello: done", 40)
