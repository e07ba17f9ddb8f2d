"""The public description of ``/v1``, derived from its operations and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from serving.http import MOST_BYTES
from serving.operation import Operation
from serving.problems import Problem

_ALWAYS = {
    "429": "The key asks more often than its rate: try again after Retry-After seconds",
    "503": "The service is busy: try again after Retry-After seconds",
}
_HEADERS = {
    "Retry-After": ("Seconds until another try is worth it", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("What the key must be", {"type": "string"}),
    "X-Request-Id": ("Names the request in the log; one that is sent is kept", {"type": "string"}),
}
_SENT = {"401": "WWW-Authenticate", "403": "WWW-Authenticate", "429": "Retry-After",
         "503": "Retry-After"}  # fmt: skip
_KEYED = {"401": "There is no valid key", "403": "The key lacks the scope"}
_REFUSALS = {
    "400": "The body is not JSON",
    "408": "The body did not come in time",
    "413": f"The body is larger than {MOST_BYTES // 2**20} MiB",
    "415": "The body is not declared as JSON",
    "422": "The request breaks the contract",
}


def described(operations: Sequence[Operation]) -> bytes:
    """The OpenAPI 3.1 document (JSON) of operations."""
    types = [Problem]
    for one in operations:
        types += [sort for sort in (one.asks, one.answers, one.query) if sort not in (None, *types)]
    found, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(types, found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    asked = dict.fromkeys(one.query for one in operations if one.query)
    queries = {sort: components.pop(sort.__name__) for sort in asked}
    for one in operations:
        paths.setdefault(one.template, {})[one.method.lower()] = _operation(
            one, schemas, queries.get(one.query, {})
        )
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Leadcast",
            "version": "1",
            "description": "How likely a lead is to convert, what it would be worth, and why. "
            "Scores are advice: a person decides.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {
                name: {"description": text, "required": True, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


def _operation(
    one: Operation, schemas: dict[Any, dict[str, Any]], query: dict[str, Any]
) -> dict[str, Any]:
    problem = schemas[Problem]
    refusals = _ALWAYS | (_REFUSALS if one.asks else {"422": _REFUSALS["422"]})
    if one.scope is not None:
        refusals |= _KEYED
    if "{" in one.path:
        refusals |= {"404": "There is nothing of that id"}
    refusals |= {str(status): text for status, text in one.refuses}
    made: dict[str, Any] = {"operationId": one.name, "summary": one.summary}
    if one.description:
        made["description"] = one.description
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", one.template)
    ] + [
        {"name": name, "in": "query", "required": name in query.get("required", ()), "schema": held}
        for name, held in query.get("properties", {}).items()
    ]
    if parameters:
        made["parameters"] = parameters
    if one.asks:
        content = {one.takes: {"schema": schemas[one.asks]}}
        made["requestBody"] = {"required": True, "content": content}
    if one.scope is not None:
        made["security"] = [{"key": [one.scope]}]
    made["responses"] = {
        str(one.status): _response(
            str(one.status), one.returns or one.summary, schemas[one.answers], one.gives
        ),
        **{
            status: _response(status, text, problem, "application/problem+json")
            for status, text in sorted(refusals.items())
        },
    }
    return made


def _response(status: str, text: str, schema: dict[str, Any], media: str) -> dict[str, Any]:
    sent = [name for name in (_SENT.get(status), "X-Request-Id") if name]
    return {
        "description": text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in sent},
        "content": {media: {"schema": schema}},
    }
