"""Makes packages that import torchvision importable when torchvision was built for another torch.

A CPU build of torch beside the registry's torchvision (built for CUDA) cannot load torchvision's compiled operators;
``import torchvision`` then fails with ``operator torchvision::nms does not exist``. arsbench needs none of those
operators, but ``lpips`` and ``piq`` import torchvision. Declaring the schemas of the two that torchvision refers to at
import (``nms`` and ``qnms``) is enough. Nothing is declared where torchvision imports by itself.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Operators that torchvision refers to when it is imported, as it declares them itself."""

_lock = threading.RLock()
_declared: list[torch.library.Library] = []
"""The declarations live as long as this object does; torch drops them with it."""


def is_mismatch(error: BaseException) -> bool:
    """Whether ``error`` is the one of a torchvision whose compiled operators could not be loaded."""
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        f"operator torchvision::{name} does not exist" in text for name in SCHEMAS
    )


def cure() -> bool:
    """Imports torchvision, declaring the missing operators if and only if that fails for want of them.

    Returns:
        Whether operators had to be declared, now or in an earlier call.

    Raises:
        Exception: whatever else importing torchvision raises, unchanged.
    """
    with _lock:
        before = set(sys.modules)
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if not is_mismatch(error):
                raise
            # Submodules that did import stay behind a failed import and would not be run again.
            for name in set(sys.modules) - before:
                if name.split(".")[0] == "torchvision":
                    del sys.modules[name]
            make: Any = torch.library.Library  # untyped in some versions of torch
            library = make("torchvision", "FRAGMENT")
            for name, schema in SCHEMAS.items():
                if not hasattr(torch.ops.torchvision, name):
                    library.define(schema)
            _declared.append(library)
            importlib.import_module("torchvision")
        return bool(_declared)


def import_with_cure(name: str) -> ModuleType:
    """Imports the module ``name``, one that imports torchvision, with :func:`cure` where that is needed.

    Raises:
        ImportError: ``name`` or torchvision is not installed.
    """
    cure()
    return importlib.import_module(name)
