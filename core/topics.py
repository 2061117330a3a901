"""Names of MQTT topics and log topics: the one place where they are built and read.

MQTT
    ``qn/{city}/sensor/{thing_id}``            plain JSON reading, QoS 1
    ``qn/{city}/senml/{thing_id}``             SenML pack, JSON or CBOR, QoS 1
    ``qn/{city}/senml-cbor/{thing_id}``        SenML CBOR pack, QoS 1
    ``qn/{city}/detection/{camera_id}``        what vision saw, plain JSON, QoS 1
    ``qn/{city}/remote-id/{receiver_id}``      heard by a ground receiver: plain JSON, the
                                               broadcast itself, or a receiver's JSON, QoS 1
    ``qn/{city}/report/{report_id}``           a citizen's report, plain JSON, QoS 1
    ``qn/{city}/exclusion/{id}``               a permit, works, maintenance or silence, QoS 1
    ``qn/{city}/redrive/{digest}``             a rejected message that is to be read again, QoS 1
    ``qn/{city}/quality/{source}/{kind}``      how good a source's data is, told hourly, QoS 1
    ``qn/{city}/frame/{camera_id}``            a JPEG in a CBOR envelope, QoS 0
    ``incidents/{area}/{id}``                  what happens to an incident, and what is open
                                               (retained), QoS 1; told, not read: see below
    ``thing/product/{sn}/osd|state|events…``   DJI Cloud API, QoS 1 or 0
    ``sys/product/{sn}/status``                DJI Cloud API
    ``dronetag``                               Remote ID in Dronetag's JSON, QoS 1
    ``application/{id}/device/{eui}/event/…``  ChirpStack v4: LoRaWAN devices, QoS 1
    ``frigate/events|reviews|triggers|…``      Frigate: what a camera recorder saw, QoS 1
    ``owntracks/{user}/{device}[/event|…]``    OwnTracks: field workers' phones, QoS 1

Log (Faust)
    ``observations``  batches by key group   ``events``  one partition   ``rejections``
    ``meter``  what ingest received, once a second
"""

from __future__ import annotations

OBSERVATIONS = "observations"
EVENTS = "events"
REJECTIONS = "rejections"
METER = "meter"

#: Largest record of the log. A batch of 512 observations with many labels stays well under this;
#: a Kafka topic takes 1 MiB unless told otherwise.
MAX_RECORD_BYTES = 8 * 1024 * 1024

#: What ingest subscribes to: filter and quality of service.
INGEST_FILTERS: tuple[tuple[str, int], ...] = (
    ("qn/+/sensor/+", 1),
    ("qn/+/senml/+", 1),
    ("qn/+/senml-cbor/+", 1),
    ("qn/+/detection/+", 1),
    ("qn/+/remote-id/+", 1),
    ("qn/+/report/+", 1),
    ("qn/+/exclusion/+", 1),
    ("qn/+/redrive/+", 1),
    ("thing/product/+/osd", 1),
    ("thing/product/+/state", 1),
    ("thing/product/+/events", 1),
    ("thing/product/+/requests", 1),
    ("sys/product/+/status", 1),
    ("dronetag", 1),
    ("application/+/device/+/event/+", 1),
    ("frigate/events", 1),
    ("frigate/reviews", 1),
    ("frigate/tracked_object_update", 1),
    ("frigate/triggers", 1),
    ("frigate/available", 1),
    ("owntracks/+/+", 1),
    ("owntracks/+/+/event", 1),
    ("owntracks/+/+/waypoint", 1),
    ("owntracks/+/+/waypoints", 1),
    ("owntracks/+/+/step", 1),
    ("owntracks/+/+/status", 1),
)

#: First level of the topics that tell of incidents, and the second of one in no known area.
INCIDENTS, UNPLACED = "incidents", "unplaced"

#: Digits of the area codes of a district, a street, a community and a unit grid.
AREA_DIGITS = (6, 9, 12, 15)

#: What the vision worker subscribes to, on a connection of its own.
FRAME_FILTERS: tuple[tuple[str, int], ...] = (("qn/+/frame/+", 0),)


