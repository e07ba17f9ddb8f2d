"""Features written as text, in a TOML file or on the command line: the language, and nothing else.

``events("call").count("7d")`` is read as Python would, but only the functions of
:mod:`features.language`, the methods of a selection, and plain values can be named.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from features import language
from features.language import DeclarationError, Facts, Feature

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(language, name)
    for name in (
        "events", "account_events", "other_events", "other_leads", "other_outcomes", "changes",
        "attribute", "age", "rate", "recent", "open_leads",
    )
}  # fmt: skip
_METHODS = {name for name in vars(Facts) if not name.startswith("_")} - {"where"}


def read_features(text: str) -> tuple[Feature, ...]:
    """One feature, or several where the text declares a sequence.

    Raises :class:`DeclarationError` with the text, what is wrong with it, and what can be written.
    """
    try:
        made = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError) as error:
        raise DeclarationError(f"{text.strip()}: {error}") from None
    found = made if isinstance(made, tuple) else (made,)
    if not found or not all(isinstance(one, Feature) for one in found):
        raise DeclarationError(
            f'{text.strip()}: that is no feature yet: write as events("call").count("7d")'
        )
    return found


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.List(elements) | ast.Tuple(elements):
            return [_value(one) for one in elements]
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case ast.Call(function, arguments, keywords):
            called = _function(function)
            named = {one.arg: _value(one.value) for one in keywords if one.arg is not None}
            return called(*(_value(one) for one in arguments), **named)
    raise DeclarationError(f"{ast.unparse(node)} cannot be written here")


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
