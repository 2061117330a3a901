"""What a person is told about a case: why it is one, why they, its code, its end."""

from __future__ import annotations

from core.events import Event
from core.incidents import Text
from core.units import china_time
from scenarios.model import Comparison, DeadlineClock, Rule, Scenario
from scenarios.routing import Assignment

#: Names and units of the measures the shipped rules speak of: zh, en, unit zh, unit en, factor.
_MEASURES: dict[str, tuple[str, str, str, str, float]] = {
    "water_level_m": ("水位", "water level", "米", "m", 1),
    "pressure_pa": ("压力", "pressure", "千帕", "kPa", 0.001),
    "tilt_deg": ("倾角", "tilt", "度", "°", 1),
    "smoke_db_per_m": ("烟雾减光", "smoke density", "dB/m", "dB/m", 1),
    "gas_lel_ratio": ("燃气浓度", "gas", "%LEL", "% LEL", 100),
    "pm10_ug_m3": ("PM10", "PM10", "微克/立方米", "µg/m³", 1),
    "noise_db": ("噪声", "noise", "分贝", "dB", 1),
    "dwell_s": ("停留时间", "dwell time", "秒", "s", 1),
    "height_change_m": ("高度变化", "height change", "米", "m", 1),
    "area_m2": ("面积", "area", "平方米", "m²", 1),
    "bare_area_m2": ("裸土面积", "bare soil", "平方米", "m²", 1),
    "water_area_m2": ("积水面积", "standing water", "平方米", "m²", 1),
    "against_s": ("逆行时间", "time against the lane", "秒", "s", 1),
    "slow_vehicle_count": ("缓行车辆数", "slow vehicles", "辆", "", 1),
    "uncovered_ratio": ("未密闭比例", "open load", "%", "%", 100),
    "tilt_change_deg": ("倾斜变化", "change of tilt", "度", "°", 1),
    "fall_height_m": ("坠落高度", "fall", "米", "m", 1),
    "alt_agl_m": ("真高", "height above ground", "米", "m", 1),
    "alt_takeoff_m": ("相对起飞点高度", "height above take-off", "米", "m", 1),
}
_ZONES = {
    "no_parking": Text("禁停区", "in a no-parking zone"),
    "fire_lane": Text("消防通道", "in a fire lane"),
    "pavement": Text("人行道", "on a pavement"),
    "underpass": Text("下穿通道", "in an underpass"),
    "carriageway": Text("行车道", "on a carriageway"),
    "water": Text("水面", "on the water"),
    "site_gate": Text("工地出入口", "at a site's gate"),
    "market": Text("市场", "in a market"),
    "site": Text("工地", "in a building site"),
    "square": Text("广场", "in a square"),
}
_AIRSPACES = {"protected": Text("管制空域", "in protected airspace")}
_COMPARISONS = {
    Comparison.AT_LEAST: Text("不低于", "at least"),
    Comparison.ABOVE: Text("高于", "over"),
    Comparison.AT_MOST: Text("不高于", "at most"),
    Comparison.BELOW: Text("低于", "under"),
}


def explain(
    event: Event, scenario: Scenario, assignment: Assignment, deadline_ns: int | None
) -> Text:
    """Tell why this is a case, why it is theirs, its code, its deadline and what closes it.

    Args:
        event: The raise that opened the case.
        scenario: Its scenario.
        assignment: Who was chosen.
        deadline_ns: When it must be done, UTC nanoseconds; None where there is no limit.

    Returns:
        A few lines in Chinese and in English; times are China time.
    """
    why = explain_event(event, scenario)
    code = scenario.category
    length = duration_text(scenario.deadline.duration_s)
    working = scenario.deadline.clock is DeadlineClock.WORKING
    clock = Text("工作时", "working hours") if working else Text("全天计时", "around the clock")
    due = Text("", "")
    if deadline_ns is not None:
        local = _china_time(deadline_ns)
        due = Text(f"，{local} 前办结", f", due {local}")
    zh = (
        f"为何立案：{why.zh}\n"
        f"为何由您处理：{assignment.reason.zh}。\n"
        f"类别：{code.system} {code.kind.value} {code.code} {code.name.zh}。\n"
        f"时限：{length.zh}（{clock.zh}）{due.zh}。\n"
        f"结案条件：{scenario.closes_when.zh}"
    )
    en = (
        f"Why a case: {why.en}\n"
        f"Why you: {assignment.reason.en}.\n"
        f"Category: {code.system} {code.kind.name.lower()} {code.code} {code.name.en}.\n"
        f"Time: {length.en} ({clock.en}){due.en}.\n"
        f"Closed when: {scenario.closes_when.en}"
    )
    return Text(zh, en)


