"""Recordings: MQTT traffic as MCAP files, written, read back and played."""
