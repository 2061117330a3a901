/** Every word of the page in both languages, and names for words that data carry. */

import { lasting, quantity } from "./format.ts";
import type { Lang } from "./format.ts";
import type { Text } from "./model.ts";

const WORDS = {
  "app.name": ["青鸟", "Qingniao"],
  "app.subtitle": ["城市运行一张图", "The city's live picture"],
  "app.skip": ["跳到事件列表", "Skip to the incident list"],
  "lang.switch": ["English", "中文"],
  "lang.switch.label": ["Switch to English", "切换为中文"],

  "figure.observations": ["观测/秒", "obs/s"],
  "figure.observations.help": ["每秒进入平台的观测数", "Observations taken in per second"],
  "figure.frames": ["帧/秒", "frames/s"],
  "figure.frames.help": ["每秒分析的视频帧数", "Video frames looked at per second"],
  "figure.lag": ["延迟", "lag"],
  "figure.lag.help": ["从收到观测到事件入库的时间", "From a reading taken in to its incident in the store"],
  "figure.open": ["未结案", "open"],
  "figure.open.help": ["尚未结案的事件数", "Incidents not closed yet"],
  "figure.rejections": ["拒收", "rejected"],
  "figure.rejections.help": [
    "因格式错误等原因拒收的消息数，均有记录和原因",
    "Messages refused, each kept with its reason",
  ],
  "city.time": ["城市时间", "City time"],
  "city.factor": ["{n}×速", "{n}× speed"],

  "connection.connecting": ["连接中", "Connecting"],
  "connection.live": ["实时", "Live"],
  "connection.reconnecting": ["重连中", "Reconnecting"],

  "list.title": ["事件", "Incidents"],
  "list.count": ["{shown} / {all}", "{shown} of {all}"],
  "list.empty": ["没有符合条件的事件", "No incident matches"],
  "list.empty.hint": ["城市平静。新事件会自动出现在这里。", "The city is calm. New incidents appear here by themselves."],
  "list.loading": ["正在读取事件…", "Loading incidents…"],
  "list.expand": ["展开或收起列表", "Expand or collapse the list"],
  "list.new": ["新事件：{name}，{place}", "New incident: {name}, {place}"],
  "filter.label": ["筛选", "Filters"],
  "filter.domain": ["领域", "Domain"],
  "filter.severity": ["等级", "Severity"],
  "filter.status": ["状态", "Status"],
  "filter.open": ["未结案", "Open"],
  "filter.closed": ["已结案", "Closed"],
  "filter.all": ["全部", "All"],
  "filter.worker": ["网格员", "Grid worker"],
  "filter.everybody": ["全部网格员", "Everybody"],

  "domain.urban": ["城管", "Urban"],
  "domain.traffic": ["交通", "Traffic"],
  "domain.construction": ["住建", "Housing"],
  "domain.community": ["社区", "Community"],
  "domain.airspace": ["低空", "Airspace"],
  "domain.other": ["其他", "Other"],

  "severity.minor": ["一般", "Minor"],
  "severity.moderate": ["较大", "Moderate"],
  "severity.severe": ["重大", "Severe"],
  "severity.extreme": ["特别重大", "Extreme"],

  "status.collected": ["待立案", "Collected"],
  "status.filed": ["待派遣", "Filed"],
  "status.dispatched": ["待接单", "Dispatched"],
  "status.handling": ["处理中", "In progress"],
  "status.suspended": ["挂账", "Suspended"],
  "status.feedback": ["待核查", "To verify"],
  "status.closed": ["已结案", "Closed"],
  "status.evaluated": ["已评价", "Evaluated"],
  "status.cancelled": ["已作废", "Cancelled"],

  "steps.label": ["办理步骤", "Steps of the case"],
  "step.collected": ["信息采集", "Collect"],
  "step.filed": ["案卷建立", "File"],
  "step.dispatched": ["任务派遣", "Dispatch"],
  "step.handling": ["任务处理", "Handle"],
  "step.suspended": ["挂账", "Suspended"],
  "step.feedback": ["处理反馈", "Feedback"],
  "step.closed": ["核查结案", "Verify"],
  "step.evaluated": ["综合评价", "Evaluate"],

  "card.cleared": ["现象已消除", "Over on site"],
  "card.rework": ["返工 {n} 次", "Rework ×{n}"],
  "card.sources": ["{n} 个来源", "{n} sources"],
  "card.unplaced": ["位置不明", "Place unknown"],

  "detail.close": ["关闭", "Close"],
  "detail.back": ["返回列表", "Back to the list"],
  "detail.label": ["事件详情", "Incident"],
  "detail.loading": ["正在读取…", "Loading…"],
  "detail.failed": ["读取失败：{message}", "Could not load: {message}"],
  "detail.case": ["案卷号", "Case"],
  "detail.category": ["分类代码", "Category"],
  "detail.department": ["责任部门", "Department"],
  "detail.unit": ["责任单位", "Unit"],
  "detail.worker": ["网格员", "Grid worker"],
  "detail.confidence": ["可信度", "Confidence"],
  "detail.evidence.count": ["来源 / 证据", "Sources / evidence"],
  "detail.opened": ["立案", "Opened"],
  "detail.began": ["发生", "Began"],
  "detail.cleared": ["消除", "Over"],
  "detail.why": ["为什么是你，怎样结案", "Why, and what closes it"],
  "exclusions.title": ["生效中的许可、作业、检修与静默", "Permits, works, maintenance and silences in force"],
  "exclusions.line": ["已排除 {n} 条 · 责任人 {who}", "{n} left out · by {who}"],
  "detail.parent": ["属上级案件", "Part of"],
  "detail.parts": ["下级案件", "Parts"],
  "detail.place": ["地点", "Place"],
  "detail.road": ["最近道路 {name}（{distance} 米）", "Nearest road {name} ({distance} m)"],
  "detail.road.only": ["最近道路 {name}", "Nearest road {name}"],
  "detail.error": ["位置误差 ±{n} 米", "Position ±{n} m"],
  "detail.generated": ["网格编码为生成值，非城市正式编码", "Grid code is generated, not the city's own"],
  "detail.unplaced": ["无法定位：{reason}", "Not placed: {reason}"],
  "detail.show": ["在地图上看", "Show on map"],
  "detail.pictures": ["证据图片", "Evidence pictures"],
  "detail.picture": ["第 {n} 张，共 {all} 张", "Picture {n} of {all}"],
  "detail.clip": ["现场短片", "Clip of how it came about"],
  "detail.clip.about": [
    "发现前后约半分钟，四倍速；人员与车牌已打码。",
    "The half minute around the discovery, four times as fast; people and plates are blurred.",
  ],
  "detail.picture.missing": ["图片暂不可用", "Picture not available"],
  "detail.evidence": ["证据", "Evidence"],
  "detail.evidence.more": ["再显示 {n} 条", "Show {n} more"],
  "detail.history": ["办理过程", "History"],
  "detail.deadline": ["处置时限", "Deadline"],
  "detail.deadline.at": ["{day} {time} 前", "by {time}, {day}"],
  "detail.done": ["已于 {day} {time} 结案", "Closed {day}, {time}"],
  "detail.actions": ["操作", "Actions"],
  "detail.reason": ["原因", "Reason"],
  "detail.reason.optional": ["说明（可选）", "Note (optional)"],
  "detail.reason.wanted": ["这一步必须写明原因", "This step needs a reason"],
  "detail.extension": ["延期小时数", "Hours of more time"],
  "detail.photo": ["处置后照片", "Picture afterwards"],
  "detail.supervised": ["督办", "Supervised"],
  "detail.escalated": ["超期", "Overdue"],
  "verdict.title": ["核查结论（一键）", "What it really is (one tap)"],
  "verdict.not_an_issue": ["不是问题", "Not an issue"],
  "verdict.wrong_place": ["位置不对", "Wrong place"],
  "verdict.wrong_owner": ["不归我管", "Not ours"],
  "verdict.duplicate": ["重复案件", "Duplicate"],
  "action.verdict": ["核查结论", "Verdict"],
  "kpi.title": ["考核指标", "Indicators"],
  "kpi.by": ["分组", "By"],
  "kpi.by.none": ["全部", "All"],
  "kpi.by.domain": ["领域", "Field"],
  "kpi.by.street": ["街道", "Street"],
  "kpi.by.unit": ["责任单位", "Unit"],
  "kpi.by.scenario": ["场景", "Scenario"],
  "kpi.by.day": ["日期", "Day"],
  "kpi.behind": ["{name}：应计 {n} 件", "{name}: {n} cases that could count"],
  "kpi.unknown": ["未划入", "Not placed"],
  "kpi.failed": ["读取指标失败", "The indicators cannot be read"],
  "detail.confirm": ["确认", "Confirm"],
  "detail.cancel": ["取消", "Cancel"],
  "detail.conflict": ["案卷刚被他人更新，已重新读取", "Somebody else changed this case; it was loaded anew"],
  "detail.refused": ["未能执行：{message}", "Not done: {message}"],
  "detail.acted": ["已执行：{action}", "Done: {action}"],

  "token.title": ["操作令牌", "Access token"],
  "token.text": [
    "办理案卷需要令牌。它在平台启动时显示，只保存在本次浏览会话中。",
    "Changing a case needs the token that the platform prints at start. It is kept for this browser session only.",
  ],
  "token.label": ["令牌", "Token"],
  "token.wrong": ["令牌不正确，请重新输入", "That token was not accepted"],
  "token.ok": ["继续", "Continue"],

  "edge.raise": ["发生", "Began"],
  "edge.still": ["持续", "Goes on"],
  "edge.clear": ["解除", "Over"],

  "action.file": ["立案", "File"],
  "action.dispatch": ["派遣", "Dispatch"],
  "action.accept": ["接单", "Accept"],
  "action.handle": ["处理", "Work note"],
  "action.feedback": ["反馈结果", "Report done"],
  "action.close": ["核查结案", "Verify and close"],
  "action.evaluate": ["评价", "Evaluate"],
  "action.return": ["退回", "Send back"],
  "action.cancel": ["作废", "Cancel case"],
  "action.reopen": ["重开", "Reopen"],
  "action.extend": ["申请延期", "Ask for more time"],
  "action.grant": ["同意延期", "Grant more time"],
  "action.refuse": ["不同意延期", "Refuse more time"],
  "action.suspend": ["挂账", "Suspend"],
  "action.resume": ["恢复处理", "Resume"],
  "action.supervise": ["督办", "Supervise"],
  "action.warn": ["临期预警", "Time is running out"],
  "action.escalate": ["超期升级", "Overdue, escalated"],

  "actor.system": ["系统", "System"],
  "value.yes": ["是", "Yes"],
  "value.no": ["否", "No"],

  "thing.live": ["在线", "Live"],
  "thing.late": ["迟到", "Late"],
  "thing.stale": ["失联", "Silent"],
  "thing.unknown": ["状态未知", "State unknown"],
  "thing.since": ["最后一次 {age}", "last heard {age}"],
  "thing.never": ["尚未收到数据", "Nothing heard yet"],
  "aircraft.unregistered": ["未登记", "Not registered"],
  "aircraft.registered": ["已登记", "Registered"],
  "datum.agl": ["离地 {n} 米", "{n} m AGL"],
  "datum.takeoff": ["起飞点上 {n} 米", "{n} m ATO"],
  "datum.msl": ["海拔 {n} 米", "{n} m MSL"],
  "datum.wgs84": ["椭球高 {n} 米", "{n} m WGS 84"],
  "quality.learning": ["正在熟悉画面", "Still learning this view"],
  "quality.moving": ["正在移动", "Moving between views"],
  "quality.frozen": ["画面静止不变", "The picture stands still"],
  "quality.black": ["画面全黑", "The picture is black"],
  "quality.broken": ["图像损坏", "Pictures arrive broken"],
  "quality.resized": ["画面尺寸有变", "The picture changed its size"],
  "quality.uncalibrated": ["未标定", "Not calibrated"],
  "camera.none": ["还没有图片", "No picture yet"],
  "camera.all": ["摄像头画面", "Camera pictures"],
  "camera.open": ["打开大图", "Open the picture"],
  "camera.lying": ["画面失实", "Shows what is not there"],
  "camera.fps": ["{n} 帧/秒", "{n} frames/s"],
  "camera.skipped": ["跳过 {n}% 的帧", "{n}% of frames skipped"],
  "camera.legend": [
    "绿框：移动目标与轨迹；红框：已认定的目标；黄线：区域。人员与车牌已打码。",
    "Green: what moves, with its track. Red: what was told of. Yellow: zones. People and plates are blurred.",
  ],
  "camera.latest": ["最近图片", "Latest picture"],
  "map.label": ["城市地图", "City map"],
  "map.zoom.in": ["放大", "Zoom in"],
  "map.zoom.out": ["缩小", "Zoom out"],
  "map.home": ["全城", "Whole city"],
  "map.failed": [
    "这台设备的浏览器不能绘制地图（需要 WebGL 2）；事件列表照常可用。",
    "This browser cannot draw the map (WebGL 2 is needed); the incident list works.",
  ],
  "map.cluster": ["此处 {n} 个事件", "{n} incidents here"],

  "legend.title": ["图例与图层", "Legend and layers"],
  "legend.layers": ["图层", "Layers"],
  "legend.severity": ["事件等级", "Severity"],
  "legend.zones": ["区域", "Zones"],
  "legend.about": ["关于", "About"],
  "legend.about.text": [
    "传感器、摄像头和无人机发现一件事，片刻之后，对应的网格员手机上就有一项清楚的任务：在哪里、为什么、何时办完、怎样结案。图上的一切都来自本机，不向外部请求任何数据。",
    "A sensor, a camera or a drone notices something, and a moment later the right grid worker has one clear task: where, why, by when, and what closes it. Everything on this page comes from this server; nothing is asked of anyone else.",
  ],
  "layer.areas": ["街道与社区界线", "Streets and communities"],
  "layer.grid": ["单元网格", "Unit grids"],
  "layer.building": ["建筑", "Buildings"],
  "layer.road": ["道路", "Roads"],
  "layer.zone": ["地面区域", "Ground zones"],
  "layer.airspace": ["空域", "Airspace"],
  "layer.camera": ["摄像头与视野", "Cameras and views"],
  "layer.dock": ["无人机机场", "Drone docks"],
  "layer.sensor": ["传感器", "Sensors"],
  "layer.aircraft": ["航空器", "Aircraft"],
  "zone.no_parking": ["禁停路段", "No parking"],
  "zone.fire_lane": ["消防通道", "Fire lane"],
  "zone.pavement": ["人行道", "Pavement"],
  "zone.underpass": ["下穿通道", "Underpass"],
  "zone.site": ["建筑工地", "Building site"],
  "zone.square": ["广场", "Square"],
  "airspace.protected": ["管制空域", "Protected airspace"],
  "airspace.range": ["{floor}–{ceiling} 米", "{floor}–{ceiling} m"],
} as const satisfies Readonly<Record<string, readonly [string, string]>>;

