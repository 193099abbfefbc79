from __future__ import annotations

import csv
import io
import json
import re
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import arsbench
from arsbench.cli import execute_command
from arsbench.contracts import ArsbenchError
from arsbench.faces.delivery import to_bytes
from arsbench.leaderboard import ranks
from arsbench.leaderboard.site import build
from arsbench.leaderboard.standings import boards_of, read_entries

PICTURES = {"kind": "pictures", "class": "", "files": {}}


def board_json(site):
    (path,) = (site / "data").glob("*.json")
    return {line["name"]: line for line in json.loads(path.read_text())["lines"]}


def row_of(html, name):
    """The cells of a line of the board."""
    (row,) = [row for row in re.findall(r"<tr.*?</tr>", html, re.S) if f"entries/{name}.html" in row]
    return row


# --- numbers --------------------------------------------------------------------------------------------------------


def test_the_board_shows_the_entrys_own_numbers(site, entries):
    entry = json.loads((entries / "strong/entry.json").read_text())
    mean, low, high = entry["aggregates"]["all"]["sr_strict"]
    row = row_of((site / "index.html").read_text(), "strong")
    assert f'data-order="{mean:.9g}">{mean:.3f}<span class="interval">{low:.3f} – {high:.3f}</span>' in row
    assert board_json(site)["strong"]["metrics"]["lpips"][0] == pytest.approx(
        entry["aggregates"]["all"]["lpips"][0], rel=1e-8
    )


def test_the_tiers_are_those_that_leaderboard_show_prints(site, entries):
    lines = board_json(site)
    ranked = [name for name, line in lines.items() if line["tier"] is not None]
    assert {"brighten", "shade", "taken-back"} == set(lines) - set(ranked)
    assert {name: line["tier"] for name, line in lines.items()} == {
        one.entry.name: one.tier for one in ranks.board(ranks.entries_in(entries))
    }
    assert lines["twin-a"]["tier"] == lines["twin-b"]["tier"] == lines["strong"]["tier"] + 1


def test_the_curve_ends_at_the_number_of_the_board(site):
    html = row_of((site / "index.html").read_text(), "strong")
    told = re.search(r'aria-label="strong over the levels: [^"]*level 5 ([.\d]+)"', html)
    shown = re.search(r'data-order="([.\d]+)">\d\.\d+<span', html)
    assert float(told[1]) == pytest.approx(float(shown[1]), abs=0.005)


def test_the_heat_map_shows_every_cell_of_the_strongest_level(site, entries):
    entry = json.loads((entries / "middle/entry.json").read_text())
    html = (site / "entries/middle.html").read_text()
    table = re.search(r'<table class="heat">.*?</table>', html, re.S)[0]
    shown = re.findall(r"<td[^>]*>([.\d]+)</td>", table)
    cells = {(c["perturbation"], c["manipulator"], c["level"]): c["sr_strict"] for c in entry["by_cell"]}
    models = ["psp-mix", "psp-recon", "simswap", "styleclip"]
    kinds = ["none", "saturation", "contrast", "dropout", "gaussian_blur", "downscale", "jpeg"]
    wanted = [cells[kind, model, 0 if kind == "none" else 5] for kind in kinds for model in models]
    assert shown == [f"{value:.3f}" for value in wanted]


def test_csv_and_latex_carry_the_board(site, entries):
    (path,) = (site / "data").glob("open-*.csv")
    lines = {line["entry"]: line for line in csv.DictReader(io.StringIO(path.read_text()))}
    mean = json.loads((entries / "weak/entry.json").read_text())["aggregates"]["all"]["psnr"][0]
    assert float(lines["weak"]["psnr"]) == pytest.approx(mean, rel=1e-8)
    assert lines["brighten"]["block"] == "controls"
    (latex,) = (site / "data").glob("*.tex")
    assert r"\toprule" in latex.read_text()
    assert "twin-a" in latex.read_text()


def test_marks_say_what_to_know_first(site):
    html = (site / "index.html").read_text()
    assert "the board&#39;s own perturbations (jpeg, dropout)" in row_of(html, "middle")
    assert "does not beat both brighten and shade" in row_of(html, "weak")
    assert "withdrawn: not ranked (2026-11-24, a mistake in the code)" in row_of(html, "taken-back")
    assert "saturation</span>" in row_of(html, "strange")
    assert 'class="mark"' not in row_of(html, "strong")


