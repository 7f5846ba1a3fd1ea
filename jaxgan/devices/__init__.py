"""Run on one device or several, in one process or several."""