export type Word = keyof typeof WORDS;

const INDEX: Readonly<Record<Lang, 0 | 1>> = { zh: 0, en: 1 };

/** Fill `{name}` places in a text. */
function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A word of the page. */
export function word(
  lang: Lang,
  key: Word,
  values: Readonly<Record<string, string | number>> = {},
): string {
  return fill(WORDS[key][INDEX[lang]], values);
}

/** A word whose key is made of data; what the dictionary lacks is shown as it came. */
export function wordOr(lang: Lang, key: string, otherwise: string): string {
  return Object.hasOwn(WORDS, key) ? word(lang, key as Word) : otherwise;
}

/** The text of data in the reader's language. */
export function pick(lang: Lang, text: Text): string {
  return text[lang];
}

const KINDS: Readonly<Record<string, readonly [string, string]>> = {
  water_level: ["水位计", "Water level"],
  manhole: ["井盖传感器", "Manhole sensor"],
  smoke: ["烟感", "Smoke detector"],
  gas: ["燃气探测器", "Gas detector"],
  site_air: ["工地扬尘噪声仪", "Site air and noise"],
  parking: ["车位传感器", "Parking sensor"],
  aircraft: ["航空器", "Aircraft"],
  dock: ["无人机机场", "Drone dock"],
  report: ["市民上报", "Citizen's report"],
  camera: ["摄像头", "Camera"],
  "detection.static_object": ["视频：静止目标", "Video: static object"],
  "detection.moving_count": ["视频：移动目标数", "Video: moving count"],
};

