"""The catalogue: how each kind of device behaves, as data.

A signal rests at a level of its own, follows channels of the environment, drifts slowly, is
noisy, and is cut to the steps in which the device measures. Where nothing is said, figures are
those of common devices' data sheets.
"""

from __future__ import annotations

from typing import NamedTuple

from simulators.devices.wire import Wire


class Signal(NamedTuple):
    """One measure at rest.

    Attributes:
        measure: Name with its unit, as a decoder will name it.
        base: Level at rest; ``spread`` is how far devices differ from it, each way.
        noise: One sigma, cut at three.
        quantum: Step in which it is reported.
        low: Least value; ``high`` the largest.
        unit: SenML's unit, where the device speaks SenML.
        follows: Channels of the environment, and what the measure gains at 1 of each.
        drift: Amplitude of a slow wander of some hours.
        stem: Name in SenML, where the unit adds an ending to it.
    """

    measure: str
    base: float
    spread: float = 0.0
    noise: float = 0.0
    quantum: float = 1.0
    low: float = 0.0
    high: float = 1e9
    unit: str = ""
    follows: tuple[tuple[str, float], ...] = ()
    drift: float = 0.0
    stem: str = ""


class Alert(NamedTuple):
    """At and above a level of a measure, the device reports at a shorter interval."""

    measure: str
    level: float
    interval_s: int


class Kind(NamedTuple):
    """One kind of device.

    Attributes:
        signals: What it measures.
        wire: The format it speaks.
        interval_s: How often it reports when nothing happens.
        alert: When it reports more often.
        on_change: Whether it reports at once when something begins and ends.
        battery_years: What its battery lasts; 0 for mains. It is told in every eighth report.
        model: Of a LoRaWAN device.
        sector: The city's word for the field it belongs to.
    """

    signals: tuple[Signal, ...]
    wire: Wire = Wire.PLAIN
    interval_s: int = 600
    alert: Alert | None = None
    on_change: bool = False
    battery_years: float = 0.0
    model: str = ""
    sector: str = ""


_INDOOR = Signal("temperature_c", 21.0, 2.0, 0.1, 0.1, -20.0, 60.0, "Cel",
                 (("daylight", 1.5),), 0.4, "temperature")  # fmt: skip
_OUTDOOR = Signal("temperature_c", 0.0, 0.5, 0.1, 0.1, -30.0, 60.0,
                  follows=(("temperature_c", 1.0),))  # fmt: skip
_HUMIDITY = Signal("humidity_ratio", 0.0, 0.04, 0.01, 0.005, 0.05, 1.0,
                   follows=(("humidity_ratio", 1.0),))  # fmt: skip
_INDOOR_HUMIDITY = Signal("humidity_ratio", 0.45, 0.06, 0.01, 0.005, 0.05, 1.0)