def explain_event(event: Event, scenario: Scenario) -> Text:
    """Tell what was noticed: who said what, against which threshold, how long, since when."""
    began = _china_time(event.began_ns)
    if event.rule == scenario.report_rule:
        words = str(event.because.get("text", ""))
        return Text(
            f"{began} 收到群众上报（{scenario.name.zh}）" + (f"：“{words}”。" if words else "。"),
            f"a citizen reported it at {began} ({scenario.name.en})"
            + (f': "{words}".' if words else "."),
        )
    rule = next((one for one in scenario.rules if one.id == event.rule), None)
    if rule is None:
        return Text(
            f"{event.thing_id} 自 {began} 起触发规则 {event.rule}。",
            f"{event.thing_id} met rule {event.rule} from {began} on.",
        )
    told, because = describe_rule(rule), event.because
    measured = Text("", "")
    if isinstance(because.get("measure"), str) and isinstance(because.get("value"), float):
        measured = _reading(str(because["measure"]), float(because["value"]))
    after = Text("", "")
    if (others := because.get("agrees_with")) is not None:
        after = Text(f"；与 {others} 相互印证", f"; {others} agree")
    if (record := because.get("after_exclusion")) is not None:
        ended = _china_time(event.at_ns)
        after = Text(
            f"；{record} 至 {ended} 到期，到期后仍在持续",
            f"; {record} ended at {ended} and it still goes on",
        )
    value = (
        Text(f"，实测{measured.zh}", f"; it measured {measured.en}") if measured.en else measured
    )
    second = _second_opinion(event)
    return Text(
        f"{event.thing_id} 自 {began} 起符合“{told.zh}”{value.zh}{after.zh}。{second.zh}",
        f"from {began} on, {event.thing_id} met: {told.en}{value.en}{after.en}.{second.en}",
    )


def _second_opinion(event: Event) -> Text:
    """What a vision model said of the picture, where it was asked."""
    ratio = event.because.get("opinion_ratio")
    if not isinstance(ratio, float):
        return Text("", "")
    model, reason = (str(event.because.get(name, "")) for name in ("opinion_model", "opinion"))
    return Text(
        f"视觉模型 {model} 复核：属实的可能为 {ratio:.0%}“{reason}”。",
        f' A second look by the vision model {model} finds it {ratio:.0%} likely: "{reason}".',
    )


