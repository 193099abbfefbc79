"""``arsbench list`` and ``arsbench doctor``: what there is, and whether it works."""

from __future__ import annotations

import json
from typing import Any

import click

from arsbench.cli.output import DONE, FINDING

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
    found = [entry for name in ordered(singular) for entry in shipped(singular, name) or _loaded(singular, name)]
    return [_with_weights(entry) if kind == "manipulators" and entry["usable"] else entry for entry in found]


def _loaded(kind: str, name: str) -> list[dict[str, Any]]:
    """What the class says: of another package's methods, of manipulators on each track."""
    from arsbench import registry
    from arsbench.contracts import ArsbenchError
    from arsbench.listing import FACTS
    from arsbench.named_sets import TRACK_SIZES

    try:
        method = registry.find(kind, name)
    except ArsbenchError as error:
        return [{"name": name, "summary": str(error), "usable": False}]
    classes = [method.cls.on(track) for track in TRACK_SIZES] if kind == "manipulator" else [method.cls]
    return [
        {"name": name, "summary": registry.summary(cls), "origin": method.origin, "usable": True}
        | {fact: getattr(cls, fact) for fact in FACTS.get(kind, ())}
        for cls in classes
        if cls is not None
    ]


def _with_weights(entry: dict[str, Any]) -> dict[str, Any]:
    """A manipulator's entry with what its files and the user's checkpoints were found to be."""
    from fnmatch import fnmatch

    from arsbench.cards import read_card, weights_file
    from arsbench.manipulators.official.kept import kept
    from arsbench.named_sets import TRACK_SIZES

    needed = entry["checkpoints"]
    cards = [read_card(weights_file(file).with_suffix(".json")) for file in entry["weights_files"]]
    weights = [{"file": c.name, "sha256": c.sha256, "licence": c.licence, "found": c.found} for c in cards]
    own = kept() if needed else []
    missing = [wanted for wanted in needed if not any(fnmatch(c.name, wanted) for c in own)]
    weights += [
        {"file": c.name, "sha256": c.card.get("sha256", ""), "licence": "the user's", "found": str(c.path)}
        for c in own
        if any(fnmatch(c.name, wanted) for wanted in needed)
    ]
    about = {fact: entry[fact] for fact in ("name", "summary", "origin", "usable", "track")}
    return about | {
        "size": TRACK_SIZES.get(entry["track"]),
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
