"""The small model of tests/serving and its store, for services that are to suffer."""

from tests.serving.conftest import directory, history, stored, today

__all__ = ["directory", "history", "stored", "today"]
