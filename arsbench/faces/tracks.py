"""The faces of a track: the shipped ones, or the copy that the user added."""

from __future__ import annotations

from torch import Tensor

from arsbench.contracts import ArsbenchError
from arsbench.faces.datasets import CONDITIONS, AddedFaces, added
from arsbench.faces.shipped import SPLITS, ShippedFaces, condition_faces
from arsbench.faces.sources import FaceSource
from arsbench.named_sets import TRACK_SIZES


def faces_of(track: str, split: str, n: int | None = None, stand_in: bool = False) -> FaceSource:
    """The first ``n`` faces of a track's split: the shipped ones, or the user's first added copy.

    Args:
        track: ``open`` or ``paper``.
        split: ``train``, ``val`` or ``test``.
        n: how many; ``None`` for all that the split has.
        stand_in: on the paper track, where no copy was added, take the shipped faces enlarged: for measuring speed.

    Raises:
        ArsbenchError: no copy was added, or as :class:`ShippedFaces` and :class:`AddedFaces`.
    """
    size = TRACK_SIZES[track]
    wanted = n if n is not None else len(SPLITS.get(split, ()))
    if track == "open":
        return ShippedFaces(split, wanted)
    copies = added()
    if copies:
        return AddedFaces(copies[0], split, size, n)
    if stand_in:
        return ShippedFaces(split, wanted, size)
    raise ArsbenchError(
        f"the faces of track '{track}' are the user's own; add them with: arsbench data add ffhq DIR, "
        "or give --faces DIR for a folder of pictures"
    )


def conditions_of(track: str) -> tuple[Tensor, list[str]]:
    """The 16 validation faces that a manipulator's condition is chosen from.

    On the paper track the first of the added copy's validation split; the open track's, enlarged, without one.

    Returns:
        Delivered faces ``[16, 3, H, W]`` in [-1, 1], and their keys.

    Raises:
        ArsbenchError: a file has gone, changed or is damaged.
    """
    size = TRACK_SIZES[track]
    copies = added() if track != "open" else []
    if not copies:
        return condition_faces(size)
    source = AddedFaces(copies[0], "val", size, min(CONDITIONS, len(copies[0].files["val"])))
    return source.batch(range(len(source))), source.keys
