"""The store: what is known of each lead, in one SQLite file or in PostgreSQL."""

from serving.store.database import StoreUnavailable
from serving.store.journal import Done
from serving.store.store import Store, StoreConflict
from serving.store.tables import Verdict

__all__ = ["Done", "Store", "StoreConflict", "StoreUnavailable", "Verdict"]
