"""Throughput of jaxgan beside its peers', measured in turns: see docs/performance.md."""
