"""Build sdist and wheel, install the wheel in an environment of its own, and use it far from the source.

The wheel is built from the sdist, so that a file that the sdist lacks is noticed. `make wheel` calls this.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"

CALLS = """\
cmcr --version
cmcr simulate demo --size 256 --seed 22 --cloud-cover 0.3
cmcr info demo/s2.tif demo/s1.tif
cmcr remove demo/s2.tif demo/s1.tif -o clear.tif --provenance which.tif --quicklook a.png --report a.html
cmcr validate clear.tif --source demo/s2.tif --provenance which.tif
cmcr mask demo/s2.tif -o mask.tif
cmcr info --verify clear.tif
python -m pip check
python -c "import cmcr_cli; assert 'site-packages' in cmcr_cli.__file__, cmcr_cli.__file__"
"""
"""What is tried, in an empty folder."""

MADE = ("clear.tif", "which.tif", "a.png", "a.html", "mask.tif")


def main() -> None:
    """Build, install and try the package; ends with the exit code of the first call that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-index", required=True, help="Package index with the CPU build of torch.")
    torch_index = parser.parse_args().torch_index
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        builder = _environment(place / "builder")
        _call([builder / "pip", "install", "--quiet", "build"])
        _call([builder / "python", "-m", "build", "--outdir", ROOT / "dist", ROOT])
        wheel = max((ROOT / "dist").glob("cmcr-*.whl"), key=lambda path: path.stat().st_mtime)
        _check_content(wheel)
        fresh = _environment(place / "fresh")
        pip: list[str | Path] = [fresh / "pip", "install", "--quiet", "--constraint", CONSTRAINTS]
        _call([*pip, "--no-deps", "--extra-index-url", torch_index, "--retries", "1", "torch"])
        _call([*pip, wheel])
        empty = place / "empty"
        empty.mkdir()
        for line in CALLS.splitlines():
            name, *words = shlex.split(line)
            _call([fresh / name, *words], empty)
        missing = [name for name in MADE if not (empty / name).stat().st_size]
        if missing:
            sys.exit(f"{wheel.name}: not written: {', '.join(missing)}")
    print(f"{wheel.relative_to(ROOT)} works")


def _environment(folder: Path) -> Path:
    """Make a virtual environment; the folder of its commands."""
    _call([sys.executable, "-m", "venv", folder])
    return folder / ("Scripts" if os.name == "nt" else "bin")


def _call(words: list[str | Path], folder: Path = ROOT) -> None:
    # Nothing of the environment around may stand in for what the wheel lacks.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    print("$", *words, flush=True)
    ended = subprocess.run(list(map(str, words)), cwd=folder, env=environment, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


def _check_content(wheel: Path) -> None:
    """The package and its weights, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    weights = [name for name in names if name.endswith(".safetensors")]
    foreign = [name for name in names if not name.startswith("cmcr")]
    if len(weights) != 1 or foreign or not any(name.endswith("/LICENSE") for name in names):
        sys.exit(f"{wheel.name}: expected the package, one file of weights, the licence; found {foreign}")


if __name__ == "__main__":
    main()