/** What a kind of thing or observation is called. */
export function kindName(lang: Lang, kind: string): string {
  return KINDS[kind]?.[INDEX[lang]] ?? kind.replaceAll(/[._]/g, " ");
}

const FACTS: Readonly<Record<string, readonly [string, string]>> = {
  measure: ["指标", "Measure"],
  value: ["数值", "Value"],
  peak: ["极值", "Extreme"],
  threshold: ["阈值", "Threshold"],
  for_s: ["须持续", "Must last"],
  held_s: ["已持续", "Lasted"],
  zone: ["区域", "Zone"],
  airspace: ["空域", "Airspace"],
  registered: ["登记", "Register"],
  ended: ["结束", "Ended"],
  text: ["描述", "Text"],
  label_object: ["目标", "Object"],
  dwell_s: ["停留", "Dwell time"],
  length_m: ["长度", "Length"],
  width_m: ["宽度", "Width"],
  water_level_m: ["水位", "Water level"],
  tilt_deg: ["倾角", "Tilt"],
  smoke_db_per_m: ["烟雾减光", "Smoke"],
  gas_lel_ratio: ["燃气（爆炸下限）", "Gas (of LEL)"],
  pm10_ug_m3: ["PM10", "PM10"],
  noise_db: ["噪声", "Noise"],
  occupied: ["占用", "Occupied"],
  confidence_ratio: ["可信度", "Confidence"],
  opinion_ratio: ["复核属实", "Second look: real"],
  opinion: ["复核意见", "Second look"],
  opinion_model: ["复核模型", "Second look by"],
  moving_count: ["移动目标", "Moving objects"],
  alt_agl_m: ["离地高度", "Height above ground"],
  alt_takeoff_m: ["距起飞点高度", "Height above take-off"],
  alt_msl_m: ["海拔", "Height above sea level"],
  alt_wgs84_m: ["椭球高", "Height above ellipsoid"],
  speed_mps: ["速度", "Speed"],
  vertical_speed_mps: ["升降速度", "Vertical speed"],
  heading_deg: ["航向", "Heading"],
  battery_ratio: ["电量", "Battery"],
  wind_speed_mps: ["风速", "Wind"],
};

