"""The official layouts, at a small size: what is added is what the paper track's manipulators load."""

from __future__ import annotations

import collections
import copy
import datetime
import json
import sys
import types
import uuid
import zipfile
from decimal import Decimal
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import arsbench
from arsbench.cards import file_sha256
from arsbench.contracts import ArsbenchError
from arsbench.manipulators import psp, simswap, styleclip
from arsbench.manipulators.networks import arcface as arcface_module
from arsbench.manipulators.networks.arcface import ArcFace
from arsbench.manipulators.networks.psp_encoder import E4eEncoder, PspEncoder, Stage
from arsbench.manipulators.networks.simswap import SimSwapGenerator
from arsbench.manipulators.networks.styleclip_mapper import LevelsMapper
from arsbench.manipulators.networks.stylegan2 import StyleGAN2
from arsbench.manipulators.official import checkpoints, kept

CASES = Path(__file__).parents[2] / "fixtures" / "cases" / "checkpoints"
STYLE, SIZE, ROWS = 8, 64, 10
ENCODER = {"style": STYLE, "stem": 4, "stages": [Stage(4, 4, 1)] * 4, "reduction": 2}
CHANNELS = dict.fromkeys((4, 8, 16, 32, 64), 4)


def small(cls):
    """The encoder with few channels, called as the official one is."""
    return lambda size=256, n_codes=ROWS: cls(size, n_codes=n_codes, **ENCODER)


def decoder(size=SIZE):
    return StyleGAN2(size, style=STYLE, channels=CHANNELS)


def mapper(style=STYLE, rows=(4, 8), coarse=True, medium=True, fine=True):
    return LevelsMapper(STYLE, rows, coarse, medium, fine)


def generator():
    return SimSwapGenerator((4, 4, 4, 6), latent=512, blocks=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    """Every network small, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (checkpoints, psp, styleclip):
        monkeypatch.setattr(module, "StyleGAN2", decoder)
    for module in (checkpoints, styleclip):
        monkeypatch.setattr(module, "E4eEncoder", small(E4eEncoder))
        monkeypatch.setattr(module, "LevelsMapper", mapper)
    for module in (checkpoints, simswap):
        monkeypatch.setattr(module, "SimSwapGenerator", generator)
        monkeypatch.setattr(module, "ArcFace", partial(ArcFace, (1, 1, 1, 1)))
    monkeypatch.setattr(arcface_module, "WIDTHS", (16, 16, 16, 16))
    monkeypatch.setattr(checkpoints, "PspEncoder", small(PspEncoder))
    monkeypatch.setattr(psp, "PspEncoder", small(PspEncoder))
    monkeypatch.setattr(psp, "OFFICIAL_STYLE", STYLE)
    monkeypatch.setattr(checkpoints, "STYLE", STYLE)


def randomised(module, seed=0):
    """The module with weights and statistics that are all its own."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=draws) * 0.5 + 0.1)
    return module.eval()


def prefixed(**modules):
    return {f"{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()}


def psp_file(tmp_path, encoder=None, name="psp.pt", **changes):
    encoder = encoder or randomised(small(PspEncoder)())
    content = {
        "state_dict": prefixed(encoder=encoder, decoder=randomised(decoder(), 1)),
        "opts": {"encoder_type": "GradualStyleEncoder", "output_size": SIZE, "start_from_latent_avg": True},
        "latent_avg": torch.linspace(-1, 1, STYLE).repeat(ROWS, 1),
    } | changes
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / name)
    return tmp_path / name


def e4e_file(tmp_path, **changes):
    options = {"encoder_type": "Encoder4Editing", "stylegan_size": SIZE, "start_from_latent_avg": True}
    return psp_file(tmp_path, randomised(small(E4eEncoder)(), 2), "e4e.pt", **{"opts": options} | changes)


def mapper_file(tmp_path, name, seed=3, **levels):
    content = prefixed(mapper=randomised(mapper(**levels), seed), decoder=randomised(decoder(), 1))
    torch.save({"state_dict": content, "opts": {"no_fine_mapper": True}}, tmp_path / name)
    return tmp_path / name


def pictures(n=2):
    return torch.rand(n, 3, 256, 256, generator=torch.Generator().manual_seed(5)) * 2 - 1, [f"k{i}" for i in range(n)]


# --- pSp ------------------------------------------------------------------------------------------------------------


def test_psp_recon_decodes_what_the_encoder_and_the_average_give(tmp_path):
    checkpoints.add("psp", psp_file(tmp_path))
    x, keys = pictures()
    y = arsbench.load_manipulator("psp-recon", "paper").manipulate(x, keys)
    codes = randomised(small(PspEncoder)())(x) + torch.linspace(-1, 1, STYLE)
    wanted = nn.functional.interpolate(randomised(decoder(), 1)(codes), scale_factor=4)
    assert y.shape == x.shape
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-4)


