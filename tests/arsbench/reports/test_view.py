from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

import arsbench
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import to_bytes
from arsbench.reports.view import view


@pytest.fixture
def run(small, tmp_path):
    """A run of three faces with one protector, under two perturbations at level 5."""
    arsbench.run(**(small | {"images": 3}), out=tmp_path / "run")
    return tmp_path / "run"


def listed(page):
    """The images of a page's list, with how many of their cells held."""
    table = re.search(r'<table class="board images">.*?</table>', page.read_text(), re.S)[0]
    return re.findall(r'<th scope="row" data-order="([^"]+)">.*?data-order="([.\d]+)"', table, re.S)


def test_a_run_as_pages(run, tmp_path):
    written = view(run, tmp_path / "pages", faces=1)
    assert written.index == tmp_path / "pages/index.html"
    assert written.notes == ()
    images = listed(tmp_path / "pages/push.html")
    held = [float(count) for _, count in images]
    assert held == sorted(held)
    assert len(images) == 3
    index = written.index.read_text()
    assert all(f'href="{name}.html"' in index for name in ("push", "none", "noise", "brighten", "shade", "white"))
    assert (tmp_path / "pages/data/push-images.csv").read_text().count("\n") == 4


def test_the_worst_faces_are_those_that_the_run_computed(run, fake, tmp_path):
    view(run, tmp_path / "pages", faces=2)
    worst = [image for image, _ in listed(tmp_path / "pages/push.html")][:2]
    sheet = np.asarray(Image.open(tmp_path / "pages/faces/push/mirror--dropout.webp").convert("RGB")).astype(int)
    assert sheet.shape == (2 * 64, 2 * 4 * 64, 3)
    x, keys = arsbench.load_faces(n=3)
    at = keys.index(worst[1])
    x, keys = x[at : at + 1], [keys[at]]
    model = arsbench.load_manipulator(fake("Mirror"))
    x_p = arsbench.load_protector(fake("Push"), model).protect(x, keys).detach()
    px_p = arsbench.perturb(x_p, "dropout", 5, keys)
    for line, column, picture in ((0, 5, x_p), (1, 5, px_p), (1, 7, model.manipulate(px_p, keys))):
        tile = sheet[64 * line : 64 * (line + 1), 64 * column : 64 * (column + 1)]
        # WebP blurs the single black pixels of a dropout most.
        assert np.abs(tile - to_bytes(picture)[0].numpy().astype(int)).mean() < 25


def test_a_run_that_cannot_be_computed_again_still_has_its_numbers(run, tmp_path, capsys):
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace("fakes.py:Push", "gone.py:Push"))
    assert execute_command(["view", str(run), "--out", str(tmp_path / "pages"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "gone.py does not exist" in told["notes"][0]
    page = (tmp_path / "pages/push.html").read_text()
    assert "cannot be made again" in page
    assert 'class="heat"' in page


def test_a_void_and_an_unfinished_run_say_so(small, fake, tmp_path):
    with pytest.warns(UserWarning, match="void"):
        arsbench.run(**(small | {"images": 2, "manipulator": fake("Loud")}), out=tmp_path / "void")
    view(tmp_path / "void", tmp_path / "pages", faces=0)
    assert "This run is void" in (tmp_path / "pages/index.html").read_text()
    with pytest.warns(UserWarning, match="raises"):
        arsbench.run(**(small | {"images": 2, "protector": f"{fake('Push')},{fake('Raises')}"}), out=tmp_path / "short")
    view(tmp_path / "short", tmp_path / "pages", faces=0)
    index = (tmp_path / "pages/index.html").read_text()
    assert "This run is not complete: 85.7 % of its 42 rows are there" in index
    assert "void" not in index


def test_every_budget_has_a_board_and_pages(small, tmp_path):
    arsbench.run(**(small | {"images": 2}), epsilon="0.1,0.3", out=tmp_path / "run")
    view(tmp_path / "run", tmp_path / "pages", faces=1)
    index = (tmp_path / "pages/index.html").read_text()
    assert "Track open, epsilon 0.1, 2 images" in index
    assert "Track open, epsilon 0.3, 2 images" in index
    linf = {}
    for epsilon in ("0.1", "0.3"):
        page = tmp_path / f"pages/push--epsilon-{epsilon}.html"
        assert page.name in index
        sheet = tmp_path / f"pages/faces/push--epsilon-{epsilon}/mirror--dropout.webp"
        pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
        linf[epsilon] = np.abs(pixels[:64, 64:128] - pixels[:64, :64]).mean()
    assert linf["0.1"] < 0.6 * linf["0.3"]


def test_a_protector_made_against_another_model_stands_on_a_line_of_its_own(small, fake, tmp_path):
    models = f"{fake('Mirror')},{fake('Loud')}"
    with pytest.warns(UserWarning, match="void"):
        arsbench.run(**(small | {"images": 1, "manipulator": models}), trained_on=fake("Mirror"), out=tmp_path / "run")
    view(tmp_path / "run", tmp_path / "pages", faces=1)
    assert "push made against mirror" in (tmp_path / "pages/index.html").read_text()
    page = (tmp_path / "pages/push--mirror.html").read_text()
    assert "<option>loud</option>" in page
    assert "<option>mirror</option>" not in page


def test_one_sentence_for_what_is_no_run(tmp_path, capsys):
    assert execute_command(["view", str(tmp_path / "nothing"), "--out", str(tmp_path / "pages")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "pages").exists()


def test_fewer_than_no_faces(run, tmp_path):
    with pytest.raises(ArsbenchError, match="faces is -1"):
        view(run, tmp_path / "pages", faces=-1)
