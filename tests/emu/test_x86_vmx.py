# SPDX-License-Identifier: Apache-2.0
"""arch/x86/vmx/ alone under Bochs (tests/bare/vmx): exits, refused entries, events, NMI blocking, and
what page-modification logging must never lose (C-141)."""
import os

import pytest
from conftest import BUILD_X86

MODELS = {
    "corei7_skylake_x": 110,
    "corei7_haswell_4770": 69,          # no PML
    "corei7_ivy_bridge_3770k": 69,      # no accessed and dirty bits, no 1 GiB leaves
    "tigerlake": 110,
}


@pytest.mark.parametrize("model", MODELS)
def test_vmx(x86, model):
    m = x86("intel", image=os.path.join(BUILD_X86, "vmx-test.img"), cpu=model, smp=1, memory=256)
    points = x86.tap(m, 60)
    assert len(points) == MODELS[model]
    assert m.wait_exit(20) == 0
