"""``arsbench train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from arsbench.cli.output import DONE, PATH


@click.command()
@click.argument("name")
@click.option("--manipulator", default="psp-mix", show_default=True, help="That a protector is trained against.")
@click.option("--track", default="open", show_default=True, help="open or paper.")
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True, help="Optimiser steps in all.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Faces per step.")
@click.option("--out", type=PATH, help="Checkpoints and result.  [default: training/<name>]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights and the draws.")
@click.option("--epsilon", type=float, default=0.3, show_default=True, help="L_inf budget of a protector.")
@click.option("--start", type=PATH, metavar="FILE", help="Finished weights to start from.")
@click.option("--accumulate", type=click.IntRange(min=1), default=1, show_default=True, help="Parts of a step's batch.")
@click.option("--checkpointing", is_flag=True, help="Keep less of the manipulator in memory; a step takes longer.")
def train(name: str, manipulator: str, track: str, out: Path | None, **options: Any) -> int:
    """Train a protector against a manipulator, a manipulator (psp, simswap, styleclip), or the removal denoiser.

    Started again, it goes on where it stopped.

    \b
    Example:  arsbench train ars --manipulator psp-mix --track open --steps 5000
    Example:  arsbench train ars --manipulator psp-mix --track paper --batch 8 --accumulate 4 --checkpointing
    Example:  arsbench train psp --steps 10000 --batch 32
    """
    from arsbench.running.progress import make_progress
    from arsbench.running.store import check_folder
    from arsbench.training.run import train as train_method
    from arsbench.training.run import trainable

    kind, cls, _ = trainable(name)
    stem = f"{cls.name}-{manipulator}-{track}" if kind == "protector" else f"{name}-{track}"
    folder = out or Path("training") / stem
    check_folder(folder)
    result = train_method(name, manipulator, track, out=folder, progress=make_progress(True), **options)
    click.echo(f"trained: {result}")
    return DONE
