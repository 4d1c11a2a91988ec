# SPDX-License-Identifier: Apache-2.0
"""`make run` as its user sees it: the story of a live snapshot ends in PASS, a page dropped on the
way in FAIL, whatever firmware started it."""
import os
import re
import subprocess
import sys

import pytest
from conftest import BUILD, SYSROOT, TOP

RUN = os.path.join(TOP, "tests", "tools", "run.py")


def story(request, *options, timeout=400, build=BUILD, sysroot=SYSROOT):
    out = os.path.join(BUILD, "test", "emu", "run", re.sub(r"\W+", "_", request.node.name))
    os.makedirs(out, exist_ok=True)
    done = subprocess.run([sys.executable, RUN, "--build", build, "--sysroot", sysroot, "--image",
                           os.path.join(build, "tidemark.img"), "--out", out,
                           "--timeout", str(timeout - 60), *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    for kept in ("console.log", "console.log.cmd", "config.dts", "seed"):
        assert os.path.exists(os.path.join(out, kept)), kept
    verdicts = re.findall(r"tidemark: run (PASS|FAIL)[^\n]*", text)
    assert verdicts, text[-2000:]
    return done.returncode, verdicts[-1], text


@pytest.mark.parametrize("options", [
    ["--gic", "3", "--cpus", "1"], ["--gic", "2", "--cpus", "2", "--cpu", "cortex-a72"]],
    ids=["gic3", "gic2-a72"])
def test_story_passes(request, options):
    code, verdict, text = story(request, *options)
    assert code == 0 and verdict == "PASS", text[-2000:]
    line = re.search(r"tidemark: run PASS arch=arm64 guest=linux pages=(\d+) rounds=(\d+) "
                     r"downtime_insns=(\d+) memory=identical hash=[0-9a-f]+", text)
    assert line, text[-2000:]
    assert int(line.group(1)) >= 1000 and int(line.group(2)) >= 2
    assert not re.search(r"BUG:|stall|tick: BAD", text)


def test_u_boot_story_passes(request):
    code, verdict, text = story(request, "--boot", "u-boot")
    assert code == 0 and verdict == "PASS", text[-2000:]


def test_lost_page_fails(request):
    code, verdict, text = story(request, "--lose")
    assert code != 0 and verdict == "FAIL", text[-2000:]
    # For the one reason that counts: a page was left out, and the memory shows it.
    assert "was left out" in text and "differs from hash A" in text, text[-2000:]


# --- the SDK, outside the tree ------------------------------------------------------------------
def test_sdk_builds_in_an_empty_folder(request, machine, tmp_path):
    """A 30-line program, built with nothing but what `make sdk` gave, prints from a guest."""
    from tmconfig import vm
    sdk = str(tmp_path / "sdk")
    cache = os.path.dirname(SYSROOT)
    subprocess.run(["make", "-s", "STAGE=2", "O=" + BUILD, "CACHE=" + cache, "sdk"], cwd=TOP,
                   check=True, timeout=200, stdout=subprocess.DEVNULL)
    subprocess.run(["cp", "-r", os.path.join(BUILD, "sdk"), sdk], check=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    subprocess.run(["make", "-s"], cwd=sdk, check=True, timeout=60, env=env)
    built = [name for name in os.listdir(sdk) if name.endswith(".bin")]
    assert built, os.listdir(sdk)
    with open(os.path.join(sdk, built[0]), "rb") as image:
        m = machine("release", files={"sdk-hello.bin": image.read()},
                    vms=[vm("one", image="sdk-hello.bin", memory=16, autostart=True)])
    m.expect(r"\[one\] .*hello", 20)
