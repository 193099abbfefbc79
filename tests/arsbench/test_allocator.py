from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from arsbench.engines.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults_of_a_layer(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [torch.ones(megabytes, 256, 1024) for _ in range(4)]
    del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(sum([faults_of_a_layer(megabytes) for _ in range(5)][-1] for megabytes in (16, 24, 28)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again_without_page_faults():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "plain")
    }
    assert faults["keep"] < 0.1 * faults["plain"]
