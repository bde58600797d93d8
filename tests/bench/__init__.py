"""Benchmarks: `make -s bench NAME=rollout` prints a table and, as its last line, one JSON object."""
