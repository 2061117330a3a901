"""The commands behind cli.py, and the wiring of the parts; alone in importing all of them."""
