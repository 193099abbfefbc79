"""Kills, full disks, hostile files: what a run and the readers do under stress, counted.

    python benchmarks/stress.py --kills 100 --seconds 20 --out docs/reliability-counts.md

Everything runs in processes forked from this one, which has imported all there is, so that a case costs a fraction of
a second. A case is good when nothing that was stored is lost, one sentence is said, and the exit code is right.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import platform
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import arsbench
from arsbench import api, reports
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError
from arsbench.faces.pictures import read_picture
from arsbench.manipulators.official import checkpoints
from arsbench.manipulators.official.restricted_reader import read_checkpoint, tensors_of
from arsbench.running import execute as execute_module
from arsbench.running.manifest import MANIFEST, read_manifest
from arsbench.running.parts import part_paths
from arsbench.running.status import status
from arsbench.running.store import read_rows

ROOT = Path(__file__).resolve().parents[1]
FAKES = ROOT / "tests" / "arsbench" / "fakes.py"
CASES = ROOT / "tests" / "fixtures" / "cases"
LEVELS = "0,4,5"
"""Two of them are evaluated side by side."""
RUN = ["run", "--protector", f"{FAKES}:Push", "--manipulator", f"{FAKES}:ThreadedMirror", "--perturbation", "dropout"]
RUN += ["--level", LEVELS, "--images", "8", "--batch", "1", "--no-cache", "--out"]
HANGS = 120
"""Seconds after which a case counts as hanging."""


class Wrong(Exception):
    """A case did not go as it should."""


# --- processes ------------------------------------------------------------------------------------------------------


class Child:
    """A forked process that runs ``work``; what it returns, as JSON, and what it says go into files."""

    def __init__(self, folder: Path, work: Callable[[], Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.folder.chmod(0o777)  # a child may become another account
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setpgid(0, 0)
                for number, name in ((1, "out"), (2, "err")):
                    os.dup2(os.open(self.folder / name, os.O_CREAT | os.O_WRONLY), number)
                (self.folder / "result").write_text(json.dumps(work()))
                code = 0
            except BaseException:
                (self.folder / "trace").write_text(traceback.format_exc())
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)

    def wait(self) -> Any:
        """What ``work`` returned.

        Raises:
            Wrong: it raised, crashed or hangs.
        """
        until = time.monotonic() + HANGS
        while (ended := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                self.kill()
                raise Wrong(f"hangs for {HANGS} s")
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(ended[1])
        if code < 0:
            raise Wrong(f"crashed by {signal.Signals(-code).name}")
        if code:
            raise Wrong((self.folder / "trace").read_text().splitlines()[-1])
        return json.loads((self.folder / "result").read_text())

    def kill(self) -> None:
        """As the system kills."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def said(self) -> list[str]:
        """The sentences on stderr."""
        return [line for line in (self.folder / "err").read_text(errors="replace").splitlines() if line.strip()]


def command(folder: Path, *arguments: object, before: Callable[[], object] | None = None) -> tuple[int, list[str]]:
    """Exit code and sentences of a command, in a process of its own."""

    def work() -> int:
        if before is not None:
            before()
        return execute_command([str(argument) for argument in arguments])

    child = Child(folder, work)
    return child.wait(), child.said


def expect(condition: bool, said: object) -> None:
    """Raises Wrong unless the condition holds."""
    if not condition:
        raise Wrong(str(said))


def one_sentence(code: int, said: list[str], wanted: int = 2) -> None:
    """The right exit code, and one sentence without a traceback."""
    expect(code == wanted, f"exit code {code}: {said[-1:]}")
    expect(sum(line.startswith("arsbench: ") for line in said) == 1, f"said {said}")
    expect(not any("Traceback" in line or "in arsbench itself" in line for line in said), said)


def numbers(folder: Path, run: Path) -> Any:
    """The rows of a run without their seconds, in a form that compares."""
    return Child(folder, lambda: read_rows(run).drop(columns="seconds").to_json(double_precision=15)).wait()


