from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arsbench.faces.lossless import read_exact, write_exact
from arsbench.leaderboard import verify as verifying
from arsbench.leaderboard.verify import verify
from arsbench.running.store import SCHEMA


def failed(verification):
    return {check.name: check for check in verification.checks if not check.passed}


@pytest.mark.parametrize("kind", ["code-entry", "pictures-entry"])
def test_an_honest_entry_passes_tier_0(made, kind):
    found = verify(made / kind, 0)
    assert failed(found) == {}
    assert {"files", "schema", "hashes", "protocol", "weights", "completeness", "aggregates"} <= {
        check.name for check in found.checks
    }


@pytest.mark.parametrize("kind", ["code-entry", "pictures-entry"])
def test_an_honest_entry_passes_tier_1(made, kind):
    found = verify(made / kind, 1, cells=2)
    assert failed(found) == {}
    assert len(found.cells) == 2
    assert found.seed is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["code-entry", "pictures-entry"])
def test_an_honest_entry_passes_tier_2(made, kind):
    found = verify(made / kind, 2)
    assert failed(found) == {}
    assert len(found.cells) == 4 * 31


def test_nobody_knows_beforehand_which_cells_are_replayed(made):
    prepared = verifying.whole_grid("open", 2)
    drawn = [tuple(verifying._draw(prepared, seed, 6)) for seed in range(20)]
    assert len(set(drawn)) == 20
    assert drawn[3] == tuple(verifying._draw(prepared, 3, 6))


# --- tier 0 finds --------------------------------------------------------------------------------------------------


def test_one_changed_aggregate(code_entry, forge):
    forger = forge(code_entry)
    aggregates = forger.document["aggregates"]
    mean = aggregates["all"]["sr_strict"][0]
    aggregates["all"]["sr_strict"][0] = mean + 0.01
    forger.set(aggregates=aggregates)
    (check,) = failed(verify(code_entry, 0)).values()
    assert check.name == "aggregates"
    assert check.expected == f"all sr_strict mean {mean}"
    assert check.got == f"all sr_strict mean {mean + 0.01}"


def test_one_changed_mean_of_a_cell(code_entry, forge):
    forger = forge(code_entry)
    cells = forger.document["by_cell"]
    cells[7]["lpips"] += 0.01
    forger.set(by_cell=cells)
    assert list(failed(verify(code_entry, 0))) == ["aggregates"]


def test_one_changed_row(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    rows.loc[5, "protected_l2"] += 1
    forger.write_rows(rows, reseal=False)
    assert "hashes" in failed(verify(code_entry, 0))


def test_one_changed_row_though_everything_was_made_to_fit(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    row = rows.index[(rows["sr_strict"] == 0) & (rows["level"] == 5)][0]
    rows.loc[row, "sr_strict"] = 1.0
    forger.write_rows(rows)
    assert list(failed(verify(code_entry, 0))) == ["consistency"]


def test_a_swapped_picture(pictures_entry):
    first, second = sorted((pictures_entry / "pictures").glob("*.png"))
    shutil.copyfile(second, first)
    assert "hashes" in failed(verify(pictures_entry, 0))


def test_a_swapped_picture_with_its_hash(pictures_entry, forge):
    first = sorted((pictures_entry / "pictures").glob("*.png"))[0]
    pixels = read_exact(first, 64).copy()
    pixels[:8] = 255 - pixels[:8] // 2
    write_exact(first, pixels)
    forge(pictures_entry).rehash()
    check = failed(verify(pictures_entry, 0))["pictures"]
    assert check.expected.startswith(("changes of at most 0.3", "protected_mse"))


def test_a_picture_within_the_budget_that_is_not_the_one_of_the_rows(pictures_entry, forge):
    first = sorted((pictures_entry / "pictures").glob("*.png"))[0]
    pixels = read_exact(first, 64).copy()
    pixels[:8] = np.clip(pixels[:8].astype(int) + 5, 0, 255).astype(np.uint8)
    write_exact(first, pixels)
    forge(pictures_entry).rehash()
    assert failed(verify(pictures_entry, 0))["pictures"].expected.startswith("protected_mse")


def test_the_same_picture_for_two_faces(pictures_entry, forge, monkeypatch):
    first, second = sorted((pictures_entry / "pictures").glob("*.png"))
    shutil.copyfile(second, first)
    forger = forge(pictures_entry)
    forger.rehash()
    # Whatever the budget says: two faces never share a picture.
    monkeypatch.setattr("arsbench.leaderboard.offline.TOLERANCE", 2)
    assert failed(verify(pictures_entry, 0))["pictures"].expected == "different pictures"


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"protocol_hash": "0" * 64}, "protocol"), ({"epsilon": 0.31}, "protocol"), ({"seed": 1}, "protocol")],
)
def test_another_protocol(code_entry, forge, changes, name):
    forge(code_entry).set(**changes)
    assert name in failed(verify(code_entry, 0))


def test_an_epsilon_of_31_in_the_rows_alone(code_entry, forge):
    forger = forge(code_entry)
    forger.write_rows(forger.rows().assign(epsilon=0.31))
    assert failed(verify(code_entry, 0))["completeness"].got == "epsilon 0.31"


def test_manipulators_of_another_version(code_entry, forge):
    forger = forge(code_entry)
    forger.set(weights_sha256={**forger.document["weights_sha256"], "manipulator psp-mix": "0" * 64})
    assert "psp-mix" in failed(verify(code_entry, 0))["weights"].got


