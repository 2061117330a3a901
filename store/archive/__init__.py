"""The archive: every accepted observation, as Parquet files by hour, with a catalog."""
