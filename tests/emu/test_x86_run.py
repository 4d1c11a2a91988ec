# SPDX-License-Identifier: Apache-2.0
"""`make run ARCH=x86` as its user sees it: SVM under QEMU, VMX under Bochs; test_run.py has arm64."""
import re

import pytest
from conftest import BUILD_X86, SYSROOT_X86
from test_run import story

WAYS = {"amd": ["--vendor", "amd"], "amd-2-vcpus": ["--vendor", "amd", "--cpus", "2"],
        "amd-uefi": ["--vendor", "amd", "--boot", "uefi"],
        "amd-grub": ["--vendor", "amd", "--boot", "grub"],
        "intel": ["--vendor", "intel"]}
SLOW = 1200     # Bochs, beside other rows: seconds of wall time


def x86_story(request, *options, timeout=SLOW):
    return story(request, "--arch", "x86", *options, timeout=timeout, build=BUILD_X86,
                 sysroot=SYSROOT_X86)


# Minutes on Bochs and with OVMF.
@pytest.mark.parametrize("way", [
    pytest.param(way, marks=pytest.mark.soak if way in ("intel", "amd-uefi") else ()) for way in WAYS])
def test_story_passes(request, way):
    code, verdict, text = x86_story(request, *WAYS[way])
    assert code == 0 and verdict == "PASS", text[-2000:]
    line = re.search(r"tidemark: run PASS arch=x86 guest=linux pages=(\d+) rounds=(\d+) "
                     r"downtime_insns=(\d+) memory=identical hash=[0-9a-f]+", text)
    assert line, text[-2000:]
    assert int(line.group(1)) >= 1000 and int(line.group(2)) >= 2
    assert not re.search(r"BUG:|stall|tick: BAD", text)


def test_lost_page_fails(request):
    code, verdict, text = x86_story(request, "--vendor", "amd", "--lose")
    assert code != 0 and verdict == "FAIL", text[-2000:]
    assert "was left out" in text and "differs from hash A" in text, text[-2000:]
