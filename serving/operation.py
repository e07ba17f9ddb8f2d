"""What the API can do: one declaration, from which routes, description and scopes are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

Scope = Literal["score", "ingest", "decide", "admin", "erase"]


@dataclass(frozen=True)
class Operation:
    """One method on one path.

    ``asks`` and ``answers`` are the msgspec types of the bodies, ``query`` a struct whose fields
    are the query parameters; ``takes`` and ``gives`` are media types, of lines of such bodies where
    they say so; ``scope`` is what a key must have been given to call it (None: it is
    open to everybody). ``name`` is the operationId, unique; ``refuses`` are statuses of
    problems that only this operation has, with what they mean.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    summary: str
    answers: Any
    scope: Scope | None
    asks: Any = None
    query: Any = None
    takes: str = "application/json"
    gives: str = "application/json"
    status: int = 200
    description: str = ""
    returns: str = ""
    refuses: tuple[tuple[int, str], ...] = ()

    @property
    def template(self) -> str:
        """The path without what tells how its parts are read."""
        return self.path.replace(":path}", "}")
