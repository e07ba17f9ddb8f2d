"""Features written as text: what Python would declare, and nothing that Python could run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from features.declaration import SourceError, read_declaration
from features.feature import Feature, Where
from features.language import DeclarationError, FeatureSet, attribute, changes, events, rate
from features.source import Source
from features.times import HOUR, duration_text
from features.written import read_features
from tests.histories import FEATURE_SETS, every_feature

SELECTIONS = {
    ("events", "lead"): "events",
    ("events", "account"): "account_events",
    ("events", "others"): "other_events",
    ("changes", "lead"): "changes",
    ("outcomes", "others"): "other_outcomes",
    ("leads", "others"): "other_leads",
}


def text_of(feature: Feature) -> str:
    """A feature as a person would write it."""
    if feature.aggregate == "age":
        return "age()"
    if feature.aggregate == "attribute":
        return f"attribute({feature.column!r}, {feature.type!r})"
    window = duration_text(feature.window) if feature.window else None
    if feature.by is not None:
        outcome = "".join(f"{list(values)}, " for _, values in feature.where)
        last = "" if feature.aggregate == "open_leads" else f", window={window!r}"
        return f"{feature.aggregate}({outcome}by={text_of(feature.by)}{last})"
    select = SELECTIONS[feature.source, feature.scope]
    given = {"column": feature.column, "back": feature.back, "window": window}
    if feature.aggregate in ("latest", "previous"):
        given["type"] = feature.type
    if feature.aggregate in ("ratio", "trend"):
        given["short"] = given.pop("window")
        given["long"] = duration_text(feature.against) if feature.against else None
    if feature.half_life is not None:
        given["half_life"] = duration_text(feature.half_life)
    if feature.offset is not None:
        given["utc_offset"] = feature.offset / HOUR
    arguments = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    if feature.other is not None:
        name = "to" if feature.aggregate == "response" else "ended"
        arguments.append(f"{name}={selection(select, feature.other)}")
    return f"{selection(select, feature.where)}.{feature.aggregate}({', '.join(arguments)})"


def selection(function: str, where: Where) -> str:
    filters = (f"{field}={list(values)!r}" for field, values in where)
    return f"{function}({', '.join(filters)})"


@given(FEATURE_SETS)
def test_text_declares_what_python_declares(features: FeatureSet) -> None:
    for feature in features.features:
        assert read_features(text_of(feature)) == (feature,)


def test_every_aggregate_can_be_written() -> None:
    for feature in every_feature():
        assert read_features(text_of(feature)) == (feature,), feature.name


def test_it_is_written_as_in_python() -> None:
    assert read_features(' events("call").count("7d")\n') == (events("call").count("7d"),)
    assert read_features("events().sequence(3)") == events().sequence(3)
    assert read_features("events('call').last_hour(-5)") == (events("call").last_hour(-5),)
    assert read_features("events(('a', 'b'), channel='web').count()") == (
        events(["a", "b"], channel="web").count(),
    )
    assert read_features('rate("won", by=attribute("industry", "text"))') == (
        rate("won", by=attribute("industry", "text")),
    )


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "__import__('os').system('true')",
        "events.__class__",
        "events('call').__class__",
        "events('call').__init__('events', 'lead', {})",
        "events('call')._feature('count')",
        "events('call').where",
        "events('call').count().name",
        "events('call').count().count()",
        "age",
        "print",
        "print('a')",
        "lambda: 1",
        "(lambda: events('a'))().count()",
        "[one for one in 'ab']",
        "[age(), age()]",
        "age() if True else age()",
        "1 + 1",
        "f'{age()}'",
        "(x := age())",
        "events(*['call']).count()",
        "events(**{'kind': 'call'}).count()",
        "events(kind='call', kind='mail').count()",
        "events(b'call').count()",
        "events(True).count()",
        "events(events('call')).count()",
        "attribute(3, 'text')",
        "attribute('size', 'bool')",
        "events('call').previous(back=1.5)",
        "events('call').last_hour('noon')",
        "events('call')",
        "'call'",
        "{}",
        "",
        "age(",
        "age(); age()",
        "import os",
        "(" * 500 + "age()" + ")" * 500,
        "-" * 9_000 + "1",
        "age()" + " " * 9 + "#" + "a" * 20_000,
        "9" * 5_000,
    ],
    ids=lambda text: text[:40],
)
def test_nothing_else_can_be_written(text: str) -> None:
    with pytest.raises(DeclarationError, match=r"begin with account_events, age|write as events\("):
        read_features(text)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("events('call').count(7)", "write a number and us, s, m, h, d or w"),
        ("events('call').trend('7d', '1d')", "the first window must be the shorter"),
        ("events().share()", "name a kind or a column"),
        ("rate('won', by='industry')", 'write attribute("industry", "text")'),
        ("events('call').response('visit')", 'write events("visit")'),
        ("attribute('size')", "missing 1 required positional argument: 'type'"),
        ("events('call').mode()", ".mean, .mean_gap"),
    ],
)
def test_what_python_refuses_is_refused_with_the_text_and_the_remedy(
    text: str, remedy: str
) -> None:
    with pytest.raises(DeclarationError) as refused:
        read_features(text)
    assert str(refused.value).startswith(f"{text}: ")
    assert remedy in str(refused.value)


def declare(directory: Path, features: str) -> Path:
    path = directory / "source.toml"
    text = f'name = "x"\n[leads]\npath = "leads.csv"\n[population]\nhorizon = "7d"\n{features}'
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_declares_features(tmp_path: Path) -> None:
    written = """[features]
    catalog = false
    declare = ['events("call").count("7d")', 'changes("stage").sequence(2, "value")']
    """
    source = Source.from_toml(declare(tmp_path, written))
    stage = changes("stage")
    assert not source.catalog
    assert source.declared == (events("call").count("7d"), stage.latest(), stage.previous())


def test_a_source_without_the_section_has_the_catalog_alone(tmp_path: Path) -> None:
    source = Source.from_toml(declare(tmp_path, ""))
    assert source.catalog
    assert source.declared == ()


def test_a_fault_in_a_declared_feature_names_the_text(tmp_path: Path) -> None:
    written = """[features]
    declare = ['events("call").cuont()', 'age()', 'events("call").trend("7d", "1d")']
    """
    with pytest.raises(SourceError) as refused:
        read_declaration(declare(tmp_path, written))
    told = str(refused.value)
    assert '[features] declare: events("call").cuont(): ' in told
    assert '[features] declare: events("call").trend("7d", "1d"): ' in told
    assert "age(): " not in told


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[features]\ncatalogue = false", "did you mean 'catalog'"),
        ("[features]\ncatalog = 'no'", "Expected `bool`"),
        ("[features]\ndeclare = 'age()'", "Expected `array`"),
    ],
)
def test_a_fault_in_the_section_is_told(tmp_path: Path, written: str, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        read_declaration(declare(tmp_path, written))
