# SPDX-License-Identifier: Apache-2.0
"""The dirty-tracking oracle (guests/oracle): memory content decides what was changed. At least 10^4
rounds over numbers of vCPUs and ways of logging; each operation of each mode must have happened.

The guest's vCPUs run on other CPUs than the manager, in parallel with it: no icount here."""
import os
import re

import pytest
from conftest import BUILD
from tmconfig import vm

OWN = r"(?:\x1b\[K|\r)*(?:\[oracle\] )?"


def oracle(machine, smp=2, icount=False, append="", **args):
    text = " ".join("%s=%s" % item for item in args.items())
    return machine("debug-test", smp=smp, icount=icount, memory=512, append=append,
                   files={"dirty.bin": os.path.join(BUILD, "guests", "dirty.bin")},
                   vms=[vm("oracle", manager=True, image="oracle.bin", affinity=1, bootargs=text)])


def summary(m):
    """The line with the sums, as numbers."""
    line = re.search(r"# oracle mode=.*", m.text()).group(0)
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def cpus_for(mode, vcpus):
    """The manager has the first for itself. Two vCPUs run in parallel, four share CPUs: one in most
    modes, two where each full ring stops its vCPU."""
    return 2 if vcpus == 1 or (vcpus == 4 and mode != "stop") else 3


def run(machine, mode, vcpus, rounds, seed=1, timeout=900):
    m = oracle(machine, smp=cpus_for(mode, vcpus), mode=mode, vcpus=vcpus, rounds=rounds, seed=seed)
    machine.tap(m, timeout, OWN)
    m.expect(r"oracle: done", 10)
    sums = summary(m)
    assert sums["lost"] == 0 and sums["rounds"] == rounds
    assert sums["writes"] >= 64 * rounds


# The long ones first, so that two workers end together.
@pytest.mark.parametrize("vcpus", [4, 2, 1])
@pytest.mark.parametrize("mode", ["stop", "spill", "bitmap"])
def test_oracle(machine, mode, vcpus):
    run(machine, mode, vcpus, 1050)


# Ring-exclusive, automatic bitmap, initially set: what else DIRTY_CONFIG offers.
@pytest.mark.parametrize("mode,vcpus,rounds", [("ring", 2, 300), ("auto", 1, 150), ("init", 1, 150)])
def test_other_modes(machine, mode, vcpus, rounds):
    run(machine, mode, vcpus, rounds)


@pytest.mark.soak
@pytest.mark.parametrize("vcpus", [4, 2, 1])
@pytest.mark.parametrize("mode", ["stop", "spill", "bitmap", "ring", "auto", "init"])
def test_oracle_long(machine, mode, vcpus):
    run(machine, mode, vcpus, 10000, seed=1000, timeout=3600)


# --- replay -------------------------------------------------------------------------------------
def plans(m):
    return re.findall(r"# round .*", m.text())


def test_one_vcpu_is_the_same_twice(machine):
    """Under icount, with one vCPU, two runs of one seed print the same to the last byte."""
    texts = []
    for _ in range(2):
        m = oracle(machine, icount=True, mode="stop", vcpus=1, rounds=12, seed=7, verbose=1)
        m.expect(r"machine off", 300)
        # QEMU's own last words, if any, are none of ours.
        texts.append(m.text().split("machine off")[0])
    assert texts[0] == texts[1]
    assert " lost=0" in texts[0] and len(plans(m)) == 12


def test_seed_replays_operations(machine):
    """With several vCPUs in parallel the seed still gives the same list of operations."""
    lists = []
    for _ in range(2):
        m = oracle(machine, smp=3, mode="spill", vcpus=2, rounds=25, seed=7, verbose=1)
        m.expect(r"oracle: done", 200)
        lists.append(plans(m))
    assert len(lists[0]) == 25 and lists[0] == lists[1]