CATALOGUE: dict[str, Kind] = {
    # 内涝、河道 water that is where it should not be
    "water_level": Kind(
        (Signal("water_level_m", 0.02, 0.01, 0.003, 0.01, 0.0, 10.0, drift=0.006),),
        Wire.CHIRPSTACK, 300, Alert("water_level_m", 0.10, 10), battery_years=4.0,
        model="EM500-SWL", sector="内涝",
    ),
    "manhole": Kind(
        (Signal("tilt_deg", 1.2, 0.8, 0.15, 0.1, 0.0, 90.0, drift=0.1),),
        interval_s=3600, on_change=True, battery_years=5.0, sector="市政",
    ),
    # 消防
    "smoke": Kind(
        (Signal("smoke_db_per_m", 0.03, 0.01, 0.004, 0.01, 0.0, 5.0, drift=0.005),),
        interval_s=600, alert=Alert("smoke_db_per_m", 0.08, 5), battery_years=3.0, sector="消防",
    ),
    # 供气 gas supply
    "gas": Kind(
        (Signal("gas_lel_ratio", 0.012, 0.006, 0.002, 0.001, 0.0, 1.0, "/", drift=0.003),),
        Wire.SENML, 600, Alert("gas_lel_ratio", 0.04, 5), sector="供气",
    ),
    "gas_regulator": Kind(
        (
            Signal("inlet_pressure_pa", 340e3, 12e3, 900.0, 100.0, 0.0, 1e6, "Pa",
                   drift=4e3, stem="inlet_pressure"),
            Signal("outlet_pressure_pa", 2_400.0, 120.0, 15.0, 1.0, 0.0, 1e5, "Pa",
                   (("water_demand", -180.0),), 30.0, "outlet_pressure"),
            Signal("gas_lel_ratio", 0.004, 0.002, 0.001, 0.001, 0.0, 1.0, "/"),
        ),
        Wire.SENML_CBOR, 300, sector="供气",
    ),
    # 住建 building sites
    "site_air": Kind(
        (
            Signal("pm10_ug_m3", 46.0, 8.0, 2.2, 1.0, 0.0, 2000.0, "ug/m3",
                   (("works", 22.0),), 8.0),
            Signal("noise_db", 43.0, 1.5, 0.35, 0.1, 30.0, 130.0, "dB",
                   (("works", 13.0), ("traffic", 3.0)), 1.0),
        ),
        Wire.SENML, 60, Alert("pm10_ug_m3", 120.0, 10), sector="住建",
    ),
    "structure": Kind(
        (
            Signal("tilt_change_deg", 0.02, 0.01, 0.004, 0.001, -5.0, 5.0, "deg",
                   (("daylight", 0.04),), 0.006),
            Signal("settlement_m", 0.0015, 0.001, 0.0002, 0.0001, -1.0, 1.0, "m",
                   stem="settlement"),
        ),
        Wire.SENML_CBOR, 300, battery_years=3.0, sector="住建",
    ),
    # 停车
    "parking": Kind(
        (Signal("occupied", 0.0, 0.0, 0.0, 1.0, 0.0, 1.0),),
        interval_s=600, on_change=True, battery_years=5.0, sector="停车",
    ),
    # 供水 water supply
    "water_meter": Kind(
        (Signal("volume_m3", 180.0, 120.0, 0.0, 0.001),),
        interval_s=900, battery_years=6.0, sector="供水",
    ),
    "pipe_pressure": Kind(
        (Signal("pressure_pa", 360e3, 25e3, 2.5e3, 1000.0, 0.0, 2e6,
                follows=(("water_demand", -60e3),), drift=6e3),),
        Wire.CHIRPSTACK, 300, battery_years=5.0, model="EM500-PP", sector="供水",
    ),
    "leak": Kind(
        (_INDOOR, _INDOOR_HUMIDITY, Signal("leak", 0.0)),
        Wire.CHIRPSTACK, 3600, on_change=True, battery_years=5.0, model="EM300-ZLD", sector="供水",
    ),
    # 供热 district heating
    "heat_substation": Kind(
        (
            Signal("supply_temperature_c", 62.0, 3.0, 0.2, 0.1, 0.0, 130.0, "Cel",
                   (("temperature_c", -0.9),), 0.6, "supply_temperature"),
            Signal("return_temperature_c", 44.0, 2.0, 0.2, 0.1, 0.0, 130.0, "Cel",
                   (("temperature_c", -0.6),), 0.5, "return_temperature"),
            Signal("supply_pressure_pa", 420e3, 20e3, 1.5e3, 1000.0, 0.0, 2e6, "Pa",
                   drift=4e3, stem="supply_pressure"),
        ),
        Wire.SENML, 120, sector="供热",
    ),
    "heating": Kind(
        (_INDOOR, Signal("target_temperature_c", 20.0, 1.5, 0.0, 0.5, 5.0, 30.0),
         Signal("valve_opening_ratio", 0.4, 0.2, 0.05, 0.01, 0.0, 1.0,
                follows=(("daylight", -0.2),))),
        Wire.CHIRPSTACK, 1800, battery_years=3.0, model="WT101", sector="供热",
    ),
    # 公共交通 public transport
    "bus": Kind(
        (
            Signal("speed_mps", 6.0, 1.0, 2.0, 0.1, 0.0, 22.0, follows=(("traffic", -2.5),)),
            Signal("passenger_count", 4.0, 3.0, 2.0, 1.0, 0.0, 90.0, follows=(("people", 34.0),)),
        ),
        interval_s=20, sector="公共交通",
    ),
    "people_count": Kind(
        (Signal("people_count", 1.0, 1.0, 1.5, 1.0, 0.0, 500.0, follows=(("people", 18.0),)),),
        Wire.CHIRPSTACK, 300, model="VS321", battery_years=4.0, sector="公共交通",
    ),
    "traffic_count": Kind(
        (
            Signal("vehicle_count", 2.0, 1.0, 2.0, 1.0, 0.0, 400.0, follows=(("traffic", 34.0),)),
            Signal("mean_speed_mps", 14.0, 1.5, 0.8, 0.1, 0.0, 40.0,
                   follows=(("traffic", -6.0), ("rain_mm_h", -0.06))),
        ),
        interval_s=60, sector="交通",
    ),
    # 基层治理 grassroots governance
    "fill_level": Kind(
        (Signal("remaining_ratio", 0.75, 0.1, 0.01, 0.01, 0.0, 1.0, follows=(("people", -0.4),)),),
        Wire.CHIRPSTACK, 1800, battery_years=4.0, model="WS201", sector="基层治理",
    ),
    "button": Kind(
        (), Wire.CHIRPSTACK, 14_400, battery_years=5.0, model="WS101", sector="基层治理",
    ),
    "door": Kind(
        (_INDOOR, _INDOOR_HUMIDITY, Signal("opened", 0.0)),
        Wire.CHIRPSTACK, 3600, on_change=True, battery_years=5.0, model="EM300-MCS",
        sector="基层治理",
    ),
    "lift": Kind(
        (
            Signal("floor", 6.0, 4.0, 4.0, 1.0, 1.0, 33.0),
            Signal("trip_count", 6.0, 2.0, 2.0, 1.0, 0.0, 200.0, follows=(("people", 30.0),)),
            Signal("people_trapped", 0.0),
        ),
        interval_s=300, on_change=True, sector="基层治理",
    ),
    # 环境
    "weather": Kind(
        (_OUTDOOR, _HUMIDITY,
         Signal("wind_speed_mps", 0.0, 0.4, 0.5, 0.1, 0.0, 60.0, follows=(("wind_mps", 1.0),)),
         Signal("pressure_pa", 0.0, 50.0, 10.0, 10.0, 8e4, 12e4,
                follows=(("pressure_hpa", 100.0),))),
        Wire.CHIRPSTACK, 600, model="WTS506", sector="气象",
    ),
    "noise": Kind(
        (Signal("noise_db", 46.0, 2.0, 1.2, 0.1, 30.0, 130.0, follows=(("traffic", 16.0),)),),
        Wire.CHIRPSTACK, 300, battery_years=3.0, model="WS302", sector="环保",
    ),
    "air": Kind(
        (_OUTDOOR, _HUMIDITY,
         Signal("pm2_5_ug_m3", 24.0, 6.0, 2.0, 1.0, 0.0, 1000.0, follows=(("traffic", 12.0),),
                drift=6.0),
         Signal("pm10_ug_m3", 44.0, 8.0, 3.0, 1.0, 0.0, 2000.0, follows=(("traffic", 18.0),),
                drift=8.0)),
        Wire.CHIRPSTACK, 600, model="AM308", sector="环保",
    ),
    "street_light": Kind(
        (
            Signal("power_w", 82.0, 3.0, 0.6, 0.1, 0.0, 400.0, follows=(("daylight", -164.0),)),
            Signal("voltage_v", 226.0, 3.0, 0.8, 0.1, 0.0, 400.0),
        ),
        interval_s=1800, sector="市政",
    ),
}  # fmt: skip
