"""One device or several, of one process or several."""
