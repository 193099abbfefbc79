from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

import arsbench
from arsbench.manipulators.psp import CODES, CONDITIONS, MADE_FROM, WEIGHTS
from arsbench.manipulators.training.psp_conditions import write_codes


def test_writes_what_is_shipped(tmp_path):
    written, shipped = (
        write_codes(arsbench.load_manipulator("psp-mix"), None, tmp_path),
        WEIGHTS / f"{CONDITIONS}.safetensors",
    )
    assert list(load_file(written)) == [CODES]
    torch.testing.assert_close(load_file(written)[CODES], load_file(shipped)[CODES], rtol=2e-7, atol=0)
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in (written, shipped)]
    assert cards[0][MADE_FROM] == cards[1][MADE_FROM]
