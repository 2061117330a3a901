"""Benchmarks: each runs its peer in the same process, in turns, and compares every answer."""
