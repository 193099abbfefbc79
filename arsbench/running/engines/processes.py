"""Workers as processes of this machine: ``arsbench work RUN``, each with its share of the cores and of the GPUs."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from arsbench.running.engines.crew import Crew, Ended, threads
from arsbench.running.settings import Settings

REFUSED = 2
"""Exit code of a command whose input is at fault."""
PATIENCE = 10.0
"""Seconds for a worker that was asked to end."""


class Processes(Crew):
    """Processes; see :class:`~arsbench.running.engines.crew.Crew`."""

    def __init__(self, settings: Settings, device: str, folder: Path) -> None:
        self._command = [sys.executable, "-m", "arsbench", "work", str(folder)]
        self._command += ["--hung-after", str(settings.hung_after), *([] if settings.cache else ["--no-cache"])]
        self._threads = threads(settings.workers)
        self._device = device
        self._numbers = itertools.count()
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self, worker: str) -> None:
        """Starts a process."""
        said = tempfile.TemporaryFile()  # noqa: SIM115 - read and closed once the process has ended
        surroundings = surroundings_of(next(self._numbers), self._threads, self._device)
        process = subprocess.Popen(
            [*self._command, "--crew", worker],
            env={**os.environ, **surroundings},
            stdin=subprocess.PIPE,  # held open: where it closes, the run is gone, and the worker ends
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # Ctrl-C reaches the run, which ends its workers
        )
        self._running[worker] = process, said

    def ended(self) -> list[Ended]:
        """Those that ended since the last call."""
        over = [worker for worker, (process, said) in self._running.items() if process.poll() is not None]
        return [self._ended(worker) for worker in over]

    def _ended(self, worker: str) -> Ended:
        process, said = self._running.pop(worker)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        said.close()
        if process.stdin is not None:
            process.stdin.close()
        code = process.returncode
        if code == 0:
            return Ended(worker)
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if code == REFUSED and lines:
            how = lines[-1].removeprefix("arsbench: ")
        return Ended(worker, how, lost=code != REFUSED)

    def kill(self, worker: str) -> None:
        """Ends a process at once."""
        if worker in self._running:
            self._running[worker][0].kill()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *given: object) -> None:
        left = [(worker, process) for worker, (process, said) in self._running.items()]
        for _worker, process in left:
            process.terminate()
        for worker, process in left:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._ended(worker)


def surroundings_of(number: int, threads: int, device: str) -> dict[str, str]:
    """Environment variables of the worker of that number: its threads, and the one GPU that it sees."""
    given = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if device == "cuda":
        gpus = _gpus(os.environ)
        given["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return given


def _gpus(environment: Mapping[str, str]) -> list[str]:
    import torch

    named = environment.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",") if named else [str(i) for i in range(max(1, torch.cuda.device_count()))]
