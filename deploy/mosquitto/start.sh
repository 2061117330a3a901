#!/bin/sh
# Makes the password file from the secret, then runs the broker.
set -eu
mosquitto_passwd -b -c /tmp/passwd qingniao "$(cat /run/secrets/mqtt)"
chown mosquitto /tmp/passwd 2>/dev/null || true
exec mosquitto -c /mosquitto/config/mosquitto.conf
