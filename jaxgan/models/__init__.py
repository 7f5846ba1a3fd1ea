"""Pure linen modules."""
