"""One device or several. In one process or several."""
