"""Throughput next to that of peers. Measured in turns: see docs/performance.md."""
