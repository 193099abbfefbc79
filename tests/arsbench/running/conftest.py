"""What the tests of running a bench share."""

from __future__ import annotations

import pytest
import torch

from arsbench import registry
from arsbench.faces.shipped import load_faces
from arsbench.running.bench import Bench
from arsbench.running.loading import make_manipulator, make_perturbation, make_protector
from arsbench.running.plan import Image, Protection, Severity, make_plan
from arsbench.running.references import ReferenceCache
from arsbench.scoring.scorer import Scorer

SEVERITIES = [Severity(), Severity("fade", 3, 0.7, "")]


@pytest.fixture
def bench(fake):
    """A bench of fakes and shipped methods: ``bench(*protectors, manipulator=..., severities=...)``."""

    def make(*protectors, manipulator="Mirror", severities=SEVERITIES):
        method = registry.find("manipulator", manipulator if manipulator.islower() else fake(manipulator))
        model = make_manipulator(method, "open", torch.device("cpu"))
        methods = [registry.find("protector", name if name.islower() else fake(name)) for name in protectors]
        images = [Image(key, key) for key in load_faces(n=5)[1]]
        ids = {m.name: {method.name: [m.name]} for m in methods}
        plan = make_plan("h", "open", 0.3, 0, "cpu", ids, {method.name: [method.name]}, severities, images)
        return Bench(
            plan,
            method.name,
            model,
            {Protection(m.name, 0.3): make_protector(m, model, 0.3) for m in methods},
            {n: make_perturbation(registry.find("perturbation", fake(n.title()))) for n in ("fade", "crash")},
            Scorer(),
            ReferenceCache(None),
        )

    return make
