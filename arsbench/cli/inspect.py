"""``arsbench list`` and ``arsbench doctor``: what there is, and whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from arsbench.cli.output import DONE, FINDING

if TYPE_CHECKING:
    from arsbench.contracts import Manipulator

KINDS = ("protectors", "perturbations", "manipulators", "tracks")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_(kind: str, as_json: bool) -> int:
    """List the protectors, perturbations, manipulators or tracks there are.

    \b
    Example:  arsbench list protectors
    """
    entries = _entries(kind)
    if as_json:
        click.echo(json.dumps(entries, indent=1))
        return DONE
    columns = [
        [entry["name"], *(_details(entry) if kind == "manipulators" else []), entry["summary"]] for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    for line in columns:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    return DONE


def _details(entry: dict[str, Any]) -> list[str]:
    """Of a manipulator: track, size, weights, licence, and whether it is ready."""
    if not entry["usable"]:
        return ["-", "-", "-", "-", "not ready"]
    hashes = " ".join(weights["sha256"][:8] for weights in entry["weights"])
    licences = ", ".join(dict.fromkeys(weights["licence"].split(";")[0] for weights in entry["weights"]))
    size = f"{entry['size']} x {entry['size']}"
    lacks = f"needs {', '.join(entry['missing'])}" if entry["missing"] else "not ready"
    return [entry["track"], size, hashes or "-", licences or "-", "ready" if entry["ready"] else lacks]


def _entries(kind: str) -> list[dict[str, Any]]:
    from arsbench.listing import ordered, shipped
    from arsbench.named_sets import TRACK_SIZES

    if kind == "tracks":
        return [{"name": name, "summary": f"{n} x {n} pixels", "size": n} for name, n in TRACK_SIZES.items()]
    singular = kind.removesuffix("s")
    entries: list[dict[str, Any]] = []
    for name in ordered(singular):
        known = None if kind == "manipulators" else shipped(singular, name)
        entries += [known] if known else _loaded(singular, name)
    return entries


def _loaded(kind: str, name: str) -> list[dict[str, Any]]:
    """What the class says: of another package's methods, and of manipulators, on each track."""
    from arsbench import registry
    from arsbench.contracts import ArsbenchError
    from arsbench.named_sets import TRACK_SIZES

    try:
        method = registry.find(kind, name)
    except ArsbenchError as error:
        return [{"name": name, "summary": str(error), "usable": False}]
    if kind == "manipulator":
        return [_manipulator(cls, method.origin) for t in TRACK_SIZES if (cls := method.cls.on(t)) is not None]
    entry = {"name": name, "summary": registry.summary(method.cls), "origin": method.origin, "usable": True}
    return [entry | ({"levels": method.cls.levels} if kind == "perturbation" else {})]


def _manipulator(cls: type[Manipulator], origin: str) -> dict[str, Any]:
    from fnmatch import fnmatch

    from arsbench import registry
    from arsbench.manipulators.official.checkpoints import kept
    from arsbench.named_sets import TRACK_SIZES
    from arsbench.weights import read_card

    cards = [read_card(path.with_suffix(".json")) for path in cls.weights_files]
    weights = [{"file": c.name, "sha256": c.sha256, "licence": c.licence, "found": c.found} for c in cards]
    own = kept() if cls.checkpoints else []
    missing = [wanted for wanted in cls.checkpoints if not any(fnmatch(c.name, wanted) for c in own)]
    weights += [
        {"file": c.name, "sha256": c.card.get("sha256", ""), "licence": "the user's", "found": str(c.path)}
        for c in own
        if any(fnmatch(c.name, wanted) for wanted in cls.checkpoints)
    ]
    return {
        "name": cls.name,
        "summary": registry.summary(cls),
        "origin": origin,
        "usable": True,
        "track": cls.track,
        "size": TRACK_SIZES.get(cls.track),
        "weights": weights,
        "missing": missing,
        "ready": all(card.well for card in cards) and not missing,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def doctor(as_json: bool) -> int:
    """Say what works on this machine and what is missing. Exit code 1 if something is.

    \b
    Example:  arsbench doctor
    """
    from arsbench.cli.doctor import checks

    found = list(checks())
    if as_json:
        click.echo(json.dumps([vars(check) for check in found], indent=1))
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            click.echo(f"{'ok' if check.well else '!!'}  {check.name:<{width}}  {check.found}")
    return DONE if all(check.well for check in found) else FINDING
