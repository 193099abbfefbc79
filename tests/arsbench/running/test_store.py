from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arsbench.contracts import ArsbenchError
from arsbench.rows import COLUMNS
from arsbench.running import store
from arsbench.running.manifest import Failure, failure_documents
from arsbench.running.plan import Image, Severity, make_plan
from arsbench.running.status import status
from arsbench.running.store import MemoryStore, RunFolder

IMAGES = [Image(key, key * 2) for key in "cab"]


def make(**changes):
    parts = {
        "protocol_hash": "h",
        "track": "open",
        "epsilon": 0.3,
        "seed": 0,
        "device": "cpu",
        "protectors": {"q": {"g": ["q"]}, "p": {"g": ["p"]}},
        "manipulators": {"g": ["g"]},
        "severities": [Severity(), Severity("fade", 1, 0.5, "code")],
        "images": IMAGES,
    }
    return make_plan(**(parts | changes))


PLAN = make()


def columns(labels, mse=0.0):
    """Rows of ((protector, perturbation, level), image)."""
    made = {c.name: [{"str": "", "int64": 0, "float64": mse}[c.dtype]] * len(labels) for c in COLUMNS}
    made["protector"] = [label[0] for label, _ in labels]
    made["manipulator"] = ["g"] * len(labels)
    made["perturbation"] = [label[1] for label, _ in labels]
    made["level"] = [label[2] for label, _ in labels]
    made["image"] = [image for _, image in labels]
    made["epsilon"] = [0.3] * len(labels)
    return made


LABELS = [(p, *t) for p in "qp" for t in (("none", 0), ("fade", 1))]
EVERYTHING = [(label, image) for image in "bca" for label in reversed(LABELS)]


def opened(folder, plan=PLAN):
    return RunFolder(folder, plan, {"protocol_hash": "h"})


@pytest.fixture
def whole(tmp_path):
    with opened(tmp_path / "run") as run:
        for label in EVERYTHING:
            run.append(columns([label]))
    return tmp_path / "run"


def parts(run):
    return sorted((run / "parts").glob("*.parquet"))


def test_rows_come_in_the_plans_order(whole):
    rows = store.read_rows(whole)
    found = list(zip(rows.protector, rows.perturbation, rows.image, strict=True))
    assert found == [(p, t, image) for p, t, _ in LABELS for image in "cab"]


def test_rows_have_the_documented_columns(whole):
    rows = store.read_rows(whole)
    kinds = {"str": "object", "int64": "int64", "float64": "float64"}
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == {c.name: kinds[c.dtype] for c in COLUMNS}


def test_strings_are_plain(whole):
    assert type(store.read_rows(whole).image[0]) is str


def test_no_rows_have_the_columns_too(tmp_path):
    opened(tmp_path / "run").close()
    assert list(store.read_rows(tmp_path / "run").columns) == [c.name for c in COLUMNS]


def test_done_says_which_rows_exist(tmp_path):
    with opened(tmp_path / "run") as run:
        run.append(columns([(LABELS[1], "a")]))
        expected = np.zeros((4, 3), dtype=bool)
        expected[1, 1] = True
        assert (run.done() == expected).all()


def test_a_row_stored_twice_counts_once(tmp_path):
    with opened(tmp_path / "run") as run:
        for _ in range(2):
            run.append(columns([(LABELS[0], "a")]))
        assert len(run.rows()) == 1


def test_memory_gives_the_same_rows(whole):
    memory = MemoryStore(PLAN)
    memory.append(columns(EVERYTHING))
    assert memory.rows().equals(store.read_rows(whole))


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", None])
def test_a_corrupt_part_is_set_aside(whole, content):
    part = parts(whole)[0]
    part.write_bytes(part.read_bytes()[:-30] if content is None else content)
    with opened(whole) as run:
        assert run.done().sum() == len(EVERYTHING) - 1
        assert len(run.notes) == 1
        assert part.with_suffix(".corrupt").exists()


def test_a_part_of_other_columns_is_set_aside(whole):
    table = pq.read_table(parts(whole)[0], partitioning=None)
    pq.write_table(table.drop_columns(["image"]), parts(whole)[0])
    with opened(whole) as run:
        assert run.done().sum() == len(EVERYTHING) - 1


def test_reading_a_corrupt_part_says_what_to_do(whole):
    parts(whole)[0].write_bytes(b"")
    with pytest.raises(ArsbenchError, match="start the run again"):
        store.read_rows(whole)


