"""Throughput beside that of peers, in turns: see docs/performance.md."""
