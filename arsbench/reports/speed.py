"""Table 4 of the paper from the times that were measured alone."""

from __future__ import annotations

from collections.abc import Sequence

from arsbench.reports.selection import in_order
from arsbench.reports.table import Block, Column, Row, Table
from arsbench.running.speed import Speed
from arsbench.scoring.controls import CONTROLS


def speed_tables(speeds: Sequence[Speed]) -> list[Table]:
    """A table for each device: seconds a face, passes and memory, a block for each manipulator."""
    made = []
    for device, machine in dict.fromkeys((speed.device, speed.machine) for speed in speeds):
        own = {(s.manipulator, s.protector): s for s in speeds if (s.device, s.machine) == (device, machine)}
        names = in_order(name for _, name in own)
        names += [name for name in CONTROLS if any(name == other for _, other in own)]
        models = sorted({model for model, _ in own})
        blocks = [Block(tuple(_row(own[model, name]) for name in names if (model, name) in own)) for model in models]
        first = next(iter(own.values()))
        counts = f"{first.repetitions} repetitions over {first.faces} faces"
        title = f"Speed on {machine}: median of {counts}, one at a time, warm"
        notes = (
            "Passes are for one face: of the manipulator forward and back, and of the protector's own network.",
            "Memory is the most that tensors take at once beyond what is loaded.",
        )
        made.append(Table(title, f"table-4-{device}", _COLUMNS, tuple(blocks), notes, (("device", device),), 1))
    return made


_COLUMNS = (
    Column("manipulator", grouped=True, essential=True),
    Column("protector", essential=True),
    Column("s/image", "lower", 4, essential=True),
    Column("fastest", None, 4),
    Column("slowest", None, 4),
    Column("forward", essential=True),
    Column("backward", essential=True),
    Column("network", essential=True),
    Column("MiB", "lower", 1, essential=True),
)


def _row(speed: Speed) -> Row:
    passes = (round(speed.forward), round(speed.backward), round(speed.network))
    return Row(
        (
            speed.manipulator,
            speed.protector,
            speed.seconds,
            speed.fastest,
            speed.slowest,
            *passes,
            speed.peak_mib,
        ),
        compared=speed.protector not in CONTROLS,
    )
