"""The cure for a torchvision built for another torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arsbench.scoring.torchvision_cure import cure, import_with_cure

NO_OPERATORS = "import torch, torch.library\n@torch.library.register_fake('torchvision::nms')\ndef meta_nms(*a): pass\n"


def python(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter that finds modules in ``folders`` first."""
    path = f"import sys; sys.path[:0] = {[str(f) for f in folders]!r}\n"
    return subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=False)


def fake_torchvision(folder: Path, init: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("from torchvision import part\n" + init)
    (package / "part.py").write_text("import sys\nsys.part_runs = getattr(sys, 'part_runs', 0) + 1\n")
    return folder


DECLARED = """
import sys, torch
from arsbench.scoring.torchvision_cure import cure
try:
    cured = cure()
except Exception as error:
    print(type(error).__name__, error)
else:
    print("cured" if cured else "healthy", hasattr(torch.ops.torchvision, "nms"), sys.part_runs)
"""


def test_a_mismatched_torchvision_is_cured_and_its_submodules_run_again(tmp_path: Path) -> None:
    result = python(DECLARED, fake_torchvision(tmp_path, NO_OPERATORS))
    assert result.stdout.split() == ["cured", "True", "2"], result.stderr


def test_nothing_is_declared_for_a_healthy_torchvision(tmp_path: Path) -> None:
    result = python(DECLARED, fake_torchvision(tmp_path, "healthy = True\n"))
    assert result.stdout.split() == ["healthy", "False", "1"], result.stderr


@pytest.mark.parametrize("error", ["RuntimeError('CUDA driver is too old')", "ImportError('libjpeg.so.8 is missing')"])
def test_another_error_is_not_swallowed(tmp_path: Path, error: str) -> None:
    result = python(DECLARED, fake_torchvision(tmp_path, f"raise {error}\n"))
    assert result.stdout.strip() == error.replace("('", " ").rstrip("')"), result.stderr


def test_lpips_and_piq_import_in_a_fresh_interpreter_whatever_torchvision_is_installed() -> None:
    code = "from arsbench.scoring.torchvision_cure import import_with_cure as i; print(i('lpips').LPIPS, i('piq').ssim)"
    assert python(code).returncode == 0


def test_curing_twice_does_no_harm() -> None:
    assert cure() == cure()
    assert import_with_cure("torchvision").__name__ == "torchvision"


def test_a_package_that_is_not_installed_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="not_a_package_at_all"):
        import_with_cure("not_a_package_at_all")