def without_reports() -> None:
    """Tables and figures take longer than the run itself; where they are not the point, they are left out."""
    reports.write = lambda *_, **__: []


def quick(run: Path) -> int:
    """A run without its reports, in this process."""
    without_reports()
    return execute_command([*RUN, str(run)])


def finished(folder: Path, run: Path, reference: Any) -> None:
    """The run can be finished, and then has the rows of one that was never disturbed."""
    code, said = command(folder, *RUN, run, before=without_reports)
    expect(code == 0, f"exit code {code}: {said[-1:]}")
    expect(numbers(folder, run) == reference, "other rows than an undisturbed run")


# --- runs -----------------------------------------------------------------------------------------------------------


def kills(folder: Path, draws: random.Random, reference: Any, count: int) -> Iterator[Callable[[], None]]:
    """SIGKILL at seeded moments; each run is resumed until it is finished."""
    began = time.monotonic()
    Child(folder, lambda: quick(folder / "timed")).wait()
    whole = time.monotonic() - began
    state = {"run": folder / "killed-0", "rows": 0, "runs": 0}

    def one() -> None:
        run, child = state["run"], Child(folder, lambda: quick(state["run"]))
        time.sleep(draws.uniform(0, whole))
        child.kill()
        if not (run / MANIFEST).exists():
            return
        found = Child(folder, lambda: {**vars(status(run)), "read": len(read_rows(run))}).wait()
        expect(found["state"] in ("stopped", "finished"), f"state {found['state']}")
        expect(found["rows"] >= state["rows"], f"{state['rows']} rows became {found['rows']}")
        expect(found["read"] == found["rows"], f"{found['rows']} rows are counted, {found['read']} read")
        state["rows"] = found["rows"]
        if found["rows"] == found["rows_planned"]:
            finished(folder, run, reference)
            state.update(runs=state["runs"] + 1, rows=0, run=folder / f"killed-{state['runs'] + 1}")

    yield from [one] * count
    yield lambda: finished(folder, state["run"], reference)


def full_disks(folder: Path, draws: random.Random, reference: Any) -> Iterator[Callable[[], None]]:
    """A file system that is full after so many bytes, and files that may not grow beyond so many."""

    def tmpfs(size: int) -> None:
        place = folder / f"disk-{size}"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", place], check=False, capture_output=True
        )
        if mounted.returncode:
            raise Wrong("a tmpfs cannot be mounted here; run as root")
        try:
            code, said = command(folder, *RUN, place / "run")
            one_sentence(code, said)
            kept = folder / f"kept-{size}"
            if (place / "run" / MANIFEST).exists():
                shutil.copytree(place / "run", kept)
                finished(folder, kept, reference)
        finally:
            subprocess.run(["umount", place], check=True)

    def limited(size: int) -> None:
        run = folder / f"limited-{size}"
        code, said = command(
            folder, *RUN, run, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        )
        one_sentence(code, said)
        if (run / MANIFEST).exists():
            finished(folder, run, reference)

    # Kibibytes: too small for the manifest, for the first parts, for the tables.
    yield from [lambda size=size: tmpfs(size) for size in (4, 16, 32, 64, 96, 128, 192)]
    yield from [lambda size=size: limited(size) for size in (500, 1000, 4000, 8000, 16000, 19000)]


def unwritable(folder: Path, draws: random.Random, reference: Any) -> Iterator[Callable[[], None]]:
    """Outputs that cannot be written, by root or by another account."""
    (folder / "file").write_text("")
    locked = folder / "locked"
    locked.mkdir(mode=0o555)

    def plain(out: Path) -> None:
        one_sentence(*command(folder, *RUN, out))

    def as_nobody() -> None:
        child = Child(folder, lambda: (os.setuid(65534), execute_command([*RUN, str(locked / "run")]))[1])
        one_sentence(child.wait(), child.said)

    yield from [lambda out=out: plain(out) for out in (folder / "file", folder / "file" / "run", Path("/proc/run"))]
    if os.getuid() == 0:
        yield as_nobody


