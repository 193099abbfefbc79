from __future__ import annotations

import os

import torch


def pytest_configure():
    """Beside other processes of tests (``-n``) each computes in one thread, and so do those that it starts."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
