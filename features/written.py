"""Features written as text, in a TOML file or on the command line: the language, and nothing else.

``events("call").count("7d")`` is read as Python would, but only the functions of
:mod:`features.language`, the methods of a selection, and plain values can be named.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import msgspec

from features import language
from features.language import DeclarationError, Facts, Feature, FeatureSet

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(language, name)
    for name in (
        "events", "account_events", "other_events", "other_leads", "other_outcomes", "changes",
        "attribute", "age", "rate", "recent", "open_leads",
    )
}  # fmt: skip
_METHODS = {name for name in vars(Facts) if not name.startswith("_")} - {"where"}
_EXAMPLE = 'write as events("call").count("7d"), with text, numbers and lists as values'
_LONGEST = 10_000
"""Signs of a text: far more than a feature needs, far less than Python's parser can bear."""


def read_features(text: str) -> tuple[Feature, ...]:
    """One feature, or several where the text declares a sequence.

    Raises :class:`DeclarationError` with the text, what is wrong with it, and what can be written.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise DeclarationError(f"{text[:40]}...: longer than {_LONGEST:,} signs: {_EXAMPLE}")
    try:
        made = _value(ast.parse(text, mode="eval").body)
        found = made if isinstance(made, tuple) else (made,)
        if not all(isinstance(one, Feature) for one in found):
            raise DeclarationError(f"that is no feature yet: {_EXAMPLE}")
        return FeatureSet.from_json(FeatureSet(found).to_json()).features
    except DeclarationError as error:
        raise DeclarationError(f"{text}: {error}") from None
    except (MemoryError, RecursionError):
        raise DeclarationError(f"{text[:40]}...: too deep: {_EXAMPLE}") from None
    except (SyntaxError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise DeclarationError(f"{text}: {error}: {_EXAMPLE}") from None


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(None | str() | int() | float() as value):
            return value
        case ast.List(elements) | ast.Tuple(elements):
            return [_value(one) for one in elements]
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case ast.Call(function, arguments, keywords):
            named = {one.arg: _value(one.value) for one in keywords if one.arg}
            if len(named) == len(keywords):
                return _function(function)(*map(_value, arguments), **named)
    raise DeclarationError(f"{ast.unparse(node)} cannot be written here: {_EXAMPLE}")


def _function(node: ast.expr) -> Callable[..., Any]:
    match node:
        case ast.Name(name) if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        case ast.Attribute(inner, name) if name in _METHODS:
            facts = _value(inner)
            if isinstance(facts, Facts):
                return getattr(facts, name)
    functions, methods = ", ".join(sorted(_FUNCTIONS)), ", .".join(sorted(_METHODS))
    raise DeclarationError(
        f"{ast.unparse(node)} is not known: begin with {functions}; then .{methods}"
    )
