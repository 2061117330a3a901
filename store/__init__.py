"""The case truth: incidents, evidence, history, outbox."""
