# SPDX-License-Identifier: Apache-2.0
"""The manager: its shell, its snapshots, its own death. The guest is `ticker`, which prints
`tick N`, checks its own memory and says `tick: BAD` when a page is not what it wrote."""
import random
import re

import pytest

from tmconfig import vm

BAD = r"tick: BAD[^\n]*"
PANIC = r"tidemark: PANIC[^\n]*"
PROMPT = r"tidemark> "


def vms(manager_args="", ticker_args="pages=1024 writes=48", **ticker):
    options = dict(image="ticker.bin", memory=32, bootargs=ticker_args, autostart=True)
    options.update(ticker)
    return [vm("manager", image="manager.bin", manager=True, bootargs=manager_args),
            vm("ticker", **options)]


class Shell:
    """A session with the manager's shell."""

    def __init__(self, m):
        self.m = m
        self.count = 0
        m.expect(PROMPT, 60)

    def run(self, line, want=None, timeout=60):
        """Sends a command, waits for what it must say and for its end."""
        self.count += 1
        self.m.sendline(line)
        match = self.m.expect(want, timeout, refuse=(PANIC, BAD)) if want else None
        # The console shows the prompt again under every line of a guest: ask for something unique.
        self.m.sendline("help mark%d" % self.count)
        self.m.expect(r"no command begins with mark%d\b" % self.count, timeout,
                      refuse=(PANIC, BAD))
        return match

    def first_tick_after(self, want):
        """The first number on the console behind the last place where it says `want`."""
        self.ticks_on(2)
        text = self.m.text()
        place = list(re.finditer(want, text))[-1].end()
        return int(re.search(r"\btick (\d+)\n", text[place:]).group(1))

    def tick(self):
        """The next number of the ticker."""
        return int(self.m.expect(r"\btick (\d+)\r*\n", 30, refuse=(PANIC, BAD)).group(1))

    def ticks_on(self, n=5):
        """The next n numbers, which must be consecutive; returns the first."""
        first = self.tick()
        for i in range(1, n):
            assert self.tick() == first + i
        return first


def test_shell(machine):
    shell = Shell(machine("release", smp=2, vms=vms()))
    run = shell.run
    run("vm list", r"1 ticker +\S+ +1 +32 MiB  bitmap\+m +static")
    run("help snap", r"snap verify <snap>")
    run("vm info ticker", r"vcpu 0: pc [0-9a-f]{16}")
    run("mem ticker", r"slot 0 +40000000 +32768 KiB")
    run("exits", r"ticker +0 (waiting|running|ready)")
    run("log", r"vm ticker: 1 vCPUs")
    run("vm", r"usage: vm list\|create\|start\|pause\|resume\|kick\|reset\|destroy\|info")
    run("vm pause", r"usage: vm pause <vm>")
    run("vm pause nobody", r"vm pause: VM: there is none called nobody \(-ENOENT\): see `vm list`")
    run("nonsense", r"nonsense: command: there is no such command \(-EINVAL\): see `help`")
    run("snap restore none", r"snap restore: snapshot: there is none called none \(-ENOENT\)")
    run("snap take ticker x limit=abc", r"limit: \"abc\" is no number \(-EINVAL\)")
    run("dirty stat ticker 1", r"dirty stat: log: it is off \(-ENOENT\): `dirty start` it first")
    run("vm reset ticker", r"vm reset: reset: .*\(-EOPNOTSUPP\)")
    # Line editing: "vmm list" with the cursor moved back, then the same from the history.
    run("vmm list" + "\033[D" * 5 + "\x7f", r"\] +1 ticker ")
    run("\033[A\033[A", r"\] +1 ticker ")
    run("vm kick ticker")
    shell.ticks_on(3)


def test_pause_resume(machine):
    shell = Shell(machine("release", smp=2, vms=vms()))
    shell.ticks_on(3)
    shell.run("vm pause ticker")
    shell.run("vm list", r"1 ticker +paused")
    shell.m.drain(1)
    before = shell.m.text().count("tick ")
    shell.m.drain(2)
    assert shell.m.text().count("tick ") == before
    shell.run("vm resume ticker")
    shell.ticks_on(5)
    shell.run("vm resume ticker", r"it is not paused \(-EALREADY\)")


def test_dirty_rate(machine):
    shell = Shell(machine("release", smp=2, vms=vms()))
    shell.run("dirty start ticker", r"is logged now")
    for _ in range(2):
        match = shell.run("dirty stat ticker 2", r"ticker: +(\d+) pages/s [^\n]* (\d+) collected"
                          r"[\s\S]*since its creation: ")
        assert int(match.group(1)) > 100 and int(match.group(2)) > 100
    shell.run("dirty stop ticker", r"off; \d+ pages were dirtied")
    shell.ticks_on(5)


MODES = ["static", "bitmap", "spill", "stop", "ring"]