def test_what_was_verified_and_when(site):
    html = (site / "entries/strong.html").read_text()
    assert "2 cells drawn by the seed 4711 computed again by arsbench 0.1.0: psp-mix/jpeg/5" in html
    assert "held: aggregates" in html
    assert "the authors' word" in (site / "entries/weak.html").read_text()


def test_only_addresses_of_the_web_become_links(site):
    html = (site / "entries/strange.html").read_text()
    assert 'href="javascript' not in html
    assert not re.search(r'href="[^"]*harmed', html)
    assert "<script>window" not in html
    assert 'href="https://example.org/paper" rel="nofollow' in (site / "entries/weak.html").read_text()


# --- boards ---------------------------------------------------------------------------------------------------------


def test_entries_that_may_not_be_compared_stand_on_boards_of_their_own(entry_maker, tmp_path):
    entry_maker(tmp_path, "a", 0.5, images=4)
    entry_maker(tmp_path, "b", 0.6, images=4)
    entry_maker(tmp_path, "small-budget", 0.6, images=4, epsilon=0.1)
    for name in ("c", "d", "older"):
        entry_maker(tmp_path, name, 0.6, images=4, protocol_hash="e" * 64)
    sections = boards_of(read_entries(tmp_path))
    assert [{standing.name for standing in section.board.standings} for section in sections] == [
        {"a", "b"},
        {"small-budget"},
        {"c", "d", "older"},  # of another protocol, and last though it is the largest
    ]
    assert all(standing.rank is None for standing in sections[2].board.standings)
    build(tmp_path, tmp_path / "site", faces=0)
    assert "There are 3 boards here" in (tmp_path / "site/index.html").read_text()
    assert "Entries of another version" in (tmp_path / "site/about.html").read_text()


def test_a_strangers_brighten_is_no_control(entry_maker, tmp_path):
    entry_maker(tmp_path, "brighten", 0.5, images=4)
    (section,) = boards_of(read_entries(tmp_path))
    assert [standing.control for standing in section.board.standings] == [False]


# --- faces ----------------------------------------------------------------------------------------------------------


