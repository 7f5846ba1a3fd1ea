"""One device or several. Of one process or several."""
