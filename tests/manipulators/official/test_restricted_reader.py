"""Checkpoints are read without running what stands in them."""

from __future__ import annotations

import argparse
import builtins
import io
import os
import pickle
import sys
import tarfile
import types

import pytest
import torch
from torch import nn

from arsbench.contracts import ArsbenchError
from arsbench.manipulators.official.restricted_reader import Stub, read_checkpoint, tensors_of


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU())


def assert_equal(found, module):
    wanted = module.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())


@pytest.fixture(params=[True, False], ids=["zip", "stream"])
def save(request, tmp_path):
    """``save(value)`` -> the file, in the container of today or that before PyTorch 1.6."""

    def write(value):
        torch.save(value, tmp_path / "c.pt", _use_new_zipfile_serialization=request.param)
        return tmp_path / "c.pt"

    return write


class WritesAFile:
    """What a hostile checkpoint does: calls ``function`` when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("harm", [os.system, eval, exec, getattr, print, builtins.__import__, io.open, torch.load])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_of_it_runs(save, tmp_path, harm):
    mark = tmp_path / "mark"
    text = f"open({str(mark)!r}, 'w')" if harm in (eval, exec) else f"touch {mark}"
    arguments = (str(mark), "w") if harm is io.open else (text,)
    path = save({"state_dict": network().state_dict(), "extra": WritesAFile(harm, *arguments)})
    with pytest.raises(ArsbenchError, match=r"is refused: its pickle names .* nothing of it was run"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_bare_pickle_is_refused_likewise(tmp_path):
    (tmp_path / "c.pt").write_bytes(pickle.dumps(WritesAFile(os.system, f"touch {tmp_path / 'mark'}")))
    with pytest.raises(ArsbenchError, match="is refused"):
        read_checkpoint(tmp_path / "c.pt")
    assert not (tmp_path / "mark").exists()


def test_a_state_is_not_given_to_what_is_no_stub(tmp_path):
    # GLOBAL torch._utils _rebuild_tensor_v2, then BUILD with {'__defaults__': ()}.
    (tmp_path / "c.pt").write_bytes(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x0c\x00\x00\x00__defaults__)sb.")
    with pytest.raises(ArsbenchError, match="refused"):
        read_checkpoint(tmp_path / "c.pt")


def test_a_stub_from_the_pickle_cannot_be_given_behaviour(save):
    class Hostile(argparse.Namespace):
        pass

    Hostile.__module__, Hostile.__qualname__ = "somebodys_module", "Hostile"
    module = types.ModuleType("somebodys_module")
    module.Hostile = Hostile
    sys.modules["somebodys_module"] = module
    try:
        path = save({"opts": Hostile(a=1)})
    finally:
        del sys.modules["somebodys_module"]
    with pytest.raises(ArsbenchError, match=r"names somebodys_module\.Hostile"):
        read_checkpoint(path)


def test_tensors_numbers_and_options_come_back_as_they_are(save):
    value = {
        "state_dict": network().state_dict(),
        "opts": {"encoder_type": "GradualStyleEncoder", "lr": 0.1, "device": torch.device("cpu"), "names": ["a"]},
        "half": torch.arange(3).half(),
        "steps": 7,
    }
    found = read_checkpoint(save(value))
    assert_equal(tensors_of(found["state_dict"]), network())
    assert found["opts"] == value["opts"]
    assert found["half"].dtype == torch.float16
    assert found["steps"] == 7


def test_options_kept_as_a_namespace_are_a_stub_with_its_values(save):
    found = read_checkpoint(save({"opts": argparse.Namespace(output_size=1024)}))
    assert vars(found["opts"]) == {"output_size": 1024}


def test_a_whole_module_gives_the_state_dict_it_had(save):
    module = network()
    found = read_checkpoint(save(module))
    assert isinstance(found, Stub)
    assert_equal(tensors_of(found), module)


def test_a_module_among_a_trainings_things_gives_its_state_dict(save):
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    found = read_checkpoint(save({"epoch": 3, "model": nn.DataParallel(module), "optimizer": optimizer}))
    assert_equal(tensors_of(vars(found["model"])["_modules"]["module"]), module)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_short_is_one_sentence(save, share):
    path = save(network().state_dict())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArsbenchError, match="cannot be read as a PyTorch checkpoint"):
        read_checkpoint(path)


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path):
    with pytest.raises(ArsbenchError, match="there is no file"):
        read_checkpoint(tmp_path / "absent.pt")
    (tmp_path / "readme").write_text("what lies in it")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "readme", "readme")
    with pytest.raises(ArsbenchError, match="is a tar archive"):
        read_checkpoint(tmp_path / "a.tar")
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), tmp_path / "s.pt")
    with pytest.raises(ArsbenchError, match="TorchScript"):
        read_checkpoint(tmp_path / "s.pt")
