# SPDX-License-Identifier: Apache-2.0
"""Emulated rows. One pytest function (or parameter) is one row; QEMU starts through `machine`.

    def test_banner(machine):
        m = machine("release", smp=2, vms=[vm("manager", image="manager.bin", manager=True)])
        m.expect(r"tidemark: 2 CPUs", 10)

machine(kind, vms=..., files=..., **options) builds the module archive, starts QEMU and closes it
after the row. kind: release, debug or debug-test. vms: list of vm(...) dictionaries (tmconfig.py),
or the text of a .dts. files: {module name: path or bytes} beside those the configuration names.
options: those of qemu.Machine. The console is in $(O)/test/emu/<row>.log.

x86(vendor, kind, vms=..., files=..., **options) is the same for an X86Machine (x86machine.py): `amd`
is SVM under QEMU, `intel` VMX under Bochs. Its images are those of TM_BUILD_X86=.

machine.tap(m, ...) runs m.collect_tap() and counts each of its points. A required row must not be
skipped; pytest.skip("optional: reason") is for rows that need what a stock machine lacks.
Results go to $(O)/test/emu.tap for tests/tools/count.py.
"""
import os
import re
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "tools"))

import modules as modules_tool  # noqa: E402
from qemu import Machine, newer_qemu  # noqa: E402, F401
from x86machine import X86Machine  # noqa: E402

BUILD = os.path.abspath(os.environ.get("TM_BUILD", os.path.join(TOP, "build")))
SYSROOT = os.path.abspath(os.environ.get("TM_SYSROOT", os.path.join(TOP, "build/cache/arm64")))
# Rows of test_x86_*.py run when it is said where x86's images are.
BUILD_X86 = os.environ.get("TM_BUILD_X86") and os.path.abspath(os.environ["TM_BUILD_X86"])
SYSROOT_X86 = os.path.abspath(os.environ.get("TM_SYSROOT_X86",
                                             os.path.join(os.path.dirname(SYSROOT), "x86")))
SOAK = os.environ.get("TM_SOAK", "") == "1"
IMAGES = {"release": "tidemark.img", "debug": "tidemark-debug.img",
          "debug-test": "tidemark-debug-test.img"}
collect_ignore_glob = [] if BUILD_X86 else ["test_x86_*.py"]


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: longer than `make test` allows; `make soak` runs it")


def pytest_collection_modifyitems(config, items):
    keep = [item for item in items if bool(item.get_closest_marker("soak")) == SOAK]
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


class Factory:
    machine_class, build, sysroot = Machine, BUILD, SYSROOT

    def __init__(self, request):
        self.request = request
        self.machines = []
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", request.node.nodeid.split("::", 1)[-1])
        self.base = os.path.join(BUILD, "test", "emu", name)

    def __call__(self, kind="release", vms=None, files=None, start=True, **options):
        os.makedirs(os.path.dirname(self.base), exist_ok=True)
        base = self.base + (".%d" % len(self.machines) if self.machines else "")
        if "modules" not in options and (vms is not None or files is not None):
            options["modules"] = base + ".cpio"
            modules_tool.write_archive(options["modules"], vms, files or {}, self.build,
                                       self.sysroot)
        m = self.machine_class(options.pop("image", os.path.join(self.build, IMAGES[kind])),
                               log=base + ".log", **options)
        self.machines.append(m)
        return m.start() if start else m

    def points(self, points):
        """Counts TAP points that a guest printed: [(ok, text)]."""
        for ok, text in points:
            self.request.node.user_properties.append(("tap", ("ok" if ok else "not ok", text)))
        bad = [text for ok, text in points if not ok]
        assert not bad, bad

    def tap(self, m, timeout=60, prefix=""):
        points = m.collect_tap(timeout, prefix)
        self.points(points)
        return points

    def close(self):
        for m in self.machines:
            archive = m.modules
            disks = [m.log + ".disk" + end for end in ("", ".scr", ".cmd.txt")]
            m.close()
            disks += [m.log + end for end in (".iso", ".esp")]
            # The archives are large and can be made again; keep them for a failed row only.
            if not getattr(self.request.node, "row_failed", False):
                for path in [archive, *disks]:
                    if path and path.startswith(os.path.dirname(self.base)) and os.path.exists(path):
                        os.remove(path)


class X86Factory(Factory):
    machine_class, build, sysroot = X86Machine, BUILD_X86, SYSROOT_X86

    def __call__(self, vendor="amd", kind="release", vms=None, files=None, start=True, **options):
        return super().__call__(kind, vms, files, start, vendor=vendor, **options)


@pytest.fixture
def x86(request):
    factory = X86Factory(request)
    yield factory
    factory.close()


@pytest.fixture
def machine(request):
    factory = Factory(request)
    yield factory
    factory.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.row_failed = True


class Results:
    """Writes emu.tap; lives in the controlling process only."""

    def __init__(self):
        self.lines = []
        self.rows = {}

    def pytest_runtest_logreport(self, report):
        row = self.rows.setdefault(report.nodeid, {"outcome": "passed", "why": "", "tap": []})
        if report.outcome != "passed" and row["outcome"] != "failed":
            row["outcome"] = report.outcome
            if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
                row["why"] = report.longrepr[2].replace("Skipped: ", "")
        if report.when == "teardown":
            row["tap"] = [value for key, value in report.user_properties if key == "tap"]

    def pytest_collectreport(self, report):
        if report.failed:
            self.rows[report.nodeid or "collection"] = {"outcome": "failed", "why": "", "tap": []}

    def pytest_sessionfinish(self, session, exitstatus):
        path = os.path.join(BUILD, "test", "emu.tap")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        number = 0
        with open(path, "w") as out:
            for nodeid, row in self.rows.items():
                for status, text in row["tap"]:
                    number += 1
                    text = re.sub(r"^(ok|not ok) \d+( - )?", "", text)
                    out.write("%s %d - %s: %s\n" % (status, number, nodeid, text))
                number += 1
                if row["outcome"] == "skipped":
                    out.write("ok %d - %s # SKIP %s\n" % (number, nodeid, row["why"]))
                else:
                    out.write("%s %d - %s\n" % (
                        "ok" if row["outcome"] == "passed" else "not ok", number, nodeid))
            out.write("1..%d\n" % number)
            # 0 all passed, 1 some failed: both are in the points. The rest is pytest's own trouble.
            code = int(exitstatus)
            out.write("# exit %d\n" % (0 if code in (0, 1) else code))


def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(Results(), "tidemark-results")
