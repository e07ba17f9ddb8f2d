"""Services that answer a bare predict, or nothing at all: what ours is measured against."""
