"""A river gauge of your own: publishes a level that rises, over MQTT.

It sends no time, so each reading counts as of its receipt. Start the city first:
    make demo ARGS="--mqtt-port 1883"
Another data folder and port: device.py FOLDER PORT
"""

import json
import sys
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

FOLDER, PORT = sys.argv[1:3] if len(sys.argv) == 3 else (".qingniao", "1883")
CREDENTIALS = json.loads((Path(FOLDER) / "mqtt-credentials.json").read_text())

client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="river-gauge-1")
client.username_pw_set(CREDENTIALS["username"], CREDENTIALS["password"])
client.connect("127.0.0.1", int(PORT))
client.loop_start()
for step in range(10):
    reading = {
        "kind": "river_level",
        "lon": 120.3846,
        "lat": 36.0614,
        "measures": {"water_level_m": round(1.0 + 0.1 * step, 2)},
    }
    client.publish("qn/qingdao/sensor/river-gauge-1", json.dumps(reading), qos=1).wait_for_publish()
    print(reading["measures"])
    time.sleep(1)
client.disconnect()