def at_once(folder: Path, draws: random.Random, reference: Any, count: int = 10) -> Iterator[Callable[[], None]]:
    """Two runs on one folder, a moment apart."""

    def both(number: int) -> None:
        run = folder / f"both-{number}"
        children = []
        for _ in range(2):
            children.append(Child(folder, lambda: quick(run)))
            time.sleep(draws.uniform(0, 0.3))
        codes = [child.wait() for child in children]
        expect(sorted(codes) in ([0, 2], [0, 0]), f"exit codes {codes}")
        for child, code in zip(children, codes, strict=True):
            expect((code == 2) == any("another process is writing" in line for line in child.said), child.said)
        expect(numbers(folder, run) == reference, "other rows than an undisturbed run")

    yield from [lambda number=number: both(number) for number in range(count)]


def clocks(folder: Path, draws: random.Random, reference: Any) -> Iterator[Callable[[], None]]:
    """A clock that jumps, and files from the future or from 1970."""
    real = time.time

    def jumping() -> None:
        without_reports()
        jumps = random.Random(draws.random())
        time.time = lambda: real() + jumps.uniform(-3e8, 3e8)
        execute_module._now = lambda: f"{jumps.randint(1970, 2100)}-01-01T00:00:00+00:00"

    def one(number: int) -> None:
        run = folder / f"clock-{number}"
        code, said = command(folder, *RUN, run, before=jumping)
        expect(code == 0, f"exit code {code}: {said[-1:]}")
        for path in run.rglob("*"):
            os.utime(path, (number * 1e9, number * 1e9))
        part_paths(run)[0].unlink()
        finished(folder, run, reference)

    yield from [lambda number=number: one(number) for number in range(5)]


def memory(folder: Path, draws: random.Random, reference: Any) -> Iterator[Callable[[], None]]:
    """Methods that ask for more memory than there is."""
    file = folder / "greedy.py"
    methods = {"Numpy": "numpy.zeros(1 << 60)", "Torch": "torch.zeros(1 << 50)", "Python": "bytearray(1 << 62)"}
    file.write_text(
        "import numpy, torch\nfrom arsbench.contracts import Protector\n"
        + "".join(
            f"class {name}(Protector):\n    name = '{name}'\n    def protect(self, x, keys):\n        {call}\n"
            for name, call in methods.items()
        )
    )

    def one(name: str) -> None:
        run = folder / f"greedy-{name}"
        changed = [f"{file}:{name}" if argument.endswith(":Push") else argument for argument in RUN]
        one_sentence(*command(folder, *changed, run, before=without_reports))
        found = Child(folder, lambda: vars(status(run))).wait()
        expect((found["failed"], found["missing"]) == (len(LEVELS.split(",")), 0), found)

    yield from [lambda name=name: one(name) for name in methods]


# --- files ----------------------------------------------------------------------------------------------------------


