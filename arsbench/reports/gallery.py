"""Pictures of a run: Figures 3 and 4 of the paper, computed again from what the run's manifest says.

A run keeps rows, no pictures. Every stage is that of :mod:`arsbench.running.evaluate`, on the run's first faces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from arsbench import registry
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import deliver, to_bytes
from arsbench.reports import figures, picture_grid
from arsbench.reports.picture_grid import Block, Group, Picture
from arsbench.reports.recipes import Recipe, names_in, read_recipes
from arsbench.reports.selection import in_order, perturbation_label
from arsbench.running.bench import Batch, Bench
from arsbench.running.engines.local import precise
from arsbench.running.evaluate import manipulate, perturb, reference
from arsbench.running.plan import Severity
from arsbench.running.prepare import Prepared, prepare
from arsbench.running.protect import protect
from arsbench.running.references import ReferenceCache, default_folder
from arsbench.running.settings import Settings
from arsbench.scoring.controls import CONTROLS

FIGURE3_FACES = 8
FIGURE3_LEAST_SIDE = 0.3
"""Inches; where all manipulators on one page would make the pictures smaller, each gets a page of its own."""
FIGURE4_COLUMNS = 14
"""That a page has room for: as many faces side by side as fit, but two below each other where only one does."""
FIGURE4_PROTECTORS = 6


@dataclass(frozen=True)
class Scene:
    """Faces in front of one manipulator.

    Attributes:
        bench: the manipulator and all that meets it.
        batch: the faces.
        protected: protector -> x_p ``[B, 3, H, W]``.
        severities: of the run, no perturbation first.
        void: whether the run is void for the manipulator.
    """

    bench: Bench
    batch: Batch
    protected: Mapping[str, Tensor]
    severities: Sequence[Severity]
    void: bool

    def pairs(self, severity: Severity) -> list[tuple[list[Picture], list[Picture]]]:
        """What the manipulator is given and what it makes of it, each B pictures: unprotected, then per protector."""
        keys = self.batch.keys
        with _computing(self.bench.manipulator_name):
            px = perturb(self.bench, severity, self.batch.faces, keys)
            pairs = [(px, reference(self.bench, self.batch, severity, px))]
            for x_p in self.protected.values():
                px_p = perturb(self.bench, severity, x_p, keys)
                pairs.append((px_p, manipulate(self.bench, px_p, keys)))
        return [(_pictures(given), _pictures(made)) for given, made in pairs]

    def references(self) -> list[Picture] | None:
        """The face that is each image's condition; ``None`` where the manipulator takes no shipped face."""
        model = self.bench.manipulator
        names = model.conditions(self.batch.keys)
        if model.condition_faces is None or not set(names) <= set(model.condition_keys):
            return None
        return _pictures(model.condition_faces[[model.condition_keys.index(name) for name in names]])

    @property
    def title(self) -> str:
        """The manipulator and the budget."""
        return f"{self.bench.manipulator_name}, ε = {self.bench.plan.budget}"

    @property
    def remark(self) -> str:
        """What a reader must know before anything else."""
        return "void run" if self.void else ""


def draw(
    kind: str,
    runs: Sequence[Path],
    out: Path | None = None,
    format: str = "png",
    protector: str | None = None,
    manipulator: str | None = None,
    epsilon: float | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> list[Path]:
    """Draws a figure of faces of one or more runs.

    Args:
        kind: one of :data:`KINDS`.
        runs: the runs' folders; of several, the protectors and manipulators stand side by side.
        out: the file; by default ``figures/KIND.FORMAT`` in the first run. Where there are several figures, one per
            manipulator, the manipulator's name is added.
        format: png, pdf or svg, where ``out`` is not given.
        protector: of the run's protectors only these; a name or a comma list.
        manipulator: likewise.
        epsilon: the budget, of runs with several; by default the usual one, or else the largest.
        note: is told what a reader of the figure should know.

    Returns:
        The files.

    Raises:
        ArsbenchError: an unknown kind or format, no run, runs that do not fit together, or a run whose faces or
            methods are no longer there.
    """
    if kind not in KINDS:
        raise registry.unknown("plot", kind, KINDS)
    path = out or Path(runs[0]) / "figures" / f"{kind}.{format}"
    figures.format_of(path)
    sentences: list[str] = []
    pages = KINDS[kind](read_recipes(runs, names_in(protector), names_in(manipulator), epsilon), sentences.append)
    for sentence in dict.fromkeys(sentences):
        note(sentence)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for name, bands in pages.items():
        own = path if len(pages) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}")
        figures.write(lambda bands=bands: picture_grid.draw(bands), [own])  # type: ignore[misc]
        written.append(own)
    return written


# --- the figures ----------------------------------------------------------------------------------------------------

Pages = dict[str, picture_grid.Bands]
"""A name for each figure -> what stands on it."""


def _figure3(recipes: Sequence[Recipe], note: Callable[[str], None]) -> Pages:
    """Without perturbation: a block per manipulator, a column per face."""
    blocks = {}
    for recipe in recipes:
        settings = replace(recipe.settings, perturbation="none", level=0)
        blocks[recipe.manipulator] = _figure3_block(_scene(recipe, settings, FIGURE3_FACES, note))
    everything = list(blocks.values())
    bands = max([[block] for block in everything], [everything], key=picture_grid.side)
    if len(blocks) == 1 or picture_grid.side(bands) >= FIGURE3_LEAST_SIDE:
        return {"": bands}
    return {name: [[block]] for name, block in blocks.items()}


