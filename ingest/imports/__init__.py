"""Imports: logs and tables of others as messages that a recording takes."""
