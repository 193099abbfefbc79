from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import arsbench
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import to_bytes
from arsbench.reports import figures, gallery, picture_grid
from arsbench.reports.picture_grid import Block, Group


def silent(sentence):
    raise AssertionError(sentence)


@pytest.fixture
def run(small, tmp_path):
    """A run of three faces with one protector, under two perturbations at level 5."""
    arsbench.run(**(small | {"images": 3}), out=tmp_path / "run")
    return tmp_path / "run"


def pages(kind, *runs, protector=(), manipulator=(), note=silent):
    return gallery.KINDS[kind](gallery.read_recipes(runs, protector, manipulator), note)


def test_figure4_shows_what_the_run_computed(run, fake):
    ((name, ((block,),)),) = pages("figure4", run).items()
    assert name == "mirror"
    assert block.rows == ["None", "Dropout", "Gaussian\nblur"]
    assert [group.title for group in block.groups] == ["unprotected", "push"] * 3
    x, keys = arsbench.load_faces(n=3)
    model = arsbench.load_manipulator(fake("Mirror"))
    x_p = arsbench.load_protector(fake("Push"), model).protect(x[:1], keys[:1]).detach()
    px, px_p = (arsbench.perturb(picture, "dropout", 5, keys[:1]) for picture in (x[:1], x_p))
    expected = [px, model.manipulate(px, keys[:1]), px_p, model.manipulate(px_p, keys[:1])]
    shown = [column[1] for group in block.groups[:2] for column in group.columns]
    for picture, want in zip(shown, expected, strict=True):
        assert np.array_equal(picture, to_bytes(want)[0].numpy())


def test_figure3_has_a_column_per_face(run):
    ((block,),) = pages("figure3", run)[""]
    assert block.rows == ["face", "push\nprotected", "unprotected\noutput", "push\noutput"]
    assert block.columns == 3
    x, _ = arsbench.load_faces(n=3)
    assert np.array_equal(block.groups[0].columns[2][0], to_bytes(x)[2].numpy())


def test_figure3_shows_the_condition_faces(small, fake, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from arsbench.contracts import Manipulator\n"
        "class Picks(Manipulator):\n"
        "    name = 'picks'\n"
        "    def manipulate(self, x, keys): return 0.5 * x\n"
        "    def conditions(self, keys): return [self.condition_keys[3]] * len(keys)\n"
    )
    arsbench.run(**(small | {"images": 2, "manipulator": f"{mine}:Picks"}), out=tmp_path / "run")
    ((block,),) = pages("figure3", tmp_path / "run")[""]
    assert block.rows[:2] == ["face", "reference"]
    face = arsbench.load_manipulator(f"{mine}:Picks").condition_faces[3]
    assert np.array_equal(block.groups[0].columns[0][1], to_bytes(face).numpy())


def test_several_runs_stand_side_by_side(run, small, fake, tmp_path):
    arsbench.run(**(small | {"images": 2, "protector": fake("GlobalDraws")}), out=tmp_path / "other")
    ((_, ((block,),)),) = pages("figure4", run, tmp_path / "other").items()
    assert [group.title for group in block.groups] == ["unprotected", "global-draws", "push"] * 2
    arsbench.run(**(small | {"images": 2}), epsilon=0.1, out=tmp_path / "less")
    with pytest.raises(ArsbenchError, match="different budgets"):
        pages("figure4", run, tmp_path / "less")


def test_a_figure_per_manipulator_or_only_those_chosen(small, fake, tmp_path):
    models = f"{fake('Mirror')},{fake('Loud')}"
    with pytest.warns(UserWarning, match="void"):
        arsbench.run(**(small | {"images": 1, "manipulator": models}), out=tmp_path / "run")
    found = pages("figure4", tmp_path / "run")
    assert list(found) == ["mirror", "loud"]
    assert [bands[0][0].remark for bands in found.values()] == ["", "void run"]
    assert sum(len(band) for band in pages("figure3", tmp_path / "run")[""]) == 2
    assert list(pages("figure4", tmp_path / "run", manipulator=["loud"])) == ["loud"]
    with pytest.raises(ArsbenchError, match="did you mean mirror"):
        pages("figure4", tmp_path / "run", manipulator=["miror"])


def test_protectors_that_failed_are_left_out(small, fake, tmp_path):
    both = f"{fake('Push')},{fake('Raises')}"
    with pytest.warns(UserWarning, match="raises"):
        arsbench.run(**(small | {"images": 1, "protector": both}), out=tmp_path / "run")
    ((_, ((block,),)),) = pages("figure4", tmp_path / "run").items()
    assert [group.title for group in block.groups] == ["unprotected", "push"]


