"""Freed memory is kept: what is allocated again needs no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_tensors_that_are_made_again_find_their_pages():
    # Where the system gives huge pages of its own accord, there are few faults either way.
    assert 10 * page_faults("kept") < page_faults("as usual")
