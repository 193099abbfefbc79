"""``arsbench leaderboard``: the board, and the verification of its entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from arsbench.cli.authorship import authorship
from arsbench.cli.output import DONE, FINDING, PATH, Group, console
from arsbench.cli.site import ENTRIES, REMOVALS, build


@click.group(cls=Group)
def leaderboard() -> None:
    """The leaderboard: show it, verify an entry.

    \b
    Example:  arsbench leaderboard verify results/leaderboard/mine --tier 1
    """


@leaderboard.command("show")
@click.argument("folder", metavar="[ENTRIES]", type=PATH, default=ENTRIES)
@click.option("--removals", type=PATH, default=REMOVALS, show_default=True, help="Folder of removals.")
@click.option("--track", default="open", show_default=True, help="open or paper.")
@click.option("--columns", help="Metrics, a comma list, or all.  [default: sr_strict, its worst case, sr, ...]")
@click.option(
    "--format", "format_", default="terminal", show_default=True, help="terminal, markdown, latex, csv, json."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def show(folder: Path, removals: Path, track: str, columns: str | None, format_: str, as_json: bool) -> int:
    """Show the board of a folder of entries: tiers, intervals, marks.

    \b
    Example:  arsbench leaderboard show --columns sr,sr_mask,lpips --format latex
    """
    from arsbench.contracts import ArsbenchError
    from arsbench.leaderboard import ranks, table
    from arsbench.leaderboard.removal import removals_in
    from arsbench.scoring.columns import SCORES

    folders = ranks.entries_in(folder)
    if not folders:
        raise ArsbenchError(f"there are no entries in {folder}; arsbench submit makes one")
    standings = ranks.board(folders, track, removals_in(removals))
    metrics = ranks.COLUMNS if columns is None else [part.strip() for part in columns.split(",") if part.strip()]
    if columns == "all":
        metrics = [column.name for column in SCORES]
    if as_json or format_ != "terminal":
        click.echo(table.render(standings, "json" if as_json else format_, metrics))
        return DONE
    from arsbench.reports.terminal import Fitted

    console().print(Fitted(table.table(standings, metrics)))
    return DONE


@leaderboard.command("verify")
@click.argument("folder", metavar="ENTRY", type=PATH)
@click.option("--tier", type=click.IntRange(0, 2), default=1, show_default=True, help="0 files, 1 some cells, 2 all.")
@click.option("--seed", type=int, help="Of the cells of tier 1, to repeat a verification.  [default: drawn now]")
@click.option(
    "--cells", type=click.IntRange(min=1), default=6, show_default=True, help="How many tier 1 computes again."
)
@click.option("--seconds", type=float, help="For the method's process.  [default: 120 and 30 a picture]")
@click.option("--memory", type=float, default=6, show_default=True, help="GiB for the method's process.")
@click.option("--entries", type=PATH, default=ENTRIES, show_default=True, help="Of a removal.")
@click.option("--record", is_flag=True, help="Append the result to ENTRY/verification.json.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def verify(
    folder: Path,
    tier: int,
    seed: int | None,
    cells: int,
    seconds: float | None,
    memory: float,
    entries: Path,
    record: bool,
    as_json: bool,
) -> int:
    """Verify an entry, or a removal. Exit code 1 if a check fails.

    \b
    tier 0  schema, hashes, protocol, completeness, budget, aggregates from the rows; offline, in seconds
    tier 1  and some cells, drawn now, computed again from the method or its pictures
    tier 2  and every cell

    The method's code runs apart: see docs/submit.md for what that protects from.

    \b
    Example:  arsbench leaderboard verify results/leaderboard/mine --tier 1
    Example:  arsbench leaderboard verify results/removals/median --tier 1
    """
    from arsbench.leaderboard import ranks
    from arsbench.leaderboard import verify as verifying
    from arsbench.leaderboard.removal import REMOVAL
    from arsbench.leaderboard.sandbox import GIB, protections
    from arsbench.leaderboard.verify_removal import verify_removal
    from arsbench.running.progress import make_progress

    progress = make_progress(not as_json and tier > 0)
    if (folder / REMOVAL).exists():
        found = verify_removal(folder, ranks.entries_in(entries), tier, seed, cells, progress)
    else:
        found = verifying.verify(folder, tier, seed, cells, seconds, int(memory * GIB), progress)
    if record:
        verifying.record(folder, found)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json"), indent=1))
        return DONE if found.passed else FINDING
    for check in found.checks:
        if check.passed:
            click.echo(f"✓ {check.name}: {check.got}")
        else:
            click.echo(f"✗ {check.name}: expected {check.expected}, got {check.got}")
    lacking = sorted({"files", "network", "processes"} - set(protections())) if tier > 0 else []
    if lacking:
        click.echo(f"this system does not keep a method from: {', '.join(lacking)}")
    drawn = f", cells drawn by seed {found.seed}" if found.seed is not None else ""
    click.echo(f"{'verified' if found.passed else 'NOT verified'}: tier {tier}{drawn}")
    return DONE if found.passed else FINDING


@leaderboard.command("attack")
@click.argument("removal")
@authorship
@click.option("--entry", "entries", multiple=True, type=PATH, help="Folder; once for each.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def attack(entries: tuple[Path, ...], as_json: bool, **given: Any) -> int:
    """Try a removal - a perturbation, by name or FILE.py:Class - on the entries of the board.

    What it leaves of each entry's sr_strict is written into one folder, which the board reads from results/removals.

    \b
    Example:  arsbench leaderboard attack median --name median --author "A. Author" --out results/removals/median
    Example:  arsbench leaderboard attack mine.py:Mine --name mine --author "B. Author" --out results/removals/mine
    """
    from arsbench.leaderboard import attack as attacking
    from arsbench.leaderboard import ranks, removal
    from arsbench.leaderboard.entry import ALL, read_entry
    from arsbench.running.progress import make_progress

    folders = list(entries) or ranks.entries_in(ENTRIES)
    made = attacking.attack(attacking.Challenge(entries=folders, **given), make_progress(not as_json))
    tried = {folder: entry for folder in folders if (entry := read_entry(folder)).name in made.entries}
    scores = removal.scores_under(given["out"])
    if as_json:
        known = removal.known_attacks([given["out"]], tried)
        found = {name: {"score": scores[name], "worst": one.worst} for name, one in known.items()}
        click.echo(json.dumps(found, indent=1))
        return DONE
    for entry in tried.values():
        before, after = entry.aggregates[ALL]["sr_strict"][0], scores[entry.name][0]
        click.echo(f"{entry.name}: sr_strict {_number(before)}, under {made.name} {_number(after)}")
    click.echo(f"removal: {given['out']}")
    return DONE


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@leaderboard.command("withdraw")
@click.argument("folder", metavar="ENTRY", type=PATH)
@click.option("--reason", required=True, help="One sentence, shown on the board.")
def withdraw(folder: Path, reason: str) -> int:
    """Mark an entry as withdrawn; it stays on the board, without a rank.

    \b
    Example:  arsbench leaderboard withdraw results/leaderboard/mine --reason "trained on the test faces"
    """
    from arsbench.leaderboard.entry import withdraw as mark

    mark(folder, reason)
    click.echo(f"withdrawn: {folder}")
    return DONE


leaderboard.add_command(build)
