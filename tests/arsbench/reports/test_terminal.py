from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from arsbench.reports import terminal


def printed(rows: pd.DataFrame, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(terminal.leaderboard(rows))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_drops_columns_and_cuts_no_number(width: int, rows: pd.DataFrame) -> None:
    output = printed(rows, width)
    assert "…" not in output
    assert "sr_strict" in output
    assert "brighten" in output
    assert max(map(len, output.splitlines())) <= width


def test_a_wide_terminal_shows_every_column(rows: pd.DataFrame) -> None:
    output = printed(rows, 220)
    assert "prot. PSNR" in output
    assert "do not fit" not in output
