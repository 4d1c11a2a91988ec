# SPDX-License-Identifier: Apache-2.0
"""x86: every kind of panic, what it reports, and that it stops the whole machine."""
import re

import pytest
from tmconfig import vm

HELLO = [vm("one", image="hello.bin", memory=8, autostart=True)]
CRASHES = {
    "panic": r"asked for by crash=panic",
    "null": r"page fault: not mapped, read at 0x0",
    "stack": r"stack overflow: rsp 0x[0-9a-f]+, page fault at 0x[0-9a-f]+",
    "ubsan": r"undefined behaviour: addition overflow",
    "buffer": r"undefined behaviour: index out of bounds",
    "text": r"page fault: forbidden, write at 0xffffffff[0-9a-f]+",
    "exec": r"page fault: forbidden, fetch at 0xffffffff[0-9a-f]+",
}


@pytest.mark.parametrize("vendor,name", [("amd", name) for name in CRASHES] + [
    ("intel", name) for name in ("null", "stack", "exec")])
def test_panic(x86, vendor, name):
    m = x86(vendor, "debug-test", vms=HELLO, append="crash=" + name)
    m.expect(r"\ntidemark: PANIC " + CRASHES[name] + r"\r+\n", 60, refuse=())
    if name != "panic":
        m.expect(r"\n  rsp [0-9a-f]{16}  rip [0-9a-f]{16}  flg [0-9a-f]{16}", 10, refuse=())
    m.expect(r"backtrace:\r+\n", 10, refuse=())
    m.expect(r"hyp_main\+0x[0-9a-f]+\r+\n", 10, refuse=())
    m.expect(r"tidemark: halted\r+\n", 10, refuse=())
    assert len(re.findall("PANIC", m.text())) == 1
