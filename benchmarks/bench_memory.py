"""Peak memory and time of the README's run, in a process of its own, and that memory does not grow with the images."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from arsbench.faces.lossless import write_exact
from arsbench.faces.shipped import ShippedFaces


@pytest.mark.parametrize("images", [25, 100])
def test_peak_memory_of_the_readme_run(
    images: int, benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An empty cache, as on a stranger's machine.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [Path(sys.executable).with_name("arsbench"), "run"]
    command += ["--protector", "ars", "--level", "all", "--manipulator", "psp-mix,psp-recon"]
    peaks: list[int] = []

    def run() -> None:
        arguments = [*map(str, command), "--images", str(images), "--out", str(tmp_path / "run")]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            peaks.append(_peak(process))
        assert process.returncode == 0

    benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info |= {"images": images, "peak_mib": peaks[0] / 2**20}


def test_peak_memory_does_not_grow_with_the_images(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Of 5000 pictures - the shipped faces, moved along their rows - over that of 500, with the controls alone."""
    faces = ShippedFaces(n=1000)
    peaks: dict[int, int] = {}
    for images in (500, 5000):
        folder = tmp_path / str(images)
        folder.mkdir()
        for i in range(images):
            write_exact(folder / f"{i:04}.png", np.roll(faces.pixels(i % 1000), i // 1000, axis=1))

    def run() -> None:
        for images in (500, 5000):
            command = [
                Path(sys.executable).with_name("arsbench"),
                "run",
                "--protector",
                "none",
                "--manipulator",
                "psp-mix",
            ]
            command += ["--perturbation", "jpeg", "--level", "4,5", "--no-cache", "--faces", tmp_path / str(images)]
            arguments = [*map(str, command), "--out", str(tmp_path / f"run-{images}")]
            with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                peaks[images] = _peak(process)
            assert process.returncode == 0

    benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info |= {
        "peak_mib": {n: peak / 2**20 for n, peak in peaks.items()},
        "ratio": peaks[5000] / peaks[500],
    }


def _peak(process: subprocess.Popen[bytes]) -> int:
    """The largest resident memory, in bytes, of the process and its children while it lives."""
    watched = psutil.Process(process.pid)
    peak = 0
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    return peak
