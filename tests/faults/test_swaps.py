"""Two models taken in turn under load: whoever is answered is answered by one of them, wholly."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from features.schema import History
from serving.run import serving
from tests.bundles import shifted
from tests.serving.asking import by_id, free_port
from training import bundle

SWAPS, LEADS = 200, 4

Said = dict[str, list[dict[str, Any]]]


class Caller(Thread):
    """Asks for the same leads until it is ended; keeps what differs from what each model says."""

    def __init__(self, url: str, body: dict[str, Any], known: Said) -> None:
        super().__init__()
        self._url, self._body, self._known, self._ended = url, body, known, Event()
        self.answers: dict[str, int] = dict.fromkeys(known, 0)
        self.odd: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._ended.is_set():
                told = client.post("/v1/score", json=self._body)
                if told.status_code == 503:
                    continue
                answer = told.json()
                if answer["scores"] == self._known.get(answer["model_version"]):
                    self.answers[answer["model_version"]] += 1
                else:
                    self.odd.append(told.text)

    def end(self) -> None:
        self._ended.set()
        self.join(60)


@pytest.mark.slow
def test_every_answer_is_that_of_its_stated_model(
    directory: Path, stored: Path, history: History, today: int, tmp_path: Path
) -> None:
    shifted(directory, tmp_path / "rival", by=-1.0)
    place = tmp_path / "champion"
    bundle.place(directory, place)
    asked = by_id(history.leads["lead_id"].tolist()[-LEADS:], today)
    with (
        serving(place, stored, free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        known: Said = {}
        for source in (tmp_path / "rival", directory):
            bundle.place(source, place)
            client.post("/v1/model/reload").raise_for_status()
            told = client.post("/v1/score", json=asked).json()
            known[told["model_version"]] = told["scores"]
        first, second = known.values()
        assert all(one["probability"] != two["probability"]
                   for one, two in zip(first, second, strict=True))  # fmt: skip
        callers = [Caller(running.url, asked, known) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            for number in range(SWAPS):
                bundle.place((tmp_path / "rival", directory)[number % 2], place)
                assert client.post("/v1/model/reload").status_code == 200
        finally:
            for caller in callers:
                caller.end()
    assert not [odd for caller in callers for odd in caller.odd]
    for version in known:
        assert sum(caller.answers[version] for caller in callers) > SWAPS
