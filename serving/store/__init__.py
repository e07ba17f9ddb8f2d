"""The store: what is known of each lead, in one SQLite file or in PostgreSQL."""

from serving.store.database import StoreUnavailable
from serving.store.store import Store, StoreConflict
from serving.store.tables import Verdict

__all__ = ["Store", "StoreConflict", "StoreUnavailable", "Verdict"]
