# SPDX-License-Identifier: Apache-2.0
"""x86: hostile programs, as test_hostile.py has them for arm64. A guest that tries everything beside a
counting and an idle neighbour; guests that end themselves in every way; a manager that calls with
valid handles and edge values. What a minute holds; arm64's counts are soak rows."""
import os
import re

import pytest
from conftest import BUILD_X86
from tmconfig import vm

NAMED = r"(?:\x1b\[K|\r)*(?:\[%s\] )?"


def start(x86, vendor, smp, **args):
    text = " ".join("%s=%s" % item for item in args.items())
    guests = os.path.join(BUILD_X86, "guests")
    return x86(vendor, "debug-test", smp=smp, icount=False, memory=512,
               files={name: os.path.join(guests, name) for name in ("hostile.bin", "counter.bin")},
               vms=[vm("hostilemgr", manager=True, image="hostilemgr.bin", affinity=1,
                       bootargs=text)])


def run(x86, vendor, smp, timeout, **args):
    m = start(x86, vendor, smp, **args)
    x86.tap(m, timeout, NAMED % "hostilemgr")
    m.expect(r"hostilemgr: done", 30)
    return m.text()


def watch(x86, vendor, timeout, ops, stride, **args):
    text = run(x86, vendor, 3, timeout, scene="watch", ops=ops, stride=stride, **args)
    # What the attacker says of itself counts too: it ran to its end twice, each time all of it.
    own = re.findall(r"\[hostile\] ((?:not )?ok \d+ - .*)", text)
    x86.points([(line.startswith("ok"), line) for line in own])
    assert len(own) == 2 * len({line.split(" - ")[0].split()[-1] for line in own})
    # The neighbour missed no number (a first, shorter life warms the hypervisor up).
    numbers = [int(n) for n in re.findall(r"\[counter\] counter: (\d+)", text)]
    lives = [i for i, n in enumerate(numbers) if n == 1] + [len(numbers)]
    assert len(lives) >= 2 and numbers[lives[-2]:] == list(range(1, lives[-1] - lives[-2] + 1))
    # The second attack leaves no number out.
    msrs, ports = (re.findall(what, text) for what in (r"MSRs: (\d+) numbers", r"ports: (\d+) acc"))
    assert int(msrs[-1]) == 0x2000 + 0x100 + 0x2000 + 0x2000 and int(ports[-1]) == 65536 * 3 * 2
    return text


def total(pattern, text):
    return sum(int(n) for n in re.findall(pattern, text))


def test_hostile_instructions(x86):
    """Undefined and privileged instructions, far jumps, bad selectors beside a counting neighbour."""
    text = run(x86, "amd", 3, 300, scene="watch", ops=40000, only="insns")
    assert total(r"instructions: (\d+) run", text) >= 40000


# Soak: hours on a loaded machine, and not seen to pass yet.
@pytest.mark.soak
def test_hostile_guest(x86):
    text = watch(x86, "amd", 1200, 700000, 1)
    pages = [int(n) for n in re.findall(r"memory: (\d+) pages outside", text)]
    # All of 4 GiB but its own 16 MiB and its devices.
    assert max(pages) > (1 << 20) - 4096 - 16
    assert total(r"calls: (\d+) made", text) >= 1000000
    assert total(r"SGIs: (\d+) sent", text) >= 1000000
    assert total(r"instructions: (\d+) run", text) >= 1000000
    assert total(r"timers: (\d+) values", text) >= 100000


@pytest.mark.soak
def test_hostile_guest_vmx(x86):
    # A second or so of sharing: shares are rough here.
    watch(x86, "intel", 600, 4000, 512, share=350)


@pytest.mark.parametrize("vendor,seeds", [("amd", 8), ("intel", 2)])
def test_hostile_ends(x86, vendor, seeds):
    text = run(x86, vendor, 3, 300, scene="ends", seeds=seeds,
               wait=300000 if vendor == "amd" else 100000)
    assert len(re.findall(r"ok \d+ - end=", text)) >= 16 + 8 * seeds


def attack(x86, vendor, ops, timeout, seed=1):
    text = run(x86, vendor, 2, timeout, scene="attack", ops=ops, seed=seed)
    assert len(re.findall(r"# [A-Z_]+ calls=", text)) >= 57


def test_hostile_manager(x86):
    attack(x86, "amd", 50000, 300)


def test_hostile_manager_vmx(x86):
    attack(x86, "intel", 20000, 300, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12])
def test_hostile_manager_long(x86, seed):
    # Each call reached 1,000 times and more, and done as often where it can be: the program's points.
    attack(x86, "amd", 1000000, 2000, seed=seed)
