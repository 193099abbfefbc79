"""arsbench: the robustness benchmark for adversarial face protection.

::

    import arsbench

    rows = arsbench.run(protector="pgd", manipulator="psp-mix", images=10)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arsbench import contracts
    from arsbench.api import (
        load_faces,
        load_manipulator,
        load_protector,
        load_results,
        perturb,
        protect,
        run,
        score,
    )
    from arsbench.contracts import ArsbenchError

__all__ = [
    "ArsbenchError",
    "contracts",
    "load_faces",
    "load_manipulator",
    "load_protector",
    "load_results",
    "perturb",
    "protect",
    "run",
    "score",
]


def __getattr__(name: str) -> Any:
    # Torch and pandas take seconds to import: they come with the first name that needs them.
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("arsbench")
    if name == "contracts":
        return importlib.import_module("arsbench.contracts")
    if name == "ArsbenchError":
        return importlib.import_module("arsbench.contracts").ArsbenchError
    if name in __all__:
        return getattr(importlib.import_module("arsbench.api"), name)
    raise AttributeError(f"module 'arsbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
