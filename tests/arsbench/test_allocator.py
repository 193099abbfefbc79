"""Freed memory is kept: what is allocated again needs no new pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, threading, torch
from arsbench.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def work():
    for i in range(20):
        if i == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        first, second = torch.ones(2**24), torch.ones(2**24)  # 64 MiB each, more than a piece of a thread's own arena
        del first, second
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[2] == "main":
    work()
else:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def page_faults(how, thread):
    run = subprocess.run([sys.executable, "-c", FAULTS, how, thread], check=True, capture_output=True, text=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize("thread", ["main", "another"])
def test_large_tensors_that_are_made_again_find_their_pages(thread):
    # Where the system gives huge pages of its own accord, there are few faults either way.
    assert 10 * page_faults("kept", thread) < page_faults("as usual", thread)
