"""Workers as actors of Ray, on this machine or a cluster: through Ray go paths and names, rows through the folder."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
from pathlib import Path
from typing import Any

from arsbench.contracts import ArsbenchError
from arsbench.registry import describe
from arsbench.running.engines.crew import Crew, Ended, threads
from arsbench.running.settings import Settings

OBJECT_STORE = 80 * 2**20
"""Bytes, hardly above the least that Ray takes: nothing of ours lies there."""


def check_installed() -> None:
    """Raises ArsbenchError unless Ray is there."""
    if importlib.util.find_spec("ray") is None:
        raise ArsbenchError("--engine ray needs Ray; install it with: pip install 'arsbench[ray]'")


class _Worker:
    """The actor: lives until its work is done."""

    def work(self, folder: str, worker: str, threads: int | None, cache: bool, hung_after: float) -> str:
        """As :func:`arsbench.running.work.work_on`; what was at fault with the input, or nothing."""
        import torch

        from arsbench.running.work import work_on

        if threads is not None:
            torch.set_num_threads(threads)
        try:
            work_on(folder, cache=cache, hung_after=hung_after, crew=worker)
        except ArsbenchError as error:
            return str(error)
        return ""


class Actors(Crew):
    """Actors; see :class:`~arsbench.running.engines.crew.Crew`."""

    def __init__(self, settings: Settings, device: str, folder: Path) -> None:
        self._ray: Any = importlib.import_module("ray")
        self._settings = settings
        self._device = device
        self._folder = str(folder.resolve())
        self._running: dict[str, tuple[Any, Any]] = {}

    def __enter__(self) -> Actors:
        here: dict[str, Any] = {
            "num_cpus": self._settings.workers,
            "object_store_memory": OBJECT_STORE,
            "include_dashboard": False,
        }
        try:
            self._ray.init(
                address=self._settings.address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=False,
                **(here if self._settings.address is None else {}),
            )
        except Exception as error:  # of many kinds, by what is wrong with the address
            where = self._settings.address or "on this machine"
            raise ArsbenchError(f"Ray cannot be started or reached ({where}): {describe(error)}") from error
        gpus = 0.0
        if self._device == "cuda":
            # as many to a GPU as it takes for all to work at once
            gpus = 1 / math.ceil(self._settings.workers / max(1, int(self._ray.cluster_resources().get("GPU", 1))))
        self._actor = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Worker)
        self._threads = threads(self._settings.workers) if self._settings.address is None else None
        return self

    def start(self, worker: str) -> None:
        """Asks for an actor; on a cluster it may have to wait for its place."""
        actor = self._actor.remote()
        given = (self._folder, worker, self._threads, self._settings.cache, self._settings.hung_after)
        self._running[worker] = actor, actor.work.remote(*given)

    def ended(self) -> list[Ended]:
        """Those that ended since the last call."""
        found = []
        for worker, (_, result) in list(self._running.items()):
            if not self._ray.wait([result], timeout=0)[0]:
                continue
            del self._running[worker]
            try:
                found.append(Ended(worker, self._ray.get(result)))
            except self._ray.exceptions.RayActorError:
                found.append(Ended(worker, "its Ray actor is gone", lost=True))
            except self._ray.exceptions.RayError as error:
                found.append(Ended(worker, f"an actor failed with {describe(error)}"))
        return found

    def kill(self, worker: str) -> None:
        """Ends an actor at once."""
        if worker in self._running:
            self._ray.kill(self._running[worker][0])

    def __exit__(self, *_: object) -> None:
        for worker in list(self._running):
            with contextlib.suppress(self._ray.exceptions.RayError):
                self.kill(worker)
        self._ray.shutdown()
