"""The public description of ``/v1``, derived from its types."""

from __future__ import annotations

from typing import Any

import msgspec

from serving import api

_TYPES = (api.ScoreRequest, api.ScoreAnswer, api.ModelCard, api.Problem)
_REFUSALS = {
    "400": "The body is not JSON",
    "413": f"The body is larger than {api.MOST_BYTES // 2**20} MiB",
    "415": "The body is not declared as JSON",
    "422": "The request breaks the contract",
}


def _document() -> dict[str, Any]:
    found, components = msgspec.json.schema_components(
        _TYPES, ref_template="#/components/schemas/{name}"
    )
    asked, answer, model, problem = found
    refusals = {
        status: _response(text, problem, "application/problem+json")
        for status, text in _REFUSALS.items()
    }
    score = {
        "operationId": "score",
        "summary": "Score leads, by id or with their history",
        "description": "Each lead has its own result: a refused one never costs the others.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {"200": _response("One result a lead, in order", answer), **refusals},
    }
    card = {
        "operationId": "model",
        "summary": "The model that answers",
        "responses": {"200": _response("Its target, features and calibration", model)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Leadcast",
            "version": "1",
            "description": "How likely a lead is to convert, what it would be worth, and why. "
            "Scores are advice: a person decides.",
        },
        "paths": {"/v1/score": {"post": score}, "/v1/model": {"get": card}},
        "components": {"schemas": components},
    }


def _response(text: str, schema: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema}}}


OPENAPI = msgspec.json.encode(_document())
