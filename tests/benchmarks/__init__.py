"""The write path's goals, as ratios measured side by side: `make bench`, or `python -m tests.benchmarks`."""
