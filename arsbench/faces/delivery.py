"""What a person could upload: 8-bit delivery, and the audit of a protector's output against its budget."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench.contracts import ArsbenchError

TOLERANCE = 1 / 255 + 1e-6
"""By how much a delivered picture may exceed epsilon: half a step of 8 bits, and rounding in float32."""


CLEARLY = 0.7
OVERSHOOT = 4.0
"""No picture in [-1, 1] goes beyond it, though a network's raw output may go beyond 1."""


def deliver(x: Tensor) -> Tensor:
    """Rounds pictures to 8 bits: ``round((clip(x, -1, 1) + 1) * 127.5) / 127.5 - 1``.

    Args:
        x: float tensor of any shape, in [-1, 1]; values outside are clipped.

    Returns:
        The delivered values, same shape and dtype, without a gradient. Delivering twice changes nothing.
    """
    return x.detach().clamp(-1, 1).add_(1).mul_(127.5).round_().div_(127.5).sub_(1)


def to_bytes(x: Tensor) -> Tensor:
    """Pictures ``[..., 3, H, W]`` in [-1, 1] -> uint8 ``[..., H, W, 3]``, the pixels of the delivered file."""
    return x.detach().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8).movedim(-3, -1).contiguous()


def from_bytes(pixels: Tensor) -> Tensor:
    """uint8 pixels ``[..., H, W, 3]`` -> delivered float32 pictures ``[..., 3, H, W]`` in [-1, 1]."""
    return pixels.movedim(-1, -3).contiguous().float().div_(127.5).sub_(1)


def other_range(values: Tensor, like: Tensor) -> str | None:
    """``[0, 1]`` or ``[0, 255]`` where pictures look like ones of that range, else ``None``.

    They do where no value is below 0 and they are clearly nearer to what they were made from once they are taken so.

    Args:
        values: ``[B, 3, H, W]``.
        like: pictures in [-1, 1] of which they are changed copies, same shape.
    """
    if float(values.min()) < 0:
        return None
    top = 255 if float(values.max()) > OVERSHOOT else 1
    taken_so = values.float() * (2 / top) - 1
    nearer = (taken_so - like).abs().mean() < CLEARLY * (values - like).abs().mean()
    return f"[0, {top}]" if bool(nearer) else None


def audit(x: Tensor, x_p: object, epsilon: float, protector_name: str, keys: Sequence[str] | None = None) -> Tensor:
    """Checks what a protector returned and delivers it.

    The budget is measured on the delivered file, per image, against the source as it is.

    Args:
        x: source faces ``[B, 3, H, W]`` in [-1, 1].
        x_p: what the protector returned for them.
        epsilon: the L_inf budget in [-1, 1] units; NaN for a control that has none.
        protector_name: for the message.
        keys: the images' keys, for the message; their numbers in the batch if left out.

    Returns:
        The delivered protected faces ``[B, 3, H, W]``, float32.

    Raises:
        ArsbenchError: not a dense tensor, another shape or dtype, a value that is not finite, or a change of more than
            ``epsilon + 1/255 + 1e-6``.
    """
    names = list(keys) if keys is not None else [f"number {i} of the batch" for i in range(len(x))]
    who = f"protector '{protector_name}'"
    if not isinstance(x_p, Tensor):
        raise ArsbenchError(
            f"{who} returned {type(x_p).__name__} for image '{names[0]}'; protect() must return a torch.Tensor"
        )
    if x_p.shape != x.shape:
        raise ArsbenchError(
            f"{who} returned shape {list(x_p.shape)} for the batch of image '{names[0]}', "
            f"where it was given {list(x.shape)}; protect() must return the shape it is given"
        )
    if x_p.dtype != torch.float32:
        dtype = str(x_p.dtype).removeprefix("torch.")
        raise ArsbenchError(f"{who} returned {dtype} for image '{names[0]}'; protect() must return float32 in [-1, 1]")
    if x_p.layout != torch.strided or x_p.is_meta:
        what = "a tensor without values (of the device meta)" if x_p.is_meta else "a sparse tensor"
        raise ArsbenchError(f"{who} returned {what} for image '{names[0]}'; protect() must return a dense tensor")
    # Before rounding: clip and round turn an infinite value into an ordinary one.
    bad = ~torch.isfinite(x_p.detach()).flatten(1).all(1)
    if bool(bad.any()):
        first = names[int(bad.nonzero()[0])]
        raise ArsbenchError(
            f"{who} returned NaN or infinite values for image '{first}'; check its arithmetic before anything is stored"
        )
    delivered = deliver(x_p).to(x.device)
    change = (delivered - x).abs().flatten(1).amax(1)
    over = change > epsilon + TOLERANCE
    if bool(over.any()):
        i = int(over.nonzero()[0])
        wrong = other_range(x_p[i : i + 1].detach().to(x.device), x[i : i + 1])
        what_to_do = (
            f"its output looks like {wrong}, where pictures are in [-1, 1]"
            if wrong
            else "clip its output to x - epsilon .. x + epsilon"
        )
        raise ArsbenchError(
            f"{who} changed image '{names[i]}' by {float(change[i]):.4f}, over its budget epsilon = {epsilon:g}; "
            f"{what_to_do}"
        )
    return delivered
