"""The files that deploy the service: they can be read, and name nothing that is not there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from serving import metrics
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def known() -> set[str]:
    """Every series that the service shows."""
    assert metrics.REQUESTS
    made = set()
    for family in REGISTRY.collect():
        if family.name.startswith("leadcast_"):
            ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            made |= {family.name + end for end in ends.get(family.type, ("",))}
    return made


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))
    board = json.loads((DEPLOY / "grafana" / "leadcast.json").read_text(encoding="utf-8"))
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return alerts + [one["expr"] for panel in board["panels"] for one in panel["targets"]]


def test_every_metric_that_is_looked_at_is_there() -> None:
    named = {name for text in expressions() for name in re.findall(r"leadcast_\w+", text)}
    assert named
    assert named <= known()


def test_the_table_of_the_readme_names_every_metric() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(leadcast_\w+)`", readme, re.M))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in known()} == told


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_listens_here_alone_and_mounts_what_is_there(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        if source.startswith("./"):
            assert (DEPLOY / source).is_file(), source
        elif not source.startswith("../"):
            assert source in COMPOSE["volumes"]
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_what_the_image_copies_is_there() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