@pytest.mark.parametrize("mode", MODES)
def test_snapshots(machine, mode):
    """A chain of three incrementals, each restored; rewind; clone; delete; verify."""
    shell = Shell(machine("release", smp=2, vms=vms(autostart=mode == "static")))
    name = "ticker"
    if mode != "static":
        name = "guest"
        shell.run("vm create guest image=ticker.bin mem=32 dirty=%s ring=1024 "
                  "args=\"pages=1024 writes=48\"" % mode, r"vm guest is number \d+")
        shell.run("vm start guest")
    taken = {}
    parent = ""
    for snap in ("base", "one", "two", "three"):
        before = shell.ticks_on(3)
        shell.run("snap take %s %s rounds=2%s" % (name, snap, parent),
                  r"downtime \d+ insns \(\d+ ticks\)[^\n]*hash ([0-9a-f]{32})")
        taken[snap] = (before, shell.tick())
        parent = " parent=" + snap
        shell.run("snap verify " + snap, r"sound: \d+ images")
    shell.run("snap damage one 100", r"100 of 100 changes refused with the record named")
    shell.run("snap delete one", r"snap delete: delete: two builds on it \(-EBUSY\)")
    for snap in ("two", "base", "three", "one"):
        shell.run("snap restore " + snap, r"memory and device state verified")
        low, high = taken[snap]
        assert low < shell.first_tick_after("memory and device state verified") <= high
        shell.ticks_on(10)
    for _ in range(2):
        match = shell.run("snap rewind %s one check" % name,
                          r"(\d+) pages copied back, (\d+) of them differed, no other page did")
        copied, differed = int(match.group(1)), int(match.group(2))
        # A page may have been written with what it held before (I-3 (e)).
        assert 0 < differed <= copied <= differed + 8
        shell.ticks_on(10)
    shell.run("vm destroy " + name)
    shell.run("snap restore three", r"vm \d+ made: \d+ pages")
    low, high = taken["three"]
    assert low < shell.first_tick_after("memory and device state verified") <= high
    shell.ticks_on(10)
    shell.run("vm pause " + name)
    shell.run("snap clone three twin", r"vm \d+ made")
    assert low < shell.first_tick_after("memory and device state verified") <= high
    shell.ticks_on(10)
    shell.run("vm list", r"twin")
    shell.run("vm destroy twin")
    shell.run("vm resume " + name)
    shell.ticks_on(5)
    for snap in ("three", "two", "one", "base"):
        shell.run("snap delete " + snap)
    shell.run("snap list", r"\] +0 of \d+ KiB used")


def test_store_full(machine):
    shell = Shell(machine("release", smp=2, vms=vms("store=256K")))
    shell.ticks_on(3)
    for _ in range(3):
        shell.run("snap take ticker big", r"snap take: store: it is full [^\n]*\(-ENOSPC\): "
                  r"delete snapshots")
        shell.ticks_on(3)
        shell.run("snap list", r"\] +0 of \d+ KiB used")
    shell.run("vm list", r"1 ticker +(waiting|running|ready)")


def kill_points(boot):
    """Five deaths for one boot, the seed decides where in each phase."""
    rng = random.Random(boot)
    phases = ["full", "round", "pause", "last", rng.choice(["full", "round", "pause", "last"])]
    rng.shuffle(phases)
    most = {"full": 14, "round": 3, "pause": 2, "last": 1}
    return ["%s:%d" % (phase, rng.randint(1, most[phase])) for phase in phases]


@pytest.mark.parametrize("boot", [1, 2, 3, 4])
def test_manager_killed(machine, boot):
    """Must show 7: after five deaths the sixth manager's snapshot restores identically."""
    points = kill_points(boot)
    config = vms("run=ticker settle=200 after=500 killat=" + ",".join(points))
    config.append(vm("steady", image="ticker.bin", memory=16, autostart=True,
                     bootargs="pages=64 period_us=10000 writes=2"))
    m = machine("release", smp=2, vms=config)
    verdict = m.expect(r"tidemark: run (PASS|FAIL)[^\r\n]*", 240, refuse=(PANIC, BAD))
    assert verdict.group(1) == b"PASS", verdict.group(0)
    m.drain(1)
    text = m.text()
    assert text.count("killed as asked") == 5
    assert "started again 5 times" in text
    # The static guest beside it: every number once, in order.
    steady = [int(n) for n in re.findall(r"steady\W+tick (\d+)", text)]
    assert len(steady) > 20
    assert steady == list(range(steady[0], steady[0] + len(steady)))
    # The logged guest: no number missing until it is destroyed.
    before = text.split("run: ticker destroyed")[0]
    ticker = [int(n) for n in re.findall(r"ticker\W+tick (\d+)", before)]
    assert ticker == list(range(ticker[0], ticker[0] + len(ticker)))


def test_lose_is_found(machine):
    m = machine("release", smp=2, vms=vms("run=ticker settle=200 after=200 lose=1"))
    verdict = m.expect(r"tidemark: run (PASS|FAIL)[^\n]*\n", 120)
    assert verdict.group(1) == b"FAIL"
    assert b"differs from hash A" in verdict.group(0)
