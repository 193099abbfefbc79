"""What code leaves behind in the process is put back, and said."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from arsbench.process_state import ProcessExit, exits_refused, undisturbed


@pytest.mark.parametrize(
    ("disturb", "read", "named"),
    [
        (
            lambda: torch.set_default_dtype(torch.float64),
            torch.get_default_dtype,
            "default dtype (torch.float32 became",
        ),
        (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled, "gradients on or off (True became False)"),
        (lambda: torch.set_num_threads(3), torch.get_num_threads, "number of threads"),
        (lambda: torch.set_default_device("meta"), torch.get_default_device, "default device"),
        (lambda: torch.set_flush_denormal(True), lambda: float(torch.tensor(1e-40) * 1.0) == 0, "denormal"),
        (lambda: torch.use_deterministic_algorithms(True), torch.are_deterministic_algorithms_enabled, "deterministic"),
        (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled, "anomaly"),
        (lambda: np.seterr(all="raise"), np.geterr, "numpy's error handling"),
        (lambda: os.chdir("/"), os.getcwd, "the working folder"),
        (
            lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
            lambda: signal.getsignal(signal.SIGTERM),
            "handler of SIGTERM",
        ),
        (lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGALRM), "SIGALRM"),
        (os.environ.clear, lambda: dict(os.environ), "the environment"),
        (lambda: os.environ.update(XDG_CACHE_HOME="/nowhere"), lambda: os.environ.get("XDG_CACHE_HOME"), "environment"),
        (lambda: warnings.simplefilter("error"), lambda: [f[0] for f in warnings.filters], "warnings as errors"),
        (lambda: os.umask(0o777), lambda: [os.umask(mask := os.umask(0o22)), mask][1], "the umask"),
        (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit, "the recursion limit"),
        (gc.disable, gc.isenabled, "garbage collection (True became False)"),
        (lambda: setattr(torch.backends.mkldnn, "enabled", False), lambda: torch.backends.mkldnn.enabled, "oneDNN"),
        (lambda: setattr(Image, "MAX_IMAGE_PIXELS", 10), lambda: Image.MAX_IMAGE_PIXELS, "Pillow's largest picture"),
        (
            lambda: setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
            lambda: ImageFile.LOAD_TRUNCATED_IMAGES,
            "truncated files",
        ),
    ],
)
def test_what_is_left_behind_is_put_back_and_named(disturb, read, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    before = read()
    try:
        with undisturbed() as found:
            disturb()
        assert read() == before
        assert len(found.settings) == 1
        assert named in found.settings[0]
    finally:
        torch.set_num_threads(threads)


def test_it_is_put_back_after_an_error_too():
    def fail():
        torch.set_default_dtype(torch.float64)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), undisturbed() as found:
        fail()
    assert torch.get_default_dtype() == torch.float32
    assert found.settings


def test_code_that_changes_nothing_leaves_nothing_to_say():
    with undisturbed(seed=3) as found:
        torch.rand(2, generator=torch.Generator().manual_seed(1))
    assert not found


@pytest.mark.parametrize(
    ("draw", "whose"),
    [
        (lambda: torch.rand(1).item(), "torch's"),
        (lambda: np.random.rand(), "numpy's"),  # noqa: NPY002
        (random.random, "Python's"),
    ],
)
def test_global_generators_draw_by_the_seed_and_are_put_back(draw, whose):
    drawn = []
    for disturbance in (0, 1):
        for _ in range(disturbance):
            draw()
        with undisturbed(seed=5) as found:
            drawn.append(draw())
        assert found.generators == [whose]
    assert drawn[0] == drawn[1]
    with undisturbed():
        expected = draw()
    with undisturbed(seed=9):
        draw()
    assert draw() == expected


def test_seeding_is_that_of_torch():
    with undisturbed(seed=7):
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("call", [lambda: os._exit(0), lambda: os.abort()])
def test_code_cannot_end_the_process_without_a_word(call):
    real = os._exit
    with pytest.raises(ProcessExit, match=r"os\.(_exit|abort)"), exits_refused(), exits_refused():
        call()
    assert os._exit is real


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_forked_process_may_end_itself():
    code = (
        "import os\nfrom arsbench.process_state import exits_refused\n"
        "with exits_refused():\n    child = os.fork()\n    if not child: os._exit(7)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "7"


def test_output_streams_stay_open(capsys):
    with undisturbed():
        sys.stdout.close()
        sys.stderr.close()
    print("heard")
    assert capsys.readouterr().out == "heard\n"
    assert "close" not in vars(sys.stdout)
