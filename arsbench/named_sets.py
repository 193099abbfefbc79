"""The tracks, and what ``all`` and the named sets of methods stand for; read without torch."""

from __future__ import annotations

TRACK_SIZES = {"open": 64, "paper": 256}
"""The tracks, with the side of their pictures in pixels."""

PROTECTORS = ("fgsm", "pgd", "disrupt", "tafim", "ars")
"""The protocol's table: ``all`` means those of it that are registered. Variants and ablations go by name."""

MANIPULATORS = ("psp-recon", "psp-mix", "simswap", "styleclip")

PERTURBATION_SETS = {
    "paper-six": ("saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg"),
}
"""The named set of perturbations that scores are of; ``all`` stands for it. It and its levels enter the hash."""

FURTHER_SETS = {
    "unseen": ("webp", "avif", "gaussian_noise", "gamma", "crop_resize", "rotation"),
    "deeperforensics": (
        "df_color_saturation",
        "df_color_contrast",
        "df_block_wise",
        "df_gaussian_noise",
        "df_gaussian_blur",
        "df_jpeg",
    ),
    "removals": ("median", "platform_chain", "denoiser"),
}
"""Named sets beside it: no score of the board depends on them, so they stay out of the hash (docs/protocol.md)."""

DEFAULT_SET = "paper-six"