def test_psp_mix_injects_from_row_8_with_alpha_and_with_a_mapped_z(tmp_path):
    checkpoints.add("psp", psp_file(tmp_path))
    x, keys = pictures()
    z = torch.randn(1, STYLE, generator=torch.Generator().manual_seed(1))
    model = arsbench.load_manipulator("psp-mix", "paper", condition=x[1:])
    encoder, generator2 = randomised(small(PspEncoder)()), randomised(decoder(), 1)
    codes = encoder(x) + torch.linspace(-1, 1, STYLE)
    mixed = codes.clone()
    mixed[:, 8:] = 0.8 * codes[1:, 8:] + 0.2 * codes[:, 8:]
    wanted = nn.functional.interpolate(generator2(mixed), scale_factor=4)
    torch.testing.assert_close(model.manipulate(x, keys), wanted, rtol=1e-4, atol=1e-4)
    assert model.conditions(keys) == ["given face"] * 2
    assert generator2.style(z).shape == (1, STYLE)


def test_an_average_of_one_row_stands_for_all(tmp_path):
    kept, _ = checkpoints.add("psp", psp_file(tmp_path, latent_avg=torch.arange(float(STYLE))))
    average = checkpoints.load(kept.name)[0]["latent_avg"]
    assert average.tolist() == [list(range(STYLE))] * ROWS


def test_no_average_is_zero_only_where_the_options_say_so(tmp_path):
    options = {"encoder_type": "GradualStyleEncoder", "output_size": SIZE}
    with pytest.raises(ArsbenchError, match="has no latent_avg"):
        checkpoints.add("psp", psp_file(tmp_path, latent_avg=None))
    checkpoints.add("psp", psp_file(tmp_path, latent_avg=None, opts={**options, "start_from_latent_avg": False}))
    assert not checkpoints.load("psp")[0]["latent_avg"].any()


def test_psp_and_e4e_are_told_apart_by_their_options(tmp_path):
    with pytest.raises(ArsbenchError, match=r"is an e4e checkpoint.*checkpoints add e4e"):
        checkpoints.add("psp", e4e_file(tmp_path))
    with pytest.raises(ArsbenchError, match=r"not an e4e checkpoint.*checkpoints add psp"):
        checkpoints.add("e4e", psp_file(tmp_path))


def test_what_a_training_leaves_beside_the_weights_is_left_out(tmp_path):
    extras = {"global_step": 7, "discriminator_state_dict": {"w": torch.ones(3)}, "best_val_loss": 0.5}
    kept, _ = checkpoints.add("e4e", e4e_file(tmp_path, **extras))
    wanted = {"latent_avg", *prefixed(encoder=small(E4eEncoder)(), decoder=decoder())}
    assert checkpoints.load(kept.name)[0].keys() == wanted