def test_leftovers_of_a_killed_process_are_ignored(whole):
    leftover = whole / "parts" / ".x.parquet.12.tmp"
    leftover.write_bytes(b"half a part")
    with opened(whole) as run:
        assert run.done().all()
    assert not leftover.exists()


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path):
    with opened(tmp_path / "run") as run:
        broken = columns([(LABELS[0], "a")]) | {"level": ["no number"]}
        with pytest.raises(Exception, match="no number"):
            run.append(broken)
        assert list((tmp_path / "run" / "parts").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epsilon": 0.1}, "epsilon: 0.3 there, 0.1 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"images": IMAGES[:2]}, "other images: 3 there, 2 here"),
        ({"protectors": {"p": {"g": ["p"]}}}, "protectors: q, p there, p here"),
        ({"severities": [Severity()]}, "other perturbations or levels"),
        ({"manipulators": {"g": ["edited"]}}, "code or weights have changed"),
    ],
)
def test_the_folder_of_another_plan_is_refused(whole, changes, said):
    with pytest.raises(ArsbenchError, match=said):
        opened(whole, make(**changes))


def test_rows_without_manifest_are_refused(whole):
    (whole / "manifest.json").unlink()
    with pytest.raises(ArsbenchError, match="holds rows but no"):
        opened(whole)


def test_a_broken_manifest_is_one_sentence(whole):
    (whole / "manifest.json").write_text("{")
    with pytest.raises(ArsbenchError, match="cannot be read"):
        opened(whole)


def test_two_processes_do_not_write_at_once(whole):
    with opened(whole), pytest.raises(ArsbenchError, match="another process is writing"):
        opened(whole)


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArsbenchError, match="cannot be written"):
        opened(tmp_path / "file" / "run")


def test_no_run_is_one_sentence(tmp_path):
    with pytest.raises(ArsbenchError, match=r"is not a run"):
        store.read_rows(tmp_path)


def test_failed_cells_are_left_out(whole):
    with opened(whole) as run:
        run.update(failures=failure_documents([Failure("it broke", "p", "g")]))
    assert set(store.read_rows(whole).protector) == {"q"}
    assert set(store.read_rows(whole, failed=True).protector) == {"p", "q"}


def test_status_counts_cells(whole):
    shutil.rmtree(whole / "parts")
    with opened(whole) as run:
        run.append(columns([(LABELS[0], image) for image in "abc"] + [(LABELS[1], "a")]))
        run.update(failures=failure_documents([Failure("it broke", "p", "g", "fade", 1)]), state="failed")
    found = status(whole)
    assert (found.done, found.missing, found.failed, found.rows, found.rows_planned) == (1, 2, 1, 4, 12)
    assert found.failures == ["it broke"]


def test_the_manifest_is_json_with_the_plan(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["plan"]["images"] == {"c": "cc", "a": "aa", "b": "bb"}


def test_a_run_from_before_the_identity_columns_can_be_read(whole):
    for path in parts(whole):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.drop_columns(["identity_cosine", "identity_distance"]), path)
    rows = store.read_rows(whole)
    assert len(rows) == len(EVERYTHING)
    assert list(rows.columns) == [c.name for c in COLUMNS]
    assert rows.identity_distance.isna().all()


@pytest.mark.parametrize(("before", "now", "notes"), [("a 1", "a 2", 1), ("a 1", "a 1", 0), (None, "a 1", 0)])
def test_a_run_that_goes_on_with_another_jpeg_library_says_so(tmp_path, before, now, notes):
    RunFolder(tmp_path, PLAN, {"versions": {"jpeg": before}}).close()
    with RunFolder(tmp_path, PLAN, {"versions": {"jpeg": now}}) as run:
        assert len(run.notes) == notes
        assert all(f"began with {before} and goes on with {now}" in note for note in run.notes)


@pytest.mark.parametrize(
    "harm",
    [
        lambda plan: plan["cells"][0].pop("level"),
        lambda plan: plan["cells"][0].update(level="1"),
        lambda plan: plan["cells"][0].update(protector=None),
        lambda plan: plan.update(images=[1, 2]),
        lambda plan: plan.pop("track"),
    ],
)
def test_a_manifest_whose_plan_is_damaged_is_one_sentence(whole, harm):
    document = json.loads((whole / "manifest.json").read_text())
    harm(document["plan"])
    (whole / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(ArsbenchError, match="cannot be read"):
        store.read_rows(whole)


def test_a_part_whose_texts_are_damaged_is_set_aside(whole):
    table = pq.read_table(parts(whole)[0], partitioning=None)
    texts = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    at = table.column_names.index("protector")
    pq.write_table(table.set_column(at, table.schema.field("protector"), texts), parts(whole)[0])
    with opened(whole) as run:
        assert run.done().sum() == len(EVERYTHING) - 1
        assert len(run.notes) == 1
