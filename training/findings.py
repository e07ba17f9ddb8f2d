"""What an audit found: coded findings, and what it takes to promote a model in spite of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

Severity = Literal["blocking", "warning"]


class Finding(msgspec.Struct, frozen=True):
    """One field that should not be trusted as it is.

    ``code`` is of :data:`training.audit.CODES`; ``accepted`` says why a person let it pass.
    """

    code: str
    field: str
    severity: Severity
    evidence: str
    remedy: str
    accepted: str | None = None

    @property
    def key(self) -> str:
        """``CODE:field``, by which it is accepted."""
        return f"{self.code}:{self.field}"

    @property
    def stops(self) -> bool:
        """Whether it stops promotion: blocking, and nobody accepted it."""
        return self.severity == "blocking" and self.accepted is None


class FindingsError(ValueError):
    """Findings that stop a promotion, or an acceptance of something that was not found."""


def accept(findings: Iterable[Finding], reasons: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings, those named in ``reasons`` (``CODE:field`` -> because) accepted.

    Raises :class:`FindingsError` for a reason that is empty, or of no finding.
    """
    found = tuple(findings)
    known = {one.key for one in found}
    for key, because in reasons.items():
        if key not in known:
            there = ", ".join(sorted(known)) or "none"
            raise FindingsError(f"cannot accept {key!r}, it was not found; findings: {there}")
        if not because.strip():
            raise FindingsError(f'cannot accept {key!r} without a reason: --because "..."')
    return tuple(
        msgspec.structs.replace(one, accepted=reasons.get(one.key, one.accepted)) for one in found
    )


def require_none(findings: Sequence[Finding]) -> None:
    """Raise :class:`FindingsError` with every finding that stops promotion, and its remedy."""
    stopping = [one for one in findings if one.stops]
    if stopping:
        told = "\n".join(f"  {one.key}: {one.evidence}\n    {one.remedy}" for one in stopping)
        raise FindingsError(
            f"the audit stops this promotion, {len(stopping)} blocking:\n{told}\n"
            f"Mend the source and train again, or accept each with a reason: "
            f'--accept "{stopping[0].key}" --because "..."'
        )