def describe_rule(rule: Rule) -> Text:
    """Tell a rule in a sentence.

    Example:
        >>> rule = Rule(id="s/r", kind="water_level", measures=("water_level_m",),
        ...             comparison=Comparison.AT_LEAST, threshold=0.25, for_s=60.0,
        ...             in_zone=("underpass",))
        >>> describe_rule(rule).en
        'in an underpass, water level at least 0.25 m for 60 s'
        >>> describe_rule(rule).zh
        '位于下穿通道，水位不低于 0.25 米，持续 60 秒'
    """
    zh: list[str] = []
    en: list[str] = []
    if rule.in_zone:
        zones = [_ZONES.get(kind, Text(kind, f"in {kind}")) for kind in rule.in_zone]
        zh.append("位于" + "或".join(zone.zh for zone in zones))
        en.append(" or ".join(zone.en for zone in zones))
    if rule.in_airspace is not None:
        airspace = _AIRSPACES.get(
            rule.in_airspace, Text(rule.in_airspace, f"in {rule.in_airspace}")
        )
        zh.append(f"进入{airspace.zh}")
        en.append(airspace.en)
    if rule.registered is not None:
        zh.append("编号已登记" if rule.registered else "编号未登记")
        en.append(
            "its id is in the register" if rule.registered else "its id is not in the register"
        )
    if rule.measures and rule.comparison is not None and rule.threshold is not None:
        if rule.measures == ("occupied",):
            zh.append("车位被占用")
            en.append("occupied")
        else:
            level = _reading(rule.measures[0], rule.threshold, _COMPARISONS[rule.comparison])
            zh.append(level.zh)
            en.append(level.en)
    if rule.time_of_day is not None:
        span = [
            f"{s // 3600:02d}:{s // 60 % 60:02d}"
            for s in (rule.time_of_day.from_s, rule.time_of_day.until_s)
        ]
        zh.append(f"在 {span[0]} 至 {span[1]} 之间")
        en.append(f"between {span[0]} and {span[1]}")
    if rule.rate is not None:
        per, over = duration_text(rule.rate.per_s), duration_text(rule.rate.over_s)
        zh.append(f"按每 {per.zh} 的变化计（取 {over.zh}）")
        en.append(f"as a change per {per.en} over {over.en}")
    if rule.count is not None:
        within = duration_text(rule.count.within_s)
        zh.append(f"{within.zh}内 {rule.count.at_least} 次")
        en.append(f"{rule.count.at_least} times within {within.en}")
    if rule.sequence is not None:
        within = duration_text(rule.sequence.within_s)
        zh.append(f"此前 {within.zh}内依次出现 {len(rule.sequence.steps)} 项前兆")
        en.append(f"after {len(rule.sequence.steps)} steps within {within.en}")
    if rule.exclude is not None:
        subjects = ", ".join((*rule.exclude.permit, *rule.exclude.works))
        zh.append(f"且无相应许可或计划作业（{subjects}）")
        en.append(f"with no permit or planned works for it ({subjects})")
    lasting = ""
    if rule.absent:
        silent = duration_text(rule.for_s)
        zh.append(f"此后 {silent.zh}无消息")
        en.append(f"then silent for {silent.en}")
    elif rule.for_s > 0:
        zh.append(f"持续 {rule.for_s:g} 秒")
        lasting = f" for {rule.for_s:g} s"
    return Text("，".join(zh) or "出现", (", ".join(en) or "seen") + lasting)


def duration_text(seconds: float) -> Text:
    """Write a duration for people.

    Example:
        >>> duration_text(14400.0).en, duration_text(1800.0).zh
        ('4 h', '30 分钟')
    """
    if seconds >= 3600:
        return Text(f"{seconds / 3600:g} 小时", f"{seconds / 3600:g} h")
    if seconds >= 60:
        return Text(f"{seconds / 60:g} 分钟", f"{seconds / 60:g} min")
    return Text(f"{seconds:g} 秒", f"{seconds:g} s")


def _reading(measure: str, value: float, comparison: Text | None = None) -> Text:
    if measure == "occupied":
        return Text("被占用", "occupied") if value > 0 else Text("空闲", "free")
    zh, en, unit_zh, unit_en, factor = _MEASURES.get(measure, (measure, measure, "", "", 1))
    number = (
        f"{round(value * factor, 3):g}" if abs(value * factor) < 1e5 else f"{value * factor:.0f}"
    )
    words = comparison or Text("", "")
    gap = "" if unit_en.startswith("°") else " "
    return Text(
        f"{zh}{words.zh} {number} {unit_zh}".rstrip(),
        f"{en} {words.en + ' ' if words.en else ''}{number}{gap}{unit_en}".rstrip(),
    )


def _china_time(instant_ns: int) -> str:
    return f"{china_time(instant_ns):%Y-%m-%d %H:%M:%S}"
