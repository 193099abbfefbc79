"""What the shipped weights reach, by the entries of the board: ``python docs/reached.py`` makes results/reached.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from arsbench.named_sets import MANIPULATORS
from arsbench.protocol import groups
from arsbench.scoring.statistics import averages, compare

ROOT = Path(__file__).parents[1]
LEVEL = 5
LEFT_OUT = ("none", "ars_pictures")
"""The control without noise, and the entry that is another one's as pictures."""
PAIRS = (
    ("ars", "pgd"),
    ("ars", "disrupt"),
    ("ars", "tafim"),
    ("ars_tuned", "ars"),
    ("ars_tuned", "disrupt"),
    ("disrupt", "pgd"),
)


def reached(root: Path = ROOT) -> str:
    """The tables, in Markdown."""
    entries = sorted(path for path in (root / "results" / "leaderboard").iterdir() if path.name not in LEFT_OUT)
    rows = pd.concat([pd.read_parquet(entry / "rows.parquet") for entry in entries])
    rows = rows.astype({"manipulator": str, "perturbation": str})
    hard, unperturbed = rows[rows["level"] == LEVEL], rows[rows["level"] == 0]
    return "\n".join([*_methods(hard, unperturbed), "", *_differences(hard), ""])


def _methods(hard: pd.DataFrame, unperturbed: pd.DataFrame) -> Iterable[str]:
    six = groups("perturbation")["all"]
    yield f"**sr_strict at level {LEVEL}, 100 test faces, epsilon 0.3; SR and unrecovered at level 0**"
    yield ""
    yield _line("manipulator", "protector", *six, "mean", "SR", "unrecovered")
    yield _line(*["---"] * (len(six) + 5))
    by = ["manipulator", "protector"]
    each = averages(hard, [*by, "perturbation"], ["sr_strict"]).set_index([*by, "perturbation"])["sr_strict"]
    whole = averages(hard, by, ["sr_strict"]).set_index(by)
    before = averages(unperturbed, by, ["sr", "unrecovered"]).set_index(by)
    for manipulator in MANIPULATORS:
        ranked = whole.xs(manipulator).sort_values(by="sr_strict", ascending=False)
        for place, (protector, mean) in enumerate(ranked.iterrows()):
            yield _line(
                manipulator if place == 0 else "",
                str(protector),
                *(f"{each[manipulator, protector, perturbation]:.2f}" for perturbation in six),
                f"{mean['sr_strict']:.3f} ({mean['sr_strict_low']:.3f} to {mean['sr_strict_high']:.3f})",
                *(f"{before.loc[(manipulator, protector), metric]:.2f}" for metric in ("sr", "unrecovered")),
            )


def _differences(hard: pd.DataFrame) -> Iterable[str]:
    yield f"**Paired differences in sr_strict at level {LEVEL}, with 95 % intervals**"
    yield ""
    yield _line("", *MANIPULATORS, "all four")
    yield _line(*["---"] * (len(MANIPULATORS) + 2))
    for a, b in PAIRS:
        parts = [hard[hard["manipulator"] == manipulator] for manipulator in MANIPULATORS]
        found = [compare(part, a, b) for part in (*parts, hard)]
        yield _line(f"{a} - {b}", *(f"{f.difference:+.3f} ({f.low:+.3f} to {f.high:+.3f})" for f in found))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    (ROOT / "results" / "reached.md").write_text(reached())
