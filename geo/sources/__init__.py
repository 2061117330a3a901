"""Where layers come from: one reader per format, all to one table."""
