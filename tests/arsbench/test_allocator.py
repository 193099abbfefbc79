"""Freed memory is kept: what is allocated again needs no new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from arsbench.allocator import keep_freed_memory

FAULTS = """
import resource, sys, torch
from arsbench.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for i in range(20):
    if i == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    first, second = torch.ones(2**23), torch.ones(2**23)  # 32 MiB each
    del first, second
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    run = subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True)
    return int(run.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_large_tensors_that_are_made_again_find_their_pages():
    assert page_faults("kept") < 1000 < page_faults("as usual")
