"""Pictures that a method has made, for the harness to audit, perturb, manipulate and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from arsbench.contracts import Protector
from arsbench.faces.delivery import from_bytes
from arsbench.faces.lossless import Pixels


class _Given(Protector):
    made: ClassVar[Mapping[str, Pixels]]
    place: ClassVar[Mapping[str, int]]

    def protect(self, x: Tensor, keys: Sequence[str]) -> Tensor:
        """The pictures of ``keys``."""
        pixels = self.made[self.manipulator.name][[self.place[key] for key in keys]]
        return from_bytes(torch.from_numpy(pixels)).to(x.device)


def given_protector(made: Mapping[str, Pixels], keys: Sequence[str], ceiling: bool) -> type[Protector]:
    """A protector of pictures by manipulator, uint8 ``[n, size, size, 3]``, in the order of ``keys``."""
    place = {key: i for i, key in enumerate(keys)}
    return type("Given", (_Given,), {"name": "given", "made": dict(made), "place": place, "ceiling": ceiling})