/** Words that data carry as values, by the name they stand under. */
const VALUES: Readonly<Record<string, readonly [string, string]>> = {
  "registered=yes": ["已登记", "Registered"],
  "registered=no": ["未登记", "Not registered"],
  "ended=over": ["现象消除", "It is over"],
  "ended=silence": ["不再上报", "No longer reported"],
  "label_object=vehicle": ["车辆", "Vehicle"],
  "label_object=small": ["小型物体", "Small object"],
};

/** Facts that are numbers of the measure named beside them. */
const OF_THE_MEASURE: ReadonlySet<string> = new Set(["value", "peak", "threshold", "clear_level"]);
const SIGNS: Readonly<Record<string, string>> = {
  at_least: "≥ ",
  above: "> ",
  at_most: "≤ ",
  below: "< ",
};

const UNITS: ReadonlyArray<readonly [RegExp, string]> = [
  [/_db_per_m$/, "dB/m"],
  [/_ug_m3$/, "µg/m³"],
  [/_mps$/, "m/s"],
  [/_deg$/, "°"],
  [/_db$/, "dB"],
  [/_m$/, "m"],
  [/_s$/, "s"],
];

/** What a measure or fact is called. */
export function factName(lang: Lang, name: string): string {
  return FACTS[name]?.[INDEX[lang]] ?? name.replaceAll("_", " ");
}

