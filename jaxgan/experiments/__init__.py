"""What the launchers do."""