def _figure3_block(scene: Scene) -> Block:
    (faces, outputs), *protected = scene.pairs(Severity())
    rows = {"face": faces}
    references = scene.references()
    if references is not None:
        rows["reference"] = references
    for name, (given, _) in zip(scene.protected, protected, strict=True):
        rows[f"{name}\nprotected"] = given
    rows["unprotected\noutput"] = outputs
    for name, (_, made) in zip(scene.protected, protected, strict=True):
        rows[f"{name}\noutput"] = made
    columns = list(zip(*rows.values(), strict=True))
    return Block(list(rows), [Group(columns)], scene.title, scene.remark)


def _figure4(recipes: Sequence[Recipe], note: Callable[[str], None]) -> Pages:
    """Under each perturbation at the strongest level: a figure per manipulator, a row per perturbation."""
    pages: Pages = {}
    for recipe in recipes:
        if not recipe.settings.perturbation:
            raise ArsbenchError(f"figure 4 shows perturbations, and {recipe.runs} has none; run with --level all")
        shown = len(recipe.protectors)
        if shown > FIGURE4_PROTECTORS:
            raise ArsbenchError(
                f"figure 4 has room for {FIGURE4_PROTECTORS} protectors, and {recipe.runs} has {shown}; "
                "choose with --protector"
            )
        faces_across = max(1, FIGURE4_COLUMNS // (2 + 2 * shown))
        scene = _scene(recipe, recipe.settings, max(2, faces_across), note)
        pages[recipe.manipulator] = _figure4_bands(scene, faces_across)
    return pages


def _figure4_bands(scene: Scene, faces_across: int) -> picture_grid.Bands:
    by_severity = [scene.pairs(severity) for severity in scene.severities]
    rows = [perturbation_label(severity.perturbation).replace(" ", "\n") for severity in scene.severities]
    level = max(severity.level for severity in scene.severities)
    faces = []
    for i in range(len(scene.batch.images)):
        faces.append(
            [
                Group(
                    [[pairs[method][role][i] for pairs in by_severity] for role in (0, 1)],
                    name,
                    ("input", "output"),
                    far=method == 0,
                )
                for method, name in enumerate(["unprotected", *scene.protected])
            ]
        )
    bands = []
    for start in range(0, len(faces), faces_across):
        title = f"{scene.title}, perturbations at level {level}" if start == 0 else ""
        groups = [group for face in faces[start : start + faces_across] for group in face]
        bands.append([Block(rows, groups, title, scene.remark if start == 0 else "")])
    return bands


KINDS: Mapping[str, Callable[[Sequence[Recipe], Callable[[str], None]], Pages]] = {
    "figure3": _figure3,
    "figure4": _figure4,
}
"""The figures of faces there are."""


# --- computing the pictures -----------------------------------------------------------------------------------------


def _scene(recipe: Recipe, settings: Settings, faces: int, note: Callable[[str], None]) -> Scene:
    """Loads a run's methods and protects its first faces; ``faces`` of them, or all where there are fewer."""
    count = min(faces, len(recipe.images))
    try:
        prepared = prepare(replace(settings, images=count))
    except ArsbenchError as error:
        raise ArsbenchError(f"the pictures of {recipe.runs} cannot be made again: {error}") from error
    _check_faces(recipe, prepared)
    shown = [name for name in prepared.plan.protectors if name not in CONTROLS]
    if any(
        recipe.cells.get(cell.label, cell.key) != cell.key for cell in prepared.plan.cells if cell.protector in shown
    ):
        note(f"code or weights have changed since {recipe.runs} was computed; the pictures show what they make now")
    bench = prepared.bench(recipe.manipulator, ReferenceCache(default_folder(), writable=False))
    x = deliver(prepared.source.batch(range(count)).to(bench.manipulator.device))
    batch = Batch(prepared.plan.images, x)
    with _computing(recipe.manipulator):
        by_name = {protection.protector: protection for protection in bench.protectors}
        protected = {name: protect(bench, by_name[name], x, batch.keys).faces for name in in_order(shown)}
    return Scene(bench, batch, protected, prepared.plan.severities, recipe.void)


def _check_faces(recipe: Recipe, prepared: Prepared) -> None:
    for image, (key, digest) in zip(prepared.plan.images, recipe.images.items(), strict=False):
        if (image.key, image.digest) != (key, digest):
            raise ArsbenchError(
                f"the faces of {recipe.runs} are no longer what they were: image '{key}' is another or gone"
            )


@contextlib.contextmanager
def _computing(manipulator: str) -> Iterator[None]:
    """Computes as a run does; what a method raises becomes one sentence."""
    try:
        with precise():
            yield
    except ArsbenchError:
        raise
    except Exception as error:  # the methods may be a stranger's
        raise ArsbenchError(f"the pictures of '{manipulator}' cannot be made: {registry.describe(error)}") from error


def _pictures(x: Tensor) -> list[Picture]:
    """``[B, 3, H, W]`` in [-1, 1] -> B pictures ``[H, W, 3]``."""
    return list(to_bytes(x).cpu().numpy())