def awkward_files(folder: Path, draws: random.Random, reference: Any) -> Iterator[Callable[[], None]]:
    """Folders of pictures with one file or link that is none, as ``--faces``."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def bomb(side: int, depth: int, colour: int) -> bytes:
        packer = zlib.compressobj(9)
        row = bytes(1 + side * depth // 8)
        data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
        header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    contents: dict[str, Callable[[Path], object]] = {
        "bomb of 20000 x 20000": lambda place: (place / "b.png").write_bytes(bomb(20000, 1, 0)),
        "bomb that says so": lambda place: (place / "b.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0))
        ),
        "zero bytes": lambda place: (place / "b.png").write_bytes(b""),
        "link to itself": lambda place: (place / "b.png").symlink_to(place / "b.png"),
        "text": lambda place: (place / "b\nc.txt").write_text("no picture"),
        "name that is not UTF-8": lambda place: Path(os.fsdecode(os.fsencode(place) + b"/\xff.png")).write_bytes(b""),
        **{
            f"listed case {name}": lambda place, name=name: shutil.copy(CASES / "pictures" / name, place)
            for name in ("eps.jpg", "heic.heic")
        },
    }
    usable: dict[str, Callable[[Path], object]] = {
        "folders that link to each other": lambda place: [
            ((place / name).mkdir(), (place / name / "back").symlink_to(place)) for name in ("x", "y")
        ],
        "name with a line break": lambda place: shutil.copy(place / "a.png", place / "a\nb.png"),
        "pipe": lambda place: os.mkfifo(place / "pipe.png"),
        "large text in a PNG": lambda place: (place / "b.png").write_bytes(
            (place / "a.png").read_bytes().replace(b"IDAT", b"IDAT", 1)[:33]
            + chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(5_000_000)))
            + (place / "a.png").read_bytes()[33:]
        ),
    }

    def one(name: str, make: Callable[[Path], object], good: bool) -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(place / "a.png")
        make(place)
        arguments = [*RUN, place.with_name(place.name + "-run"), "--faces", place]
        code, said = command(folder, *arguments, before=without_reports)
        if good:
            expect(code == 0, f"exit code {code}: {said[-1:]}")
            return
        one_sentence(code, said)
        code, said = command(folder, *arguments, "--skip-bad", before=without_reports)
        expect(code == 0, f"exit code {code} with --skip-bad: {said[-1:]}")

    for good, entries in ((False, contents), (True, usable)):
        yield from [lambda name=name, make=make, good=good: one(name, make, good) for name, make in entries.items()]


def mutated(data: bytes, draws: random.Random) -> bytes:
    """The data with bytes changed, cut out, doubled, or cut off."""
    made = bytearray(data)
    for _ in range(draws.choice((1, 1, 2, 4, 16))):
        if not made:
            break
        at = draws.randrange(len(made))
        kind = draws.randrange(6)
        if kind < 3:
            made[at] = draws.choice((0, 1, 127, 128, 255, draws.randrange(256)))
        elif kind == 3:
            del made[at : at + draws.randrange(1, 64)]
        elif kind == 4:
            made[at:at] = made[at : at + draws.randrange(1, 64)]
        else:
            del made[at:]
    return bytes(made)


def fuzzed(folder: Path, seeds: list[tuple[str, bytes]], read: Callable[[Path], object], seed: int, s: float) -> int:
    """Reads mutated files for so many seconds; only :class:`ArsbenchError` may come of it."""

    def work() -> int:
        draws, until, tried = random.Random(seed), time.monotonic() + s, 0
        torch.set_num_threads(1)
        while time.monotonic() < until:
            name, data = draws.choice(seeds)
            path = folder / f"fuzzed-{name}"
            path.write_bytes(mutated(data, draws))
            with contextlib.suppress(ArsbenchError):
                read(path)
            tried += 1
        return tried

    return int(Child(folder, work).wait())


def readers(folder: Path, run: Path) -> dict[str, tuple[list[tuple[str, bytes]], Callable[[Path], object]]]:
    """Reader -> files to begin with, and the function that reads one."""
    pictures = [(path.name, path.read_bytes()) for path in sorted((CASES / "pictures").iterdir())]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    for name in ("a.png", "a.jpg", "a.gif", "a.webp", "a.tif", "a.bmp", "a.ppm", "a.tga", "a.jp2", "a.ico"):
        noise.save(folder / name)
        pictures.append((name, (folder / name).read_bytes()))
    weights = {"state_dict": {"encoder.a": torch.ones(3, 4)}, "opts": {"output_size": 64}, "latent_avg": torch.ones(4)}
    saved = [(path.name, path.read_bytes()) for path in sorted((CASES / "checkpoints").iterdir())]
    for number, zipped in enumerate((True, False)):
        torch.save(weights, folder / f"{number}.pt", _use_new_zipfile_serialization=zipped)
        saved.append((f"{number}.pt", (folder / f"{number}.pt").read_bytes()))
    manifest = [(MANIFEST, (run / MANIFEST).read_bytes())]
    parts = [(f"part-{i}.parquet", path.read_bytes()) for i, path in enumerate(part_paths(run)[:3])]

    def of_manifest(path: Path) -> None:
        place = folder / "fuzzed-run"
        place.mkdir(exist_ok=True)
        shutil.copy(path, place / MANIFEST)
        read_manifest(place)
        status(place)

    def of_part(path: Path) -> None:
        place = folder / "fuzzed-parts"
        (place / "parts").mkdir(parents=True, exist_ok=True)
        shutil.copy(run / MANIFEST, place / MANIFEST)
        shutil.copy(path, place / "parts" / "0.parquet")
        status(place)
        read_rows(place)

    def of_checkpoint(path: Path) -> None:
        tensors_of(read_checkpoint(path))
        checkpoints.add("psp", path)

    return {
        "pictures": (pictures, lambda path: read_picture(path, 16)),
        "checkpoints": (saved, of_checkpoint),
        "manifests": (manifest, of_manifest),
        "parts": (parts, of_part),
    }


# --- all of it ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Runs every case and prints how many were tried and what went wrong; exit code 1 if something did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20, help="of fuzzing, per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    parser.add_argument("--out", type=Path, help="also write the table into this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines, wrong, began = (
        ["| what | cases | not as it should be | seconds |", "|---|---|---|---|"],
        [],
        time.monotonic(),
    )
    with tempfile.TemporaryDirectory(prefix="arsbench-stress-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        RUN[:] = [argument.replace(str(FAKES), str(shutil.copy(FAKES, folder))) for argument in RUN]
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        # What is imported and read once for a process, every process forked from this one has.
        for module in pkgutil.walk_packages(arsbench.__path__, "arsbench."):
            if module.name.split(".")[1] in ("cli", "reports", "running"):
                with contextlib.suppress(ImportError):
                    importlib.import_module(module.name)
        api.run(f"{FAKES}:Push", f"{FAKES}:Mirror", "none", images=1, cache=False)
        code, said = command(folder, *RUN, folder / "reference")
        expect(code == 0, f"the undisturbed run fails: {said}")
        reference = numbers(folder, folder / "reference")
        draws = random.Random(options.seed)
        groups: dict[str, Iterator[Callable[[], None]]] = {
            "SIGKILL at a random moment": kills(folder, draws, reference, options.kills),
            "disk full, file too large": full_disks(folder, draws, reference),
            "output that cannot be written": unwritable(folder, draws, reference),
            "two runs on one folder": at_once(folder, draws, reference),
            "clock that jumps": clocks(folder, draws, reference),
            "not enough memory": memory(folder, draws, reference),
            "bombs, empty files, loops, odd names": awkward_files(folder, draws, reference),
        }
        for what, cases in groups.items():
            if options.only not in what:
                continue
            tried, failed, started = 0, 0, time.monotonic()
            for case in cases:
                tried += 1
                try:
                    case()
                except Wrong as error:
                    failed += 1
                    wrong.append(f"{what}, case {tried}: {error}")
                    print(wrong[-1], flush=True)
            lines.append(f"| {what} | {tried} | {failed} | {time.monotonic() - started:.0f} |")
            print(lines[-1], flush=True)
        for what, (seeds, read) in readers(folder, folder / "reference").items():
            if options.only not in f"mutated {what}":
                continue
            started, tried, failed = time.monotonic(), 0, 0
            try:
                tried = fuzzed(folder, seeds, read, options.seed, options.seconds)
            except Wrong as error:
                failed = 1
                wrong.append(f"fuzzing of {what}: {error}")
            lines.append(f"| mutated {what} | {tried} | {failed} | {time.monotonic() - started:.0f} |")
            print(lines[-1], flush=True)
    total = f"seed {options.seed}, {time.monotonic() - began:.0f} s, Python {platform.python_version()}"
    print("\n".join([total, *wrong]))
    if options.out:
        options.out.write_text("\n".join([*lines, "", total, *wrong]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
