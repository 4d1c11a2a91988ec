# SPDX-License-Identifier: Apache-2.0
"""Hostile programs: a guest that tries everything beside a counting and an idle neighbour, and a
manager that calls with valid handles and edge values. guests/hostilemgr watches and judges."""
import os
import re

import pytest
from conftest import BUILD
from tmconfig import vm

NAMED = r"(?:\x1b\[K|\r)*(?:\[%s\] )?"


def start(machine, smp, gic=3, cpu="max", **args):
    text = " ".join("%s=%s" % item for item in args.items())
    guests = os.path.join(BUILD, "guests")
    return machine("debug-test", smp=smp, gic=gic, cpu=cpu, icount=False, memory=512,
                   files={name: os.path.join(guests, name) for name in ("hostile.bin", "counter.bin")},
                   vms=[vm("hostilemgr", manager=True, image="hostilemgr.bin", affinity=1,
                           bootargs=text)])


def watch(machine, ops, stride, gic, cpu, timeout, **args):
    m = start(machine, 3, gic, cpu, scene="watch", ops=ops, stride=stride, **args)
    machine.tap(m, timeout, NAMED % "hostilemgr")
    m.expect(r"hostilemgr: done", 10)
    text = m.text()
    # What the attacker says of itself counts too: it ran to its end twice, each time all of it.
    own = re.findall(r"\[hostile\] ((?:not )?ok \d+ - .*)", text)
    machine.points([(line.startswith("ok"), line) for line in own])
    assert len(own) == 2 * len({line.split(" - ")[0].split()[-1] for line in own})
    # The neighbour missed no number (a first, shorter life warms the hypervisor up).
    numbers = [int(n) for n in re.findall(r"\[counter\] counter: (\d+)", text)]
    lives = [i for i, n in enumerate(numbers) if n == 1] + [len(numbers)]
    assert len(lives) >= 2 and numbers[lives[-2]:] == list(range(1, lives[-1] - lives[-2] + 1))
    return text


def test_hostile_guest(machine):
    text = watch(machine, 800000, 1, 3, "max", 600)
    pages = [int(n) for n in re.findall(r"memory: (\d+) pages outside", text)]
    # All of 4 GiB but its own 16 MiB and its devices.
    assert max(pages) > (1 << 20) - 4096 - 2048
    calls = sum(int(n) for n in re.findall(r"calls: (\d+) made", text))
    sgis = sum(int(n) for n in re.findall(r"SGIs: (\d+) sent", text))
    instructions = sum(int(n) for n in re.findall(r"instructions: (\d+) run", text))
    values = sum(int(n) for n in re.findall(r"timers: (\d+) values", text))
    assert values >= 100000 and text.count("restored compare values that wrap") == 1
    assert calls >= 1000000 and sgis >= 1000000 and instructions >= 1000000


@pytest.mark.parametrize("gic,cpu", [(2, "max"), (3, "cortex-a72"), (2, "cortex-a53")])
def test_hostile_guest_elsewhere(machine, gic, cpu):
    # A second or so of sharing, timed by a host that runs other rows too: shares are rough here.
    watch(machine, 10000, 64, gic, cpu, 200, share=350)


def attack(machine, ops, timeout, gic=3, seed=1):
    m = start(machine, 2, gic, scene="attack", ops=ops, seed=seed)
    machine.tap(m, timeout, NAMED % "hostilemgr")
    m.expect(r"hostilemgr: done", 10)
    assert len(re.findall(r"# [A-Z_]+ calls=", m.text())) >= 57


def test_hostile_manager(machine):
    # Each call reached 1,000 times and more, and done as often where it can be: the program's points.
    attack(machine, 1000000, 400)


def test_hostile_manager_gicv2(machine):
    attack(machine, 20000, 200, gic=2, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12])
def test_hostile_manager_long(machine, seed):
    attack(machine, 1000000, 2000, seed=seed)