def test_pictures_of_ones_own(small, tmp_path):
    (tmp_path / "faces").mkdir()
    for shade in (0, 200):
        Image.new("RGB", (80, 70), (shade, 90, 90)).save(tmp_path / "faces" / f"{shade}.png")
    settings = small | {"images": None, "faces": tmp_path / "faces"}
    arsbench.run(**settings, out=tmp_path / "run")
    ((block,),) = pages("figure3", tmp_path / "run")[""]
    assert [int(column[0][0, 0, 0]) for column in block.groups[0].columns] == [0, 200]
    Image.new("RGB", (80, 70)).save(tmp_path / "faces" / "200.png")
    with pytest.raises(ArsbenchError, match=r"image '200\.png' is another or gone"):
        pages("figure3", tmp_path / "run")
    shutil.rmtree(tmp_path / "faces")
    with pytest.raises(ArsbenchError, match="cannot be made again: there is no folder"):
        pages("figure3", tmp_path / "run")


def test_a_method_that_is_gone_or_has_changed(small, fake, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(open(fake("Push").rpartition(":")[0]).read())  # noqa: PTH123, SIM115
    arsbench.run(**(small | {"images": 1, "protector": f"{mine}:Push"}), out=tmp_path / "run")
    mine.write_text(mine.read_text() + "\n# another day\n")
    said = []
    pages("figure3", tmp_path / "run", note=said.append)
    assert "have changed since" in said[0]
    mine.unlink()
    code = execute_command(["plot", "figure4", str(tmp_path / "run")])
    assert code == 2


def test_one_sentence_for_what_cannot_be_drawn(run, small, tmp_path, capsys):
    def said(*arguments):
        assert execute_command(["plot", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "did you mean figure" in said("figur4", run)
    assert "the formats are" in said("figure4", run, "--format", "gif")
    assert "--protector and --manipulator are for" in said("figure5", run, "--protector", "push")
    (run / "manifest.json").write_text((run / "manifest.json").read_text().replace("fakes.py:Push", "gone.py:Push"))
    assert "gone.py does not exist" in said("figure4", run)
    arsbench.run(**(small | {"images": 1, "protector": "none"}), out=tmp_path / "controls")
    assert "no protector but the controls" in said("figure3", tmp_path / "controls")
    arsbench.run(**(small | {"images": 1, "level": "0"}), out=tmp_path / "clean")
    assert "has none; run with --level all" in said("figure4", tmp_path / "clean")


def test_the_manifest_says_where_methods_and_faces_are_from(run, fake):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["origins"]["protectors"]["push"] == fake("Push")
    assert manifest["faces"] is None


def test_the_command_writes_files(run, capsys):
    for kind, format in (("figure4", "png"), ("figure3", "pdf")):
        assert execute_command(["plot", kind, str(run), "--format", format]) == 0
        path = run / "figures" / f"{kind}.{format}"
        assert capsys.readouterr().out == f"figure: {path}\n"
        assert path.stat().st_size > 1000


# --- the page -------------------------------------------------------------------------------------------------------


def block(methods, rows=7, name="method", size=64):
    picture = np.zeros((size, size, 3), np.uint8)
    groups = [Group([[picture] * rows] * 2, f"{name}{i}", ("input", "output"), far=i == 0) for i in range(methods + 1)]
    return Block([f"row {i}" for i in range(rows)], groups, "model")


@pytest.mark.parametrize("methods", range(1, 7))
@pytest.mark.parametrize("size", [64, 256])
def test_a_page_is_seven_inches_wide_and_its_text_stays_inside(methods, size, tmp_path):
    bands = [[block(methods, name="a_very_long_method_name", size=size)]] * 2
    figure = picture_grid.draw(bands)
    width, height = figure.get_size_inches()
    assert width <= picture_grid.PAGE_WIDTH
    assert height <= picture_grid.PAGE_HEIGHT
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(box.x0 >= 0 and box.x1 <= width * figure.dpi for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert picture_grid.side(bands) > 0.4


def test_pixels_stay_whole(tmp_path):
    picture = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy()
    figures.write(lambda: picture_grid.draw([[Block(["row"], [Group([[picture]])])]]), [tmp_path / "a.png"])
    drawn = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    colours = {tuple(c) for c in drawn.reshape(-1, 3)}
    assert {tuple(c) for c in picture.reshape(-1, 3)} <= colours
