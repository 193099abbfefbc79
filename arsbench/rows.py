"""A result as one documented type: the columns of a row, one row per image and cell."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of the rows.

    Attributes:
        name: as it stands in the parquet files and data frames.
        dtype: ``str``, ``int64`` or ``float64``.
        meaning: what the number is, with range or unit.
        better: for protection, ``"higher"`` or ``"lower"``; ``None`` where neither is a goal.
    """

    name: str
    dtype: str
    meaning: str
    better: str | None = None


IDENTITY = (
    Column("protector", "str", "name of the protector"),
    Column("manipulator", "str", "name of the manipulator"),
    Column("perturbation", "str", "name of the perturbation; 'none' at level 0"),
    Column("level", "int64", "severity level: 0 without perturbation, 1 (weakest) to 5 (strongest)"),
    Column("image", "str", "key of the image"),
    Column("epsilon", "float64", "L_inf budget in [-1, 1] units"),
    Column("condition", "str", "the manipulator's condition c for this image; empty where it takes none"),
)

SCORES = (
    Column("mse", "float64", "mean squared error of y_p against y on [-1, 1]; up to 4", "higher"),
    Column("psnr", "float64", "-10 log10(mse / 4 + 1e-8), dB; 80 for equal images", "lower"),
    Column("lpips", "float64", "LPIPS, AlexNet v0.1", "higher"),
    Column("ssim", "float64", "structural similarity, at most 1", "lower"),
    Column("sr", "float64", "1 if mse > 0.05, else 0", "higher"),
    Column("sr_mask", "float64", "1 if the mse where G changed x exceeds 0.05, else 0", "higher"),
    Column("amplification", "float64", "mse of the outputs over mse of the inputs; NaN for 0/0", "higher"),
    Column("unrecovered", "float64", "share of the manipulation no levels tool restores, [0, 1]", "higher"),
    Column("sr_strict", "float64", "1 if sr and unrecovered > 0.25 and amplification > 1, else 0", "higher"),
)

FURTHER = (
    Column("sr_mask:icml2026", "float64", "sr_mask with the mask taken from |y_p - y| > 0.5", "higher"),
    *(
        Column(f"{c.name}_clean_reference", c.dtype, f"{c.meaning}; against y = G(x), without perturbation", c.better)
        for c in SCORES
    ),
    Column("protected_mse", "float64", "mse of x_p against x on [-1, 1]", "lower"),
    Column("protected_psnr", "float64", "psnr of x_p against x, dB", "higher"),
    Column("protected_ssim", "float64", "ssim of x_p against x", "higher"),
    Column("protected_lpips", "float64", "lpips of x_p against x", "lower"),
    Column("protected_linf", "float64", "largest change of a value, delivered, [-1, 1] units", "lower"),
    Column("protected_l2", "float64", "Euclidean norm of the change, [-1, 1] units", "lower"),
    Column(
        "identity_cosine",
        "float64",
        "cosine of y_p's face descriptor and the aimed-at face's; NaN unless asked",
        "lower",
    ),
    Column("identity_distance", "float64", "Euclidean distance of the two descriptors; NaN unless asked", "higher"),
    Column("seconds", "float64", "seconds per image of protecting", "lower"),
    Column("weights", "str", "'random' where G ran with random weights, to measure speed; else empty"),
)

COLUMNS = IDENTITY + SCORES + FURTHER
KEY = ("protector", "manipulator", "perturbation", "level", "image")
"""What names a row: no two rows of a run share these."""
