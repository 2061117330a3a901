"""Tells others what the outbox holds: area-scoped MQTT feeds and webhooks."""
