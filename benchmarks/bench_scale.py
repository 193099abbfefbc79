"""What many workers cost each other, how large a plan may be, and what a second worker gains."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from arsbench.running.engines.worker import work
from arsbench.running.leases import Leases
from arsbench.running.tasks import Task

PROCESSES, THREADS, TASKS, SLEEP = 10, 20, 4000, 0.5
"""200 simulated workers: threads that lease tasks, of one cell each, and sleep."""


def test_overhead_of_200_workers_on_one_folder(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    tasks = [Task(f"0-{i}-{i + 1}", "g", range(i, i + 1)) for i in range(TASKS)]
    rows, leases = tmp_path / "rows", tmp_path / "leases"
    rows.mkdir()
    leases.mkdir()

    def compute(task: Task, *_: object) -> None:
        time.sleep(SLEEP)
        (rows / task.name).touch(exist_ok=False)  # fails where it was done before

    def workers(process: int) -> None:
        each = [
            threading.Thread(target=work, args=(tasks, Leases(leases, f"{process}-{i}"), compute, compute))
            for i in range(THREADS)
        ]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()

    def run() -> None:
        each = [multiprocessing.get_context("fork").Process(target=workers, args=(i,)) for i in range(PROCESSES)]
        for process in each:
            process.start()
        for process in each:
            process.join()

    before = os.times()
    benchmark.pedantic(run, rounds=1, iterations=1)
    after = os.times()
    assert len(list(rows.iterdir())) == TASKS
    processor = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    wall = benchmark.stats.stats.max
    benchmark.extra_info |= {
        "processor_ms_per_cell": 1000 * processor / TASKS,
        "wall_ms_per_cell_beyond_sleep": 1000 * (wall - SLEEP * TASKS / (PROCESSES * THREADS)) / TASKS,
    }


ON_WORKERS = """
import sys, time
from arsbench.running.execute import execute
from arsbench.running.settings import Settings

out, workers = sys.argv[1], int(sys.argv[2])
settings = Settings("pgd", "psp-mix", level="0,5", images=400, batch=10, cache=False, out=out, workers=workers)
began = time.perf_counter()
execute(settings)
print(time.perf_counter() - began)
"""
LAY_OUT = """
import resource, sys, time
from pathlib import Path
from arsbench.running.leases import Leases
from arsbench.running.plan import Image, Severity, make_plan
from arsbench.running.status import status
from arsbench.running.store import RunFolder
from arsbench.running.tasks import incomplete, tasks_of

protectors, images, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
manipulators = {name: [name] for name in ("g", "h", "i", "j")}
severities = [Severity(), *(Severity(f"p{i}", level, 0.5, "code") for i in range(6) for level in range(1, 6))]
begin = time.perf_counter()
plan = make_plan(
    "h", "open", 0.3, 0, "cpu",
    {f"p{i}": {name: [i, name] for name in manipulators} for i in range(protectors)},
    manipulators, severities[: max(1, 31 if protectors > 1 else 3)],
    [Image(f"folder/{i:08}.png", f"{i:064x}") for i in range(images)],
)
with RunFolder(folder, plan, {"protocol_hash": "h"}) as store:
    store.share(groups=dict.fromkeys(manipulators, 64), state="planned")
laid_out = time.perf_counter() - begin
with RunFolder(folder, plan, None) as store:
    tasks = list(tasks_of(plan, store.manifest["groups"]))
    left = incomplete(plan, tasks, store.done(), [])
assert len(left) == len(tasks)
joined = time.perf_counter() - begin - laid_out
assert status(folder).rows_planned == len(plan.cells) * images
asked = time.perf_counter() - begin - laid_out - joined
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(len(plan.cells) * images, len(tasks), laid_out, joined, asked, peak)
"""


@pytest.mark.parametrize(("protectors", "images"), [(10, 8065), (1, 833_334)])
def test_a_plan_of_ten_million_rows(protectors: int, images: int, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    said: list[str] = []

    def run() -> None:
        command = [sys.executable, "-c", LAY_OUT, str(protectors), str(images), str(tmp_path / "run")]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    benchmark.pedantic(run, rounds=1, iterations=1)
    names = ("rows", "tasks", "seconds_laid_out", "seconds_joined", "seconds_status", "peak_gib")
    benchmark.extra_info |= dict(zip(names, map(float, said[0].split()), strict=True))


def test_two_workers_over_one(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Of one thread each; what two take to start and load is in it."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    seconds: list[float] = []

    def run() -> None:
        for workers in (1, 2):
            command = [sys.executable, "-c", ON_WORKERS, str(tmp_path / str(workers)), str(workers)]
            said = subprocess.run(command, env=one_thread, check=True, capture_output=True, text=True).stdout
            seconds.append(float(said.splitlines()[-1]))

    benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info["one_over_two"] = seconds[0] / seconds[1]