def test_a_missing_cell(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    gone = (rows["manipulator"] == "simswap") & (rows["perturbation"] == "jpeg") & (rows["level"] == 5)
    forger.write_rows(rows[~gone])
    assert "246 rows" in failed(verify(code_entry, 0))["rows"].got


def test_a_cell_in_place_of_another(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    gone = (rows["manipulator"] == "simswap") & (rows["perturbation"] == "jpeg") & (rows["level"] == 5)
    rows.loc[gone, "perturbation"] = "mild-jpeg"
    forger.write_rows(rows)
    check = failed(verify(code_entry, 0))["completeness"]
    assert "simswap / jpeg / 5" in check.expected


def test_a_duplicated_image(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    rows["image"] = rows["image"].iloc[0]
    forger.write_rows(rows, reseal=False)
    forger.set(rows_sha256=forger.hash("rows.parquet"))
    assert failed(verify(code_entry, 0))["completeness"].got.startswith("twice: ")


def test_faces_of_ones_own_choice(code_entry, forge):
    forger = forge(code_entry)
    rows = forger.rows()
    rows["image"] = rows["image"].str.replace("12001", "12007")
    forger.write_rows(rows)
    assert failed(verify(code_entry, 0))["completeness"].got == "image open/test/12007"


def test_a_name_with_path_separators(code_entry, forge):
    forge(code_entry).set(name="../../somewhere")
    assert "name" in failed(verify(code_entry, 0))["schema"].got


def test_a_symbolic_link_out_of_the_folder(code_entry):
    (code_entry / "code" / "weights.npz").symlink_to("/etc/hostname")
    assert failed(verify(code_entry, 0))["files"].got == "code/weights.npz is a symbolic link; " + (
        "an entry holds plain files alone"
    )


def test_a_file_that_nobody_listed(code_entry):
    (code_entry / "code" / "more.py").write_text("")
    assert "code/more.py" in failed(verify(code_entry, 0))["hashes"].got


def test_a_json_of_a_gigabyte(code_entry):
    with (code_entry / "entry.json").open("r+b") as file:
        file.truncate(1_000_000_000)
    assert "1000000000 bytes" in failed(verify(code_entry, 0))["schema"].got


def test_a_json_a_thousand_levels_deep(code_entry):
    (code_entry / "entry.json").write_text('{"a":' * 1000 + "1" + "}" * 1000)
    assert "recursion" in failed(verify(code_entry, 0))["schema"].got


def test_a_broken_verification_file(code_entry):
    (code_entry / "verification.json").write_text(json.dumps([{"tier": 9}]))
    assert "tier" in failed(verify(code_entry, 0))["hashes"].got


def test_a_parquet_bomb_of_rows(code_entry, forge):
    rows = 20_000_000
    pq.write_table(pa.table({"image": pa.repeat("x", rows)}), code_entry / "rows.parquet", compression="zstd")
    forger = forge(code_entry)
    forger.set(rows_sha256=forger.hash("rows.parquet"))
    assert (code_entry / "rows.parquet").stat().st_size < 100_000
    assert "has 20000000 rows" in failed(verify(code_entry, 0))["rows"].got


def test_a_parquet_bomb_of_values(code_entry, forge):
    forger = forge(code_entry)
    table = pa.Table.from_pandas(forger.rows(), schema=SCHEMA, preserve_index=False)
    # 248 times the same 16 MB: a small file that unpacks to 4 GB.
    large = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), pa.array(["a" * (16 << 20)]))
    table = table.set_column(table.column_names.index("image"), "image", large)
    pq.write_table(table, code_entry / "rows.parquet", compression="zstd", store_schema=False)
    forger.set(rows_sha256=forger.hash("rows.parquet"))
    assert (code_entry / "rows.parquet").stat().st_size < 200_000
    assert "memory" in failed(verify(code_entry, 0))["rows"].got


def test_what_is_no_parquet(code_entry, forge):
    (code_entry / "rows.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    forger = forge(code_entry)
    forger.set(rows_sha256=forger.hash("rows.parquet"))
    assert "cannot be read as parquet" in failed(verify(code_entry, 0))["rows"].got


# --- tier 1 finds --------------------------------------------------------------------------------------------------


def better(rows: pd.DataFrame) -> pd.DataFrame:
    """What a better method might have got, each row in agreement with itself."""
    mse = rows["mse"] * 1.3 + 0.1
    return rows.assign(
        mse=mse,
        psnr=-10 * np.log10(mse / 4 + 1e-8),
        sr=1.0,
        unrecovered=0.6,
        amplification=2.0,
        sr_strict=1.0,
    )


@pytest.mark.parametrize("kind", ["code-entry", "pictures-entry"])
def test_rows_of_a_better_entry_pass_tier_0_and_are_found_by_tier_1(made, tmp_path, forge, kind):
    folder = shutil.copytree(made / kind, tmp_path / "entry")
    forger = forge(folder)
    forger.write_rows(better(forger.rows()))
    assert failed(verify(folder, 0)) == {}
    found = failed(verify(folder, 1, cells=2))
    assert found
    assert all(name.startswith("replay ") for name in found)
    assert all("as submitted" in check.expected and "2 of 2 images differ" in check.got for check in found.values())


def test_a_method_that_fails_is_one_failed_check(code_entry, forge):
    (code_entry / "code" / "step.py").write_text(
        "import os\nfrom arsbench.contracts import Protector\n\nclass Step(Protector):\n    name = 'step'\n"
        "    def protect(self, x, keys):\n        os._exit(3)\n"
    )
    forge(code_entry).rehash()
    check = failed(verify(code_entry, 1, cells=1))["method"]
    assert check.got == "the method Step wanted to end the process by os._exit(3)"


def test_a_recorded_verification_is_appended(code_entry):
    for _ in range(2):
        verifying.record(code_entry, verify(code_entry, 0))
    recorded = json.loads((code_entry / "verification.json").read_text())
    assert [one["tier"] for one in recorded] == [0, 0]
    assert all(one["passed"] for one in recorded)
