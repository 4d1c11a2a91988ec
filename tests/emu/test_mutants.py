# SPDX-License-Identifier: Apache-2.0
"""Test builds can be told to make one classic mistake (mutant= on the boot line). The oracle must
find a lost page with each of 20 seeds, and say which check found it; without the mistake the same
seeds find nothing. Mutants that need threads at chosen points are tests/host's."""
import re

import pytest
from test_oracle import OWN, oracle, summary

SEEDS = 20


@pytest.mark.parametrize("mutant", ["no-tlb-flush", "grant-before-mark", "batch-not-committed"])
def test_mutant_is_caught(machine, mutant):
    m = oracle(machine, mode="stop", vcpus=1, rounds=400, seeds=SEEDS, expect="lost",
               append="mutant=" + mutant)
    m.expect(r"tidemark: test build: mutant %s\r+\n" % mutant, 10)
    machine.tap(m, 300, OWN)
    m.expect(r"oracle: done", 10)
    assert summary(m)["lost"] == SEEDS
    caught = re.findall(r"ok \d+ - seed \d+: lost after (\d+) rounds check=([\w-]+)", m.text())
    assert len(caught) == SEEDS, caught


def test_no_mutant(machine):
    m = oracle(machine, mode="stop", vcpus=1, rounds=20, seeds=SEEDS)
    machine.tap(m, 300, OWN)
    m.expect(r"oracle: done", 10)
    assert summary(m)["lost"] == 0
