"""The Faust app, its embedded log, and what it does with batches."""
