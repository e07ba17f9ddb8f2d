"""A virtual environment for each peer whose packages are not ours, made on the first run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parent / ".peers"


def python_of(name: str, packages: tuple[str, ...]) -> Path:
    """The interpreter of the environment ``name`` that holds ``packages``; ours without any.

    Raises ``subprocess.CalledProcessError`` when the packages do not install.
    """
    if not packages:
        return Path(sys.executable)
    home = CACHE / name
    python, stamp = home / "bin" / "python", home / ".installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(packages):
        if shutil.which("uv"):
            install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
            make = ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(home)]
        else:
            install = [str(python), "-m", "pip", "install", "--quiet"]
            make = [sys.executable, "-m", "venv", "--clear", str(home)]
        subprocess.run(make, check=True)
        subprocess.run([*install, *packages], check=True)
        stamp.write_text("\n".join(packages))
    return python