@pytest.mark.parametrize(
    "extras",
    [
        {"best_val_loss": np.float64(1.5), "step": np.int64(3), "flag": np.bool_(True)},
        {"root": Path("somewhere") / "else", "windows": PureWindowsPath("c:/x")},
        {"history": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"]), "words": np.array([{}], dtype=object)},
        {"began": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), "took": datetime.timedelta(1)},
        {"counts": collections.Counter("aab"), "last": collections.deque([1, 2]), "kinds": {np.float32, float}},
        {"rng": torch.Generator(), "limit": Decimal("1.5"), "run": uuid.UUID(int=7), "ranges": [range(3), slice(1)]},
        {"options": types.SimpleNamespace(a=1), "parts": frozenset({1}), "raw": bytearray(b"xy"), "z": 1j},
    ],
    ids=["numbers", "paths", "arrays", "dates", "collections", "others", "plain"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_harmless_things_beside_the_weights_are_read_over(tmp_path, extras, zipped):
    path = psp_file(tmp_path)
    content = torch.load(path, weights_only=True)
    content["opts"] |= extras
    torch.save({**content, **extras}, path, _use_new_zipfile_serialization=zipped)
    kept, _ = checkpoints.add("psp", path)
    found = checkpoints.load(kept.name)[0]
    assert torch.equal(found["latent_avg"], content["latent_avg"])
    assert all(torch.equal(found[name], tensor) for name, tensor in content["state_dict"].items())


def test_options_of_a_class_of_their_own_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "easydict", types.ModuleType("easydict"))
    cls = type("EasyDict", (dict,), {"__module__": "easydict"})
    sys.modules["easydict"].EasyDict = cls
    options = cls(encoder_type="GradualStyleEncoder", output_size=SIZE, start_from_latent_avg=True)
    checkpoints.add("psp", psp_file(tmp_path, opts=options))


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("where", ["around all", "around the encoder"])
def test_the_prefix_of_a_wrapper_is_taken_off(tmp_path, wrapper, where):
    path = psp_file(tmp_path)
    content = torch.load(path, weights_only=True)
    plain = content["state_dict"]
    content["state_dict"] = {
        (f"{wrapper}{key}" if where == "around all" else key.replace("encoder.", f"encoder.{wrapper}", 1)): tensor
        for key, tensor in plain.items()
    }
    torch.save(content, path)
    kept, _ = checkpoints.add("psp", path)
    assert checkpoints.load(kept.name)[0].keys() == {*plain, "latent_avg"}


@pytest.mark.parametrize(("option", "average"), [(False, False), (True, True), (None, True)])
def test_the_option_decides_whether_the_average_is_added(tmp_path, option, average):
    options = {"encoder_type": "GradualStyleEncoder", "output_size": SIZE, "start_from_latent_avg": option}
    if option is None:
        del options["start_from_latent_avg"]
    checkpoints.add("psp", psp_file(tmp_path, opts=options))
    assert bool(checkpoints.load("psp")[0]["latent_avg"].any()) == average


@pytest.mark.parametrize("options", [{"output_size": None}, {"output_size": None, "stylegan_size": SIZE}, {}])
def test_a_size_that_the_options_leave_open_is_that_of_the_style_heads(tmp_path, options):
    made = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True} | options
    kept, _ = checkpoints.add("psp", psp_file(tmp_path, opts=made))
    assert kept.card["output_size"] == SIZE


@pytest.mark.parametrize("size", ["large", [64], {"a": 1}])
def test_options_of_another_kind_are_one_sentence(tmp_path, size):
    options = {"encoder_type": "GradualStyleEncoder", "output_size": size}
    with pytest.raises(ArsbenchError, match="not the official psp checkpoint"):
        checkpoints.add("psp", psp_file(tmp_path, opts=options))


# --- StyleCLIP ------------------------------------------------------------------------------------------------------


def test_edits_stand_side_by_side_each_with_the_levels_it_has(tmp_path):
    checkpoints.add("e4e", e4e_file(tmp_path))
    checkpoints.add("styleclip", mapper_file(tmp_path, "afro.pt", fine=False))
    checkpoints.add("styleclip", mapper_file(tmp_path, "m.pt", seed=4), edit="depp")
    x, keys = pictures()
    codes = randomised(small(E4eEncoder)(), 2)(x) + torch.linspace(-1, 1, STYLE)
    for edit, own in (("afro", randomised(mapper(fine=False), 3)), ("depp", randomised(mapper(), 4))):
        model = arsbench.load_manipulator("styleclip", "paper", condition=edit)
        wanted = nn.functional.interpolate(randomised(decoder(), 1)(codes + 0.1 * own(codes)), scale_factor=4)
        torch.testing.assert_close(model.manipulate(x, keys), wanted, rtol=1e-4, atol=1e-4)
    by_key = arsbench.load_manipulator("styleclip", "paper")
    assert set(by_key.conditions([f"k{i}" for i in range(20)])) == {"afro", "depp"}
    with pytest.raises(ArsbenchError, match="give one of: afro, depp"):
        arsbench.load_manipulator("styleclip", "paper", condition="trump")


def test_an_edit_is_named_so_that_it_can_be_a_file(tmp_path):
    with pytest.raises(ArsbenchError, match="cannot be the name of an edit"):
        checkpoints.add("styleclip", mapper_file(tmp_path, "m.pt"), edit="../m")


