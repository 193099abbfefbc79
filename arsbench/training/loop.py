"""What all trainings share: the loop over steps with its checkpoints and its log, and the card of the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from arsbench.training.job import TrainingJob


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Takes a state back."""


def run_steps(
    job: TrainingJob,
    parts: Mapping[str, Stateful],
    step: Callable[[int], dict[str, float]],
    validate: Callable[[], dict[str, float]],
    every: int,
) -> None:
    """Runs or resumes the steps of a job.

    Args:
        job: says how many, and where checkpoints and the log go.
        parts: what a checkpoint holds, by name; a resumed training gives it the state that was kept.
        step: the number of a step -> what it reached, for the log.
        validate: what is reached on the validation faces.
        every: steps between two checkpoints, each with a validation; the last step is one, too.
    """
    kept = job.resume()
    if kept is not None:
        for name, part in parts.items():
            part.load_state_dict(kept[name])
    for at in range(0 if kept is None else kept["step"], job.steps):
        reached = step(at)
        if (at + 1) % every == 0 or at + 1 == job.steps:
            reached |= validate()
            job.keep({name: part.state_dict() for name, part in parts.items()}, at + 1, reached)
        job.report(at + 1, reached)


def card(job: TrainingJob, method: str, what: str, recipe: str, reached: Mapping[str, float]) -> dict[str, Any]:
    """What stands beside weights that were trained.

    Args:
        job: of the training.
        method: as ``arsbench train`` takes it, with its options.
        what: the model, in a sentence.
        recipe: rates and schedule, and the file that holds the rest.
        reached: on the validation faces.
    """
    start = "" if job.start is None else f" --start {job.start[1]}.safetensors"
    return {
        "what": what,
        "data": f"synthetic faces of the shipped generator, {job.steps * job.batch} in all",
        "recipe": f"{job.steps} steps of {job.batch} faces, {recipe}",
        "command": f"arsbench train {method} --steps {job.steps} --batch {job.batch} --seed {job.seed}{start}",
        "reached": {"faces": "validation", **{name: round(value, 4) for name, value in reached.items()}},
        "licence": "MIT",
        "revision": job.revision,
        **job.started_from(),
    }
