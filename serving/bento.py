"""A Bento: the service with a champion inside, for whoever deploys with BentoML."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import requires, version
from pathlib import Path

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before bentoml is imported

import bentoml
from packaging.requirements import Requirement

from training import bundle

ROOT = Path(__file__).parent.parent
_PACKAGES, _FILES = ("features", "training", "serving"), ("constraints.txt", "README.md")
_PYTHON = "3.12"


def build(champion: Path) -> bentoml.Bento:
    """Build ``leadcast:VERSION`` of a verified bundle into BentoML's store, and return it.

    Its Containerfile is in ``env/docker``; `bentoml containerize` makes the image. Raises
    :class:`training.bundle.BundleError`.
    """
    about, digest = bundle.verify(champion), bundle.check(champion)
    with tempfile.TemporaryDirectory(prefix="leadcast-") as directory:
        context = Path(directory)
        for name in _PACKAGES:
            shutil.copytree(ROOT / name, context / name,
                            ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        for name in _FILES:
            shutil.copy(ROOT / name, context)
        bundle.copy(champion, context / "champion")
        (context / "requirements.txt").write_text("\n".join(_pinned()) + "\n", encoding="utf-8")
        return bentoml.build(
            "serving.service:Leadcast", name="leadcast", version=digest[:12],
            labels={"source": about.source, "target": about.target,
                    "leadcast": version("leadcast")},
            build_ctx=str(context), include=["**"],
            python={"requirements_txt": "requirements.txt", "lock_packages": False},
            docker={"python_version": _PYTHON},
        )  # fmt: skip


def _pinned() -> list[str]:
    """What the service needs, PostgreSQL's driver too, each in the version that is tested."""
    wanted = [Requirement(text) for text in requires("leadcast") or ()]
    names = {one.name.lower() for one in wanted
             if one.marker is None or one.marker.evaluate({"extra": "postgres"})}  # fmt: skip
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    extras = {"psycopg": "psycopg[binary,pool]"}
    found = [line.partition("==") for line in lines if line.partition("==")[0].lower() in names]
    return [f"{extras.get(name, name)}=={pin}" for name, _, pin in found]
