"""The report says what was measured, in text and on a page that needs nothing from elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from features.times import instant
from training.evaluate import Evaluation, Outcomes, Predictions, evaluate
from training.figures import figures
from training.report import Report, TopFeature, html, text

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects text, tags and outgoing references; fails on tags that do not match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.references += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def evaluation(*, values: bool = True, won: float = 0.3, rows: int = 400) -> Evaluation:
    draw = np.random.default_rng(4)
    probability = draw.uniform(2 * won - 1 if won > 0.5 else 0, min(1, 2 * won), rows)
    converted = draw.random(rows) < probability
    value = np.where(converted, draw.lognormal(8, 1, rows), 0.0) if values else None
    start = instant("2024-03-01")
    outcomes = Outcomes(
        (np.arange(rows) // 2).astype(str),
        start + np.arange(rows) * 3_600_000_000,
        converted,
        value,
    )
    contenders = [
        Predictions("base rate", np.full(rows, won)),
        Predictions("LightGBM", probability, probability * 1000 if values else None),
        Predictions("scorecard", np.clip(probability + draw.normal(0, 0.1, rows), 0, 1)),
    ]
    return evaluate(outcomes, contenders, main="LightGBM", replicates=20)


REPORT = Report(
    title="Loans <of> the bank",
    source="bpic2012 & friends",
    target="approved within 30 days",
    timeline="train |#####     |\ntest  |      >>>|",
    evaluation=evaluation(),
    random_split={"auc": 0.861, "log_loss": 0.4014, "lift": 2.91},
    ceiling={"auc": 0.8013, "log_loss": 0.4921, "calibration_error": 0.0031},
    training={"rows": 181_234, "data digest": "sha256:0123abcd", "model": "250 trees"},
    calibration="beta map, kept",
    features=[TopFeature("count_call_30d", "calls completed in the last 30 days", 0.213)],
    notes=["values are missing for 3 % of the won deals"],
)


def page_words(report: Report) -> str:
    return " ".join(" ".join(Page(html(report)).words).split())


@pytest.mark.parametrize("render", [text, page_words])
def test_everything_measured_is_said(render) -> None:
    found = render(REPORT)
    measured = REPORT.evaluation.measures["LightGBM"]
    difference = REPORT.evaluation.differences["scorecard"]["log_loss"]
    for said in (
        "Loans <of> the bank",
        "bpic2012 & friends",
        "approved within 30 days",
        "2024-03-01 to 2024-03-17: 400 rows of 200 leads",
        f"{REPORT.evaluation.conversions} converted",
        "beta map, kept",
        "values are missing for 3 % of the won deals",
        f"{measured['auc'].value:.3f} [{measured['auc'].low:.3f}, {measured['auc'].high:.3f}]",
        f"{measured['log_loss'].value:.4f}",
        f"{measured['value_at_capacity'].value:.3f}",
        *("0.861", "0.4014", "2.91", "0.801", "0.4921", "0.0031"),
        f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]",
        "LightGBM is better",
        *(f"{100 * line.observed:.1f} %" for line in REPORT.evaluation.reliability),
        *("count_call_30d", "calls completed in the last 30 days", "21.3 %"),
        *("181,234", "sha256:0123abcd", "250 trees"),
    ):
        assert said in found, said


def test_text_fits_a_terminal_and_keeps_the_timeline() -> None:
    long = "a sentence that goes on about what was counted and over which window of time " * 3
    wide = replace(REPORT, features=[TopFeature("count", long, 0.1)], notes=[long])
    found = text(wide)
    assert max(map(len, found.splitlines())) <= 100
    assert "  train |#####     |\n  test  |      >>>|\n" in found
    assert " ".join(long.split()) in " ".join(found.split())


def test_contenders_stand_in_order_of_log_loss() -> None:
    block = text(REPORT).split("Contenders\n")[1].split("\n\n")[0].splitlines()[2:]
    losses = {name: m["log_loss"].value for name, m in REPORT.evaluation.measures.items()}
    names = [line.split("  ")[1] for line in block]
    assert names == sorted(losses, key=lambda name: losses[name] or math.inf)


def test_a_worse_main_is_called_worse() -> None:
    found = REPORT.evaluation
    turned = {
        name: {m: replace(e, value=-e.value, low=-e.high, high=-e.low) for m, e in of.items()}
        for name, of in found.differences.items()
    }
    assert "LightGBM is worse" in text(
        replace(REPORT, evaluation=replace(found, differences=turned))
    )


def test_the_page_is_whole_and_loads_nothing() -> None:
    page = Page(html(REPORT))
    assert page.open == []
    assert page.tags.count("svg") == page.tags.count("figure") == 3
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(reference.startswith("#") for reference in page.references)
    assert "@import" not in html(REPORT)
    assert "url(http" not in html(REPORT)
    assert "of" not in page.tags  # the title is escaped


def test_the_figures_name_their_curves() -> None:
    words = page_words(REPORT)
    for curve in ("LightGBM, by probability (", "oracle (", "scorecard (", "base rate (20.0 %)"):
        assert curve in words


def test_the_same_report_gives_the_same_page() -> None:
    assert html(REPORT) == html(replace(REPORT, evaluation=evaluation()))


@pytest.mark.parametrize(
    ("found", "count"),
    [
        (evaluation(values=False), 2),
        (evaluation(won=0.0), 1),
        (evaluation(won=1.0, rows=4), 3),
        (evaluation(rows=2), 3),
    ],
)
def test_poor_data_still_give_a_report(found: Evaluation, count: int) -> None:
    bare = Report("t", "s", "g", "", found)
    assert len(figures(found)) == count
    assert Page(html(bare)).tags.count("svg") == count
    assert "random split" not in text(bare)
    assert "ceiling" not in text(bare)
    assert "nan" not in text(bare).lower()
