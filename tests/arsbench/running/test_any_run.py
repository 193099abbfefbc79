"""However a run is cut, ordered, batched, stopped and resumed, its rows are those of one whole run.

They are bit for bit, but for LPIPS, whose network rounds otherwise in a batch of another size.
"""

from __future__ import annotations

import contextlib

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import arsbench
from arsbench.running.store import RunFolder

PROTECTORS, PERTURBATIONS, LEVELS, IMAGES = ("Push", "fgsm"), ("dropout", "saturation", "jpeg"), (0, 2, 5), 4
LABEL = ["protector", "perturbation", "level", "image"]


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


def rows_of(fake, protectors, perturbations, levels, **more):
    names = [fake(name) if name[0].isupper() else name for name in protectors]
    frame = arsbench.run(names, fake("Mirror"), list(perturbations), list(levels), **more)
    return frame.drop(columns="seconds").sort_values(LABEL, ignore_index=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    fakes = f"{__file__.rpartition('running')[0]}fakes.py"
    return rows_of(
        lambda name: f"{fakes}:{name}", PROTECTORS, PERTURBATIONS, LEVELS, images=IMAGES, batch=1, cache=False
    )


def stopping(at):
    """``RunFolder.append`` that is interrupted, as by Ctrl-C, at its ``at``-th call, once."""
    calls, append = [], RunFolder.append

    def appended(self, *given, **named):
        calls.append(None)
        if len(calls) == at:
            raise KeyboardInterrupt
        return append(self, *given, **named)

    return appended


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a run is too long to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    protectors=some(PROTECTORS),
    perturbations=some(PERTURBATIONS),
    levels=some(LEVELS),
    images=st.integers(1, IMAGES),
    batch=st.integers(1, IMAGES + 1),
    cache=st.booleans(),
    stops=st.lists(st.integers(1, 6), max_size=2),
)
def test_any_part_in_any_order_and_batch_stopped_anywhere_has_the_rows_of_the_whole(
    whole, fake, no_reports, tmp_path_factory, protectors, perturbations, levels, images, batch, cache, stops
):
    out = tmp_path_factory.mktemp("run")
    chosen = {"images": images, "batch": batch, "cache": cache, "out": out / "run"}
    for at in stops:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, "append", stopping(at))
            with contextlib.suppress(KeyboardInterrupt):
                rows_of(fake, protectors, perturbations, levels, **chosen)
    got = rows_of(fake, protectors, perturbations, levels, **chosen)
    wanted = whole.merge(got[LABEL], on=LABEL, how="inner").sort_values(LABEL, ignore_index=True)
    assert set(got.image) == set(sorted_images(whole)[:images])
    assert {"push" if name == "Push" else name for name in protectors} <= set(got.protector)
    networks = [name for name in got if "lpips" in name]
    pd.testing.assert_frame_equal(got.drop(columns=networks), wanted.drop(columns=networks), check_exact=True)
    pd.testing.assert_frame_equal(got[networks], wanted[networks], check_exact=batch == 1, rtol=1e-5, atol=1e-6)


def sorted_images(frame):
    """Keys in the order in which faces are numbered."""
    keys = arsbench.load_faces(n=IMAGES)[1]
    assert set(keys) == set(frame.image)
    return keys