def sensor_topic(city: str, thing_id: str) -> str:
    """Topic of a plain JSON reading.

    Example:
        >>> sensor_topic("qingdao", "w-1")
        'qn/qingdao/sensor/w-1'
    """
    return f"qn/{city}/sensor/{thing_id}"


def senml_topic(city: str, thing_id: str) -> str:
    """Topic of a SenML pack."""
    return f"qn/{city}/senml/{thing_id}"


def detection_topic(city: str, camera_id: str) -> str:
    """Topic of what vision saw in a camera."""
    return f"qn/{city}/detection/{camera_id}"


def remote_id_topic(city: str, receiver_id: str) -> str:
    """Topic of a ground receiver of remote identification."""
    return f"qn/{city}/remote-id/{receiver_id}"


def report_topic(city: str, report_id: str) -> str:
    """Topic of a citizen's report."""
    return f"qn/{city}/report/{report_id}"


def exclusion_topic(city: str, exclusion_id: str) -> str:
    """Topic of a permit, planned works, a maintenance window or a silence."""
    return f"qn/{city}/exclusion/{exclusion_id}"


def redrive_topic(city: str, digest: str) -> str:
    """Topic of a rejected message that is to be read again."""
    return f"qn/{city}/redrive/{digest}"


def quality_topic(city: str, source: str, kind: str) -> str:
    """Topic on which a source is told how good its data is; published, not read.

    Example:
        >>> quality_topic("qingdao", "plain", "water_level")
        'qn/qingdao/quality/plain/water_level'
    """
    return f"qn/{city}/quality/{_safe(source)}/{_safe(kind)}"


def _safe(word: str) -> str:
    """A text as one level of a topic."""
    return word.replace("/", "_").replace("+", "_").replace("#", "_")


def area_levels(area_code: str) -> tuple[str, ...]:
    """The codes of every level above and of an area: district, street, community, unit grid.

    Example:
        >>> area_levels("370202001002")
        ('370202', '370202001', '370202001002')
        >>> area_levels("")
        ()
    """
    return tuple(area_code[:digits] for digits in AREA_DIGITS if len(area_code) >= digits)


def incident_topic(area_code: str, incident_id: str) -> str:
    """Topic of what happens to an incident: every level's code, then the incident.

    So one message reaches whoever subscribed to the district (``incidents/370202/#``), the
    street (``incidents/+/370202001/#``), the community or the grid, and needs no sums on codes.

    Example:
        >>> incident_topic("370202001002", "0a1b")
        'incidents/370202/370202001/370202001002/0a1b'
        >>> incident_topic("", "0a1b")
        'incidents/unplaced/0a1b'
    """
    levels = [_safe(code) for code in area_levels(area_code)] or [UNPLACED]
    return "/".join((INCIDENTS, *levels, incident_id))


def frame_topic(city: str, camera_id: str) -> str:
    """Topic of a camera's frames."""
    return f"qn/{city}/frame/{camera_id}"


def dji_topic(sn: str, leaf: str) -> str:
    """Topic of a DJI dock or aircraft: leaf is osd, state, events, requests …"""
    return f"thing/product/{sn}/{leaf}"


def dji_status_topic(sn: str) -> str:
    """Topic on which a DJI gateway comes online with its sub-devices."""
    return f"sys/product/{sn}/status"


def topic_matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic matches an MQTT filter [MQTT-4.7].

    Example:
        >>> topic_matches("qn/+/sensor/#", "qn/qingdao/sensor/w-1")
        True
        >>> topic_matches("#", "$SYS/broker")
        False
    """
    if topic.startswith("$") and topic_filter[:1] in {"+", "#"}:
        return False
    wanted, got = topic_filter.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(got) or level not in {"+", got[position]}:
            return False
    return len(wanted) == len(got)


def filters_overlap(one: str, other: str) -> bool:
    """Whether some topic matches both MQTT filters; a broker may deliver such a one twice.

    Example:
        >>> filters_overlap("qn/#", "qn/+/sensor/+"), filters_overlap("acme/+/up", "acme/a/down")
        (True, False)
    """
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        if "#" in {a, b}:
            return True
        if a != b and "+" not in {a, b}:
            return False
    longer = left[len(right) :] or right[len(left) :]
    return not longer or longer[0] == "#"
