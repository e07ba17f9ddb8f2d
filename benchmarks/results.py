"""What rivals said, kept: a benchmark that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from benchmarks.protocols import Protocol, Split
from benchmarks.rivals import Rival, Said


@dataclass(frozen=True)
class Results:
    """Answers in a directory, a file for each (protocol, split, rival, data, code)."""

    directory: Path

    def said(self, protocol: str, split: Split, rival: Rival) -> Said:
        """The answer that is kept, else asked for and kept."""
        path = self.path(protocol, split, rival)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = rival.say(split)
            partial = path.with_suffix(f".{uuid4().hex}.npz")
            np.savez(partial, **{k: v for k, v in asdict(found).items() if v is not None})
            partial.rename(path)
        with np.load(path) as file:
            kept = dict(file)
        return Said(float(kept.pop("cpu")), **kept)

    def have(self, protocol: Protocol, rival: Rival) -> bool:
        """Whether a rival's answers to all splits are kept."""
        return all(self.path(protocol.name, split, rival).exists() for split in protocol.splits)

    def path(self, protocol: str, split: Split, rival: Rival) -> Path:
        """Where an answer is; the name changes with the data and with what the rival is made of."""
        about = " ".join([split.digest, rival.name, rival.key])
        name = f"{split.name}, {rival.name}, {hashlib.sha256(about.encode()).hexdigest()[:16]}.npz"
        return self.directory / protocol / name

    def forget(self, protocol: str) -> None:
        """Forget the answers to one protocol."""
        shutil.rmtree(self.directory / protocol, ignore_errors=True)