def tiles(path, faces):
    """A sheet as ``[levels, faces, 4, 64, 64, 3]``."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    lines = pixels.reshape(-1, 64, faces * 4, 64, 3).swapaxes(1, 2)
    return lines.reshape(len(lines), faces, 4, 64, 64, 3)


def test_an_entry_of_pictures_shows_what_it_stores(entry_maker, tmp_path):
    x, keys = arsbench.load_faces(n=2)
    x_p = (x + 0.25).clamp(-1, 1)
    path = entry_maker(tmp_path / "in", "closed", 0.5, images=2, manipulators=("psp-mix",), method=PICTURES)
    (path / "pictures").mkdir()
    for key, pixels in zip(keys, to_bytes(x_p).numpy(), strict=True):
        Image.fromarray(pixels).save(path / "pictures" / f"{key.replace('/', '-')}.png")
    built = build(tmp_path / "in", tmp_path / "site", faces=2)
    assert built.notes == ()
    sheet = tiles(tmp_path / "site/faces/closed/psp-mix--contrast.webp", 2)
    model = arsbench.load_manipulator("psp-mix")
    at_3 = [arsbench.perturb(picture, "contrast", 3, keys) for picture in (x, x_p)]
    with torch.no_grad():
        made = [model.manipulate(picture, keys) for picture in at_3]
    assert sheet.shape[0] == 6
    for level, wanted in ((0, [x, x_p]), (3, [*at_3, *made])):
        for tile, picture in enumerate(wanted):
            off = np.abs(sheet[level, :, tile] - to_bytes(picture).numpy().astype(int)).mean()
            assert off < 6, (level, tile, off)


def test_pictures_beyond_the_budget_are_not_shown(entry_maker, tmp_path, capsys):
    _, keys = arsbench.load_faces(n=1)
    path = entry_maker(tmp_path / "in", "closed", 0.5, images=1, manipulators=("psp-mix",), method=PICTURES)
    (path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "white").save(path / "pictures" / f"{keys[0].replace('/', '-')}.png")
    assert execute_command(["leaderboard", "build", str(tmp_path / "in"), "--out", str(tmp_path / "site")]) == 0
    assert "over its budget" in capsys.readouterr().err
    assert "are not shown" in (tmp_path / "site/entries/closed.html").read_text()
    assert not (tmp_path / "site/faces").exists()


def test_a_strangers_code_is_not_run(entry_maker, tmp_path):
    path = entry_maker(tmp_path / "in", "mine", 0.5, images=1)
    (path / "code").mkdir()
    (path / "code/mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    build(tmp_path / "in", tmp_path / "site", faces=1)
    assert not (tmp_path / "ran").exists()
    assert "is not run to make these pages" in (tmp_path / "site/entries/mine.html").read_text()


# --- folders and errors ---------------------------------------------------------------------------------------------


def test_a_second_build_leaves_nothing_of_what_is_gone(entry_maker, tmp_path):
    for name in ("a", "b"):
        entry_maker(tmp_path / "in", name, 0.5, images=2)
    build(tmp_path / "in", tmp_path / "site", faces=0)
    (tmp_path / "in/b/entry.json").unlink()
    build(tmp_path / "in", tmp_path / "site", faces=0)
    assert sorted(path.name for path in (tmp_path / "site/entries").iterdir()) == ["a.html"]


def test_an_interrupted_build_is_taken_over(entry_maker, tmp_path, monkeypatch):
    for name in ("a", "b"):
        entry_maker(tmp_path / "in", name, 0.5, images=2)

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arsbench.reports.pages.write_board", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "in", tmp_path / "site", faces=0)
    (tmp_path / "in/a/entry.json").unlink()
    build(tmp_path / "in", tmp_path / "site", faces=0)
    assert [path.name for path in (tmp_path / "site/entries").iterdir()] == ["b.html"]


def test_a_folder_of_something_else_is_not_written_into(entries, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ArsbenchError, match="holds no pages of arsbench"):
        build(entries, tmp_path, faces=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: (path / "entry.json").write_text("{"), "is not of the schema"),
        (lambda path: (path / "rows.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda path: (path / "rows.parquet").unlink(), "cannot be read"),
        (lambda path: shorten(path / "rows.parquet"), "rows where its entry has"),
        (lambda path: (path / "entry.json").unlink(), "arsbench submit makes one"),
    ],
)
def test_what_cannot_be_shown_is_named_in_one_sentence(harm, said, entry_maker, tmp_path, capsys):
    harm(entry_maker(tmp_path / "in", "broken", 0.5, images=2))
    assert execute_command(["leaderboard", "build", str(tmp_path / "in"), "--out", str(tmp_path / "site")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "site").exists()


def shorten(path):
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)


def test_a_hundred_entries_in_half_a_minute_and_a_small_index(entry_maker, tmp_path):
    for i in range(98):
        entry_maker(tmp_path / "in", f"method-{i:03d}", 0.2 + 0.008 * i, images=20, verified=i % 3)
    for name, strength in (("brighten", 0.5), ("shade", 0.55)):
        own = {"kind": "code", "class": f"arsbench:{name}", "files": {}}
        entry_maker(tmp_path / "in", name, strength, images=20, method=own)
    began = time.process_time()
    built = build(tmp_path / "in", tmp_path / "site", faces=0)
    assert time.process_time() - began < 30
    assert built.entries == 100
    assert (tmp_path / "site/index.html").stat().st_size < 1_000_000
    assert len(list((tmp_path / "site/entries").iterdir())) == 100


def test_a_failed_verification_says_what_was_expected(entry_maker, tmp_path):
    path = entry_maker(tmp_path / "in", "mine", 0.5, images=2, verified=1)
    (found,) = json.loads((path / "verification.json").read_text())
    check = {"name": "replay", "passed": False, "expected": "0.9944", "got": "1.0084"}
    (path / "verification.json").write_text(json.dumps([found, {**found, "checks": [check], "passed": False}]))
    build(tmp_path / "in", tmp_path / "site", faces=0)
    page = (tmp_path / "site/entries/mine.html").read_text()
    assert "replay: expected 0.9944, got 1.0084" in page
    assert page.index("badge failed") < page.index("held: aggregates")  # the latest first
    assert 'title="the last verification failed: not ranked"' in (tmp_path / "site/index.html").read_text()
