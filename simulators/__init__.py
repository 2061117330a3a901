"""A city that publishes, and the truth it is scored against."""