/** The unit that a measure's name carries, with the space before it. */
export function unitOf(name: string): string {
  const unit = UNITS.find(([ending]) => ending.test(name))?.[1] ?? "";
  return unit === "" || unit === "°" ? unit : ` ${unit}`;
}

/** A value in words: measures with their unit, ratios as percent, durations as durations. */
export function factValue(lang: Lang, name: string, value: string | number): string {
  if (typeof value === "string") {
    const known = VALUES[`${name}=${value}`]?.[INDEX[lang]];
    if (known !== undefined) return known;
    if (name === "zone" || name === "airspace") return wordOr(lang, `${name}.${value}`, value);
    return value;
  }
  if (name === "occupied") return word(lang, value > 0 ? "value.yes" : "value.no");
  if (name.endsWith("_ratio")) return `${quantity(value * 100)}%`;
  if (name.endsWith("_s")) return lasting(value * 1000, lang);
  return quantity(value) + unitOf(name);
}

/** What evidence rests on, as rows to show: name and value, the telling ones only. */
export function factRows(
  lang: Lang,
  because: ReadonlyArray<readonly [string, string | number]>,
): ReadonlyArray<readonly [string, string]> {
  const facts = new Map(because);
  const measure = facts.get("measure");
  const comparison = facts.get("comparison");
  const rows: (readonly [string, string])[] = [];
  for (const [name, value] of because) {
    if (name === "measure" || name === "comparison" || name === "clear_level") continue;
    if (name === "peak" && value === facts.get("value")) continue;
    if (name === "for_s" && value === 0) continue;
    if (!OF_THE_MEASURE.has(name) || typeof measure !== "string") {
      rows.push([factName(lang, name), factValue(lang, name, value)]);
    } else {
      const sign = name === "threshold" && typeof comparison === "string" ? (SIGNS[comparison] ?? "") : "";
      rows.push([
        factName(lang, name === "value" ? measure : name),
        sign + factValue(lang, measure, value),
      ]);
    }
  }
  // What was measured comes first, whatever the order of the wire.
  return typeof measure === "string"
    ? rows.sort((a, b) => Number(b[0] === factName(lang, measure)) - Number(a[0] === factName(lang, measure)))
    : rows;
}
