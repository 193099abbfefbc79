from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is nothing to be told elsewhere")
def test_glibc_takes_all_three_settings():
    code = "from arsbench.running.engines.allocator import keep_freed_memory as keep; print(keep())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"
