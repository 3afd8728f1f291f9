"""Aisle beside other ways of doing the same, both sides in one run: `python -m benchmarks`."""
