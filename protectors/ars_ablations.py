"""The paper's ablations of ARS (Table 5), each trained like ``ars`` but for what it leaves out."""

from __future__ import annotations

from typing import ClassVar

from arsbench.protectors.ars import ARS


class ARSBasic(ARS):
    """Basic: f alone, without p and q."""

    name = "ars_basic"
    thread_safe: ClassVar[bool] = True
    two_way: ClassVar[bool] = False
    perturbed: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False


class ARSBasicWithRobust(ARS):
    """Basic w/ Robust: f alone, trained through p and q."""

    name = "ars_basic_with_robust"
    thread_safe: ClassVar[bool] = True
    two_way: ClassVar[bool] = False


class ARSNonLossy(ARS):
    """Non-lossy ARS: both ways, without p and q."""

    name = "ars_non_lossy"
    thread_safe: ClassVar[bool] = True
    perturbed: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False


class ARSWithoutAdv(ARS):
    """ARS w/o Adv: both ways and p, without q."""

    name = "ars_without_adv"
    thread_safe: ClassVar[bool] = True
    adversarial: ClassVar[bool] = False


class ARSFull(ARS):
    """ARS itself, trained for as many steps as the other four."""

    name = "ars_full"
    thread_safe: ClassVar[bool] = True
