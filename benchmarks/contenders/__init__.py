"""Other feature engines, each a script for an environment of its own: see benchmarks/peers.py."""
