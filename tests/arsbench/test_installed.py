"""arsbench in a stranger's folder, beside files of general names, with methods of one's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUN = "import arsbench; print(len(arsbench.run('noise', 'psp-recon', 'jpeg', 1, images=2)))"
COMMAND = [
    *("-m", "arsbench", "run", "--protector", "noise", "--manipulator", "psp-recon"),
    *("--perturbation", "jpeg", "--level", "1", "--images", "2"),
]


@pytest.fixture
def hostile(tmp_path):
    """A folder whose files have the names of the project's own packages, and fail when they are imported."""
    bad = "raise SystemExit('a file of the working directory was imported')\n"
    for name in ("protectors.py", "manipulators/__init__.py", "perturbations/__init__.py", "results.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(bad)
    (tmp_path / "tests").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"), [(["-c", RUN], "20\n"), (COMMAND, "run: ")], ids=["python", "command line"]
)
def test_it_runs_in_a_folder_with_files_of_general_names(hostile, arguments, said):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=hostile, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_package_of_one_file_with_an_entry_point_is_found(tmp_path):
    (tmp_path / "grey_protection.py").write_text(
        "from arsbench.contracts import Protector\n\n\n"
        "class Grey(Protector):\n"
        "    name = 'grey'\n\n"
        "    def protect(self, x, keys):\n"
        "        return x.clamp(-1 + self.epsilon, 1 - self.epsilon)\n"
    )
    about = tmp_path / "grey_protection-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grey-protection\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[arsbench.protectors]\ngrey = grey_protection:Grey\n")
    done = subprocess.run(
        [sys.executable, "-m", "arsbench", "list", "protectors", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert '"origin": "grey-protection 1.0"' in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["status", "nowhere"],
        ["list", "protectors"],
        ["list", "perturbations"],
        ["list", "manipulators"],
        ["checkpoints", "list"],
        ["list", "tracks"],
    ],
)
def test_help_status_and_list_do_not_import_torch(arguments, tmp_path):
    code = (
        "import sys; from arsbench.cli import execute_command; "
        f"execute_command({arguments!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
