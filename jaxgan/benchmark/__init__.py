"""Throughput compared with that of peers, measured in turns: see docs/performance.md."""