# --- SimSwap and ArcFace --------------------------------------------------------------------------------------------


def as_class_of(network, name, monkeypatch):
    """The network as if its classes were those of the module ``name``, which can be pickled."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name.split(".")[0], module)
    monkeypatch.setitem(sys.modules, name, module)
    names = {ArcFace: "ResNet", arcface_module.IRBlock: "IRBlock", arcface_module.SqueezeExcitation: "SEBlock"}
    classes = {cls: type(own, (cls,), {"__module__": name}) for cls, own in names.items()}
    for cls in classes.values():
        setattr(module, cls.__name__, cls)
    for part in network.modules():
        part.__class__ = classes.get(type(part), type(part))
    return network


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_arcface_is_read_in_all_three_layouts(tmp_path, monkeypatch):
    network = randomised(checkpoints.ArcFace())
    wanted = network.state_dict()
    plain, module, training = (tmp_path / name for name in ("plain.pth", "module.tar", "training.tar"))
    torch.save(wanted, plain)
    with monkeypatch.context() as patched:
        torch.save(as_class_of(copy.deepcopy(network), "models.arcface_models", patched), module)
        model = nn.DataParallel(as_class_of(copy.deepcopy(network), "models", patched))
        torch.save({"epoch": 3, "acc": 0.9, "model": model}, training, _use_new_zipfile_serialization=False)
    for file in (plain, module, training):
        checkpoints.add("arcface", file)
        found = checkpoints.load("arcface")[0]
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items()), file.name


def add_simswap(tmp_path):
    torch.save(randomised(generator()).state_dict(), tmp_path / "latest_net_G.pth")
    torch.save(randomised(checkpoints.ArcFace()).state_dict(), tmp_path / "arcface.pth")
    checkpoints.add("simswap", tmp_path / "latest_net_G.pth")
    checkpoints.add("arcface", tmp_path / "arcface.pth")


def test_a_swap_takes_its_identity_as_the_official_code_does(tmp_path):
    add_simswap(tmp_path)
    x, keys = pictures()
    model = arsbench.load_manipulator("simswap", "paper", condition=x[:1])
    source = nn.functional.interpolate((x[:1] + 1) / 2, size=(224, 224), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = ((source - mean[:, None, None]) / std[:, None, None])[..., ::2, ::2]
    latent = randomised(checkpoints.ArcFace())(seen)
    wanted = randomised(generator())((x + 1) / 2, latent / latent.norm(dim=1, keepdim=True)) * 2 - 1
    torch.testing.assert_close(model.manipulate(x, keys), wanted, rtol=1e-4, atol=1e-5)


def test_a_generator_that_draws_without_its_tanh_is_warned_about(tmp_path, monkeypatch):
    """A generator whose last layer passes the (normalised) input on: right without the tanh, wrong with it."""

    class Copies(SimSwapGenerator):
        def __init__(self):
            super().__init__((4, 4, 4, 6), latent=512, blocks=1)

        def forward(self, x, identity):
            out = x if isinstance(self.last_layer[2], nn.Identity) else torch.tanh(x)
            return (out + 1) / 2

    torch.save(generator().state_dict(), tmp_path / "g.pth")
    assert checkpoints.add("simswap", tmp_path / "g.pth")[1] == ()
    monkeypatch.setattr(checkpoints, "SimSwapGenerator", Copies)
    (note,) = checkpoints.add("simswap", tmp_path / "g.pth")[1]
    assert "newer training code" in note


# --- what does not fit ----------------------------------------------------------------------------------------------


def test_keys_that_do_not_fit_are_named(tmp_path):
    state = generator().state_dict()
    state["last_layer.1.weight"] = torch.zeros(3, 9, 7, 7)
    state["down0.weight"] = state.pop("down1.0.weight")
    torch.save(state, tmp_path / "g.pth")
    with pytest.raises(ArsbenchError) as error:
        checkpoints.add("simswap", tmp_path / "g.pth")
    said = str(error.value)
    assert "1 missing (down1.0.weight); 1 unexpected (down0.weight)" in said
    assert "last_layer.1.weight [3, 9, 7, 7] instead of [3, 4, 7, 7]" in said


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("psp", "looks like a SimSwap generator: arsbench checkpoints add simswap"),
        ("arcface", "not the official ArcFace"),
    ],
)
def test_another_models_file_is_told_what_it_is(tmp_path, kind, said):
    torch.save(generator().state_dict(), tmp_path / "g.pth")
    with pytest.raises(ArsbenchError, match=said):
        checkpoints.add(kind, tmp_path / "g.pth")


def test_the_swap_of_512_pixels_is_told_for_what_it_is(tmp_path):
    state = generator().state_dict()
    state |= {"down0.0.weight": torch.zeros(4, 2, 3, 3), "up0.1.weight": torch.zeros(2, 4, 3, 3)}
    torch.save(state, tmp_path / "550000_net_G.pth")
    with pytest.raises(ArsbenchError, match=r"generator for 512 pixels.*people/latest_net_G"):
        checkpoints.add("simswap", tmp_path / "550000_net_G.pth")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((CASES / "quota.pt").read_bytes(), "is a web page"),
        (b"\xef\xbb\xbf\n  <html><body>Too many requests", "is a web page"),
        ((CASES / "lfs.pt").read_bytes(), "is a Git LFS pointer.*git lfs pull"),
        (b'{"error": "not found"}', "is a text in JSON"),
        (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (b"", "is empty"),
        (b"no checkpoint at all", "is a text and cannot be read as a PyTorch checkpoint .'no checkpoint at all'"),
        (b"/annex/objects/SHA256E-s1048576--0.pt\n", "is a git-annex pointer.*git annex get"),
        (bytes(4096), "its download was not finished"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}", "is a numpy array"),
        (b"\x08\x07\x12\x07pytorch", "cannot be read as a PyTorch checkpoint .[A-Z]"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_for_what_it_is(tmp_path, data, said):
    (tmp_path / "psp.pt").write_bytes(data)
    with pytest.raises(ArsbenchError, match=said):
        checkpoints.add("psp", tmp_path / "psp.pt")


def test_archives_other_formats_and_folders_are_told_for_what_they_are(tmp_path):
    path = psp_file(tmp_path)
    with zipfile.ZipFile(tmp_path / "psp.zip", "w") as archive:
        archive.write(path, "weights/psp.pt")
    save_file({"a": torch.zeros(2)}, tmp_path / "psp.safetensors")
    for name, said in (("psp.zip", "is a zip archive; unpack it"), ("psp.safetensors", "is a safetensors file")):
        with pytest.raises(ArsbenchError, match=said):
            checkpoints.add("psp", tmp_path / name)
    with pytest.raises(ArsbenchError, match="is a folder"):
        checkpoints.add("psp", tmp_path)


def test_a_zip_whose_directory_is_damaged_is_one_sentence(tmp_path):
    path = psp_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x09", 1))
    with pytest.raises(ArsbenchError, match="cannot be read as a PyTorch checkpoint"):
        checkpoints.add("psp", path)


def test_counters_that_older_files_lack_are_filled_in(tmp_path):
    state = {key: t for key, t in generator().state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "g.pth")
    checkpoints.add("simswap", tmp_path / "g.pth")
    assert checkpoints.load("simswap")[0]["down1.1.num_batches_tracked"] == 0


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_kept_in_its_own_precision_with_the_hash_of_its_source(tmp_path):
    torch.save(generator().half().state_dict(), tmp_path / "g.pth")
    added, _ = checkpoints.add("simswap", tmp_path / "g.pth")
    assert added.card["precision"] == "float16"
    assert added.card["source_sha256"] == file_sha256(tmp_path / "g.pth")
    assert json.loads(added.path.with_suffix(".json").read_text()) == added.card
    assert checkpoints.load("simswap")[0]["down1.0.weight"].dtype == torch.float32


def test_a_kept_file_that_is_damaged_is_found_and_not_used(tmp_path):
    add_simswap(tmp_path)
    simswap = next(found for found in kept.kept() if found.name == "simswap")
    assert kept.verify(simswap) is None
    data = bytearray(simswap.path.read_bytes())
    data[-1] ^= 1
    simswap.path.write_bytes(data)
    assert "damaged" in kept.verify(simswap)
    with pytest.raises(ArsbenchError, match=r"damaged.*add the checkpoint again"):
        arsbench.load_manipulator("simswap", "paper")


def test_a_model_without_its_checkpoint_says_how_to_add_it():
    with pytest.raises(ArsbenchError, match="arsbench checkpoints add psp FILE"):
        arsbench.load_manipulator("psp-mix", "paper")
