"""Attributes that a score must not read: which they are, unless a source says otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from features.feature import Feature

_TRAITS = re.compile(
    r"(^|_)(gender|sex|sexual|race|racial|ethnic\w*|religio\w*|nationality|citizenship|disab\w*|"
    r"handicap\w*|marital|pregnan\w*|maternity|veteran|political\w*|caste|birth\w*|dob)(_|$)"
)
_AGE = re.compile(
    r"((customer|contact|person|applicant|client)_)?age(_(years|group|band|range|class))?"
)


class Protection(msgspec.Struct, frozen=True):
    """The names that are protected: by a list of words, and ``declared``; but not ``allowed``.

    The words are those of the traits that anti-discrimination law names (EU Charter of Fundamental
    Rights, article 21; US Equal Credit Opportunity Act, 15 USC 1691), where a column's name says
    so: ``Gender``, ``birth_date``, ``maritalStatus``, ``age``.
    """

    declared: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether a column or field of this name is protected."""
        if name in self.allowed:
            return False
        plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
        plain = plain.strip("_")
        return name in self.declared or bool(_TRAITS.search(plain) or _AGE.fullmatch(plain))

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are protected, in order."""
        return [name for name in names if self.covers(name)]

    def refuse(self, features: Iterable[Feature]) -> None:
        """Raise ``ValueError`` naming a feature that reads something protected, and the remedy."""
        for feature in features:
            read = [column for _, column, _ in feature.reads]
            if feature.source == "changes":
                read += [value for field, values in feature.where for value in values
                         if field == "field"]  # fmt: skip
            for name in self.among(read):
                raise ValueError(
                    f"{feature.name} reads {name!r}, which is protected: leave it out, or, where "
                    f"the law lets you score by it, write [compliance] allow = [{name!r}]"
                )
