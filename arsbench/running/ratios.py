"""What the harness costs and saves on this machine, as ratios within one run: ``arsbench bench``."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import dropout, interpolate

from arsbench import registry
from arsbench.contracts import Manipulator
from arsbench.faces.shipped import load_faces
from arsbench.protocol import groups
from arsbench.running import side_by_side
from arsbench.running.execute import execute
from arsbench.running.loading import make_manipulator, make_protector
from arsbench.running.settings import Settings
from arsbench.running.stages import FLOOR, OWN, over, profile
from arsbench.scoring.controls import CONTROLS
from arsbench.scoring.lpips import load_lpips
from arsbench.scoring.torchvision_cure import import_with_cure

MANIPULATOR = "psp-mix"
_MEMORY = (
    "import resource, sys, arsbench; "
    "arsbench.run('none', sys.argv[1], 'jpeg', '0,5', images=int(sys.argv[2]), cache=False, out=sys.argv[3]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


@dataclass(frozen=True)
class Measured:
    """What was found on this machine.

    Attributes:
        stages: seconds of a run of the controls by stage, the most first.
        ratios: what is measured in words -> number.
    """

    stages: Mapping[str, float]
    ratios: Mapping[str, float]


def measure(images: int, note: Callable[[str], None] = lambda sentence: None) -> Measured:
    """Measures on the CPU, with psp-mix.

    Args:
        images: of the run whose stages are timed; the parts beside it take fewer.
        note: is told what comes next.
    """
    note(f"a run of the controls, {images} faces, all levels")
    settings = Settings("none", MANIPULATOR, images=images, device="cpu", cache=False)
    stages = profile(settings)
    severities = 1 + len(groups("perturbation")["all"]) * (len(registry.LEVELS) - 1)
    rows = images * severities * len(CONTROLS)
    ratios = {"run over its floor": over(stages, FLOOR)}
    note("a second run of the same faces that adds fgsm")
    ratios["second run over its protector's own passes and metrics"] = over(second_run(settings), OWN)
    model = make_manipulator(registry.find("manipulator", MANIPULATOR), "open", torch.device("cpu"))
    note("the loop over single pictures")
    ratios["loop over single pictures, per row, over ours"] = plain_loop_seconds(model) * rows / sum(stages.values())
    note("PGD one by one and side by side")
    ratios["PGD one by one over side by side"] = one_by_one_over_side_by_side(model)
    with tempfile.TemporaryDirectory() as folder:
        few = max(1, images // 10)
        note(f"memory of runs of {few} and {10 * few} faces, each in a process of its own")
        peaks = [_output(["-c", _MEMORY, MANIPULATOR, str(n), f"{folder}/{n}"]) for n in (few, 10 * few)]
        ratios[f"peak memory at {10 * few} faces over that at {few}"] = float(peaks[1]) / float(peaks[0])
        for command in (["list", "protectors"], ["status", f"{folder}/{few}"]):
            ratios[f"seconds of arsbench {command[0]}"] = min(_seconds(["-m", "arsbench", *command]) for _ in range(3))
    return Measured(stages, ratios)


def second_run(settings: Settings) -> dict[str, float]:
    """Seconds by stage of adding ``fgsm``, an attack of two passes, to a run whose references are in the cache."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
        first = replace(settings, cache=True, out=Path(folder) / "run")
        execute(first)
        return profile(replace(first, protector="fgsm"))


def one_by_one_over_side_by_side(model: Manipulator, faces: int = 4) -> float:
    """Seconds of PGD in one thread over its seconds with a face to a core."""
    x, keys = load_faces(n=faces)
    protector = make_protector(registry.find("protector", "pgd"), model, 0.3)

    def one(i: int) -> Tensor:
        return protector.protect(x[i : i + 1], keys[i : i + 1])

    side_by_side.each(one, [0])
    began = time.perf_counter()
    side_by_side.each(one, range(faces))
    middle = time.perf_counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for i in range(faces):
        one(i)
    torch.set_num_threads(threads)
    return (time.perf_counter() - middle) / (middle - began)


# --- the loop that public repositories evaluate with ----------------------------------------------------------------


def plain_loop_seconds(model: Manipulator, faces: int = 2) -> float:
    """Seconds a row of evaluating picture after picture, with kornia, piq and lpips as they come."""
    x, keys = load_faces(n=faces)
    x_p = (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()).clamp(-1, 1)
    _plain_row(model, _treatments()[0], x[:1], x_p[:1], keys[:1])
    began = time.perf_counter()
    for treatment in _treatments():
        for i in range(faces):
            _plain_row(model, treatment, x[i : i + 1], x_p[i : i + 1], keys[i : i + 1])
    return (time.perf_counter() - began) / (faces * len(_treatments()))


@torch.no_grad()
def _plain_row(
    model: Manipulator, treatment: Callable[[Tensor], Tensor], x: Tensor, x_p: Tensor, keys: Sequence[str]
) -> dict[str, float]:
    piq: Any = import_with_cure("piq")
    y_clean = model.manipulate(x, keys).clamp(-1, 1)
    y, y_p = (model.manipulate(treatment(picture), keys).clamp(-1, 1) for picture in (x, x_p))
    row: dict[str, float] = {}
    for name, target in (("", y), ("_clean", y_clean)):
        error = (target - y_p).square()
        mask = (y_clean - x).abs().sum(1, keepdim=True) > 0.5
        row |= {
            f"mse{name}": error.mean().item(),
            f"psnr{name}": piq.psnr((y_p + 1) / 2, (target + 1) / 2).item(),
            f"ssim{name}": piq.ssim((y_p + 1) / 2, (target + 1) / 2, downsample=False).item(),
            f"lpips{name}": load_lpips()(y_p, target).item(),
            f"sr_mask{name}": ((error * mask).sum() / (3 * mask.sum()).clamp(min=1) > 0.05).item(),
        }
    return row


def _treatments() -> list[Callable[[Tensor], Tensor]]:
    from kornia.enhance import adjust_contrast, adjust_saturation
    from kornia.filters import gaussian_blur2d

    return [
        lambda x: adjust_saturation((x + 1) / 2, 0.2) * 2 - 1,
        lambda x: adjust_contrast((x + 1) / 2, 0.6) * 2 - 1,
        lambda x: dropout((x + 1) / 2, 0.3) * 2 - 1,
        lambda x: gaussian_blur2d(x, (7, 7), (1.0, 1.0)),
        lambda x: interpolate(interpolate(x, scale_factor=0.5, mode="bilinear"), x.shape[-2:], mode="bilinear"),
        _jpeg,
    ]


def _jpeg(x: Tensor) -> Tensor:
    buffer = io.BytesIO()
    pixels = ((x[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)[None] / 127.5 - 1


# --- other processes ------------------------------------------------------------------------------------------------


def _output(arguments: Sequence[str]) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def _seconds(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    _output(arguments)
    return time.perf_counter() - began
