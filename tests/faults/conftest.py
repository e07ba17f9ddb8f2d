"""The small model of tests/serving, for services that are to be killed."""

from tests.serving.conftest import directory, history

__all__ = ["directory", "history"]
