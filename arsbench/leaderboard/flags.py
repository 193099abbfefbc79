"""The findings of ``arsbench check``, as data: what each is, when it is raised, what to do. Also docs/flags.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BATCH = 3
"""Faces that a method is given at once."""
SMALL_EPSILON = 0.1
SAME = 1e-3
"""Mean difference of delivered pictures, [-1, 1] units: below it two are the same but for rounding."""
SLOW = 10.0
"""Seconds per face."""
SATURATED = 0.35
"""Share of values."""
EXPLAINED = 0.5
"""Share of the change's energy."""
FLAT = 1.05
"""Ratio of the mse of the outputs at epsilon and at half of it."""


@dataclass(frozen=True)
class Finding:
    """One kind of finding.

    Attributes:
        name: as it stands in an entry's flags.
        level: an ``error`` keeps a method off the board, a ``warning`` is shown beside it.
        what: what it means.
        raised_if: when, exactly.
        todo: how it is put right.
    """

    name: str
    level: Literal["error", "warning"]
    what: str
    raised_if: str
    todo: str


FINDINGS = {
    finding.name: finding
    for finding in (
        Finding(
            "raises",
            "error",
            "The method fails.",
            "protect() raises an exception or leaves Python, for a face of the test split or for any string as key.",
            "Run it with ARSBENCH_DEBUG=1; a key may be any string and serves for draws alone.",
        ),
        Finding(
            "type",
            "error",
            "What it returns is no picture tensor.",
            "protect() returns something else than a torch.Tensor of dtype float32.",
            "Return x_p as a float32 tensor.",
        ),
        Finding(
            "shape",
            "error",
            "The shape has changed.",
            "The result has another shape than the [B, 3, H, W] it was given.",
            "Return the shape that came in; resize within the method.",
        ),
        Finding(
            "not-finite",
            "error",
            "A value is NaN or infinite.",
            "Any value of the result is not finite.",
            "Look for a division by zero or the logarithm of zero.",
        ),
        Finding(
            "range",
            "error",
            "Pictures are in another range than [-1, 1].",
            "The result leaves [-1, 1] by more than 0.001, or lies within [0, 1] where its double less one fits x.",
            "Work in [-1, 1] and end with .clamp(-1, 1); from [0, 1], return 2 * x_p - 1.",
        ),
        Finding(
            "budget",
            "error",
            "The change is larger than epsilon.",
            "On the delivered (8 bit) picture a value differs from x by more than epsilon + 1/255 + 1e-6.",
            "Clip to x - epsilon .. x + epsilon, and then to [-1, 1].",
        ),
        Finding(
            "ignores-epsilon",
            "warning",
            "The method does not know its budget.",
            f"Made with epsilon {SMALL_EPSILON:g}, it changes a value by more than that.",
            "Take the budget from self.epsilon.",
        ),
        Finding(
            "not-deterministic",
            "error",
            "The same face, key and seed give another picture.",
            f"Two calls differ by more than {SAME:g} on average, though the harness seeds the global generators of "
            "torch, numpy and Python from the key.",
            "Draw from arsbench.draws.generator(key, purpose, self.seed), not from a generator without a seed.",
        ),
        Finding(
            "global-generator",
            "warning",
            "The method draws from a generator that others use, or seeds it.",
            "The picture depends on how the global generators are seeded, or a call changes the state of that of "
            "torch, numpy or Python.",
            "Draw from arsbench.draws.generator(key, purpose, self.seed).",
        ),
        Finding(
            "batch-dependence",
            "warning",
            "A face's picture depends on the others in its batch.",
            f"{BATCH} faces at once differ from the same faces one by one by more than {SAME:g} on average. The "
            "harness gives one at a time; an error for a class that says batch_invariant.",
            "Sum losses over the batch, do not average them; no statistics over the batch.",
        ),
        Finding(
            "order-dependence",
            "error",
            "The method keeps something from one face for the next.",
            f"A face's picture differs by more than {SAME:g} on average after another face was protected first.",
            "Keep nothing in self that a call changes.",
        ),
        Finding(
            "changes-input",
            "warning",
            "The face that was given is overwritten.",
            "After the call, x holds other values.",
            "Work on x.clone().",
        ),
        Finding(
            "changes-manipulator",
            "error",
            "The manipulator is not what it was.",
            "A call changes a weight, a buffer, a training mode or requires_grad of the manipulator, or leaves "
            "gradients.",
            "Use torch.autograd.grad with respect to the picture; put modes back as they were.",
        ),
        Finding(
            "global-state",
            "error",
            "A setting of the process is not what it was.",
            "A call changes torch's default dtype or device, whether gradients are on, the number of threads, "
            "deterministic algorithms, a precision, numpy's error handling, the working folder or a signal's handler.",
            "Use context managers, and put every setting back.",
        ),
        Finding(
            "grid",
            "error",
            "A cell of the grid cannot be computed.",
            "Two faces, taken through every manipulator, perturbation and level, end in a failure.",
            "The finding names the cell and what it said.",
        ),
        Finding(
            "slow",
            "warning",
            "Protecting takes long.",
            f"More than {SLOW:g} seconds per face on this machine.",
            "Nothing has to be done; the board shows the seconds.",
        ),
        Finding(
            "no-change",
            "warning",
            "The pictures are not protected.",
            "No delivered value of any face changes.",
            "Check that the noise is added, and that its scale is that of [-1, 1].",
        ),
        Finding(
            "gradient-masking",
            "warning",
            "More budget does not help: the gradient that the method follows leads nowhere.",
            f"Without perturbation, the mean mse of the outputs at epsilon is below {FLAT:g} times that at half of it.",
            "Look for a gradient that is zero, clipped away, or taken at another point than where the step is made.",
        ),
        Finding(
            "saturation",
            "warning",
            "The pictures are driven into black and white.",
            f"More than {SATURATED:.0%} of all values are at an end of the range and were not before.",
            "Clipping eats such a change; spread it, or take smaller steps.",
        ),
        Finding(
            "brightening",
            "warning",
            "The change is one that a levels tool undoes: a gain and an offset, no attack.",
            f"More than {EXPLAINED:.0%} of the change's energy is a gain and an offset per channel of the face.",
            "sr counts it, sr_strict does not; compare with the control brighten.",
        ),
    )
}
"""Every finding there is, by name."""
