"""From messages to the log: sources, decoders, batching, quarantine, frames."""
