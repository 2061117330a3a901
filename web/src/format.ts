/** Numbers, times and durations as people read them. Pure; instants are Unix milliseconds. */

export type Lang = "zh" | "en";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** The city's wall clock: China Standard Time, one offset, no summer time. */
const CITY_ZONE = "Asia/Shanghai";

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  timeZone: CITY_ZONE,
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY: Readonly<Record<Lang, Intl.DateTimeFormat>> = {
  zh: new Intl.DateTimeFormat("zh-CN", {
    timeZone: CITY_ZONE,
    month: "long",
    day: "numeric",
    weekday: "short",
  }),
  en: new Intl.DateTimeFormat("en-GB", {
    timeZone: CITY_ZONE,
    weekday: "short",
    day: "numeric",
    month: "short",
  }),
};

/** 08:05:09 on the city's clock. */
export function clockTime(ms: number | null): string {
  return ms === null || !Number.isFinite(ms) ? "--:--:--" : CLOCK.format(ms);
}

/** The city's calendar day. */
export function calendarDay(ms: number | null, lang: Lang): string {
  return ms === null || !Number.isFinite(ms) ? "" : DAY[lang].format(ms);
}

/** A duration in at most two units, the coarse one first. Negative durations count as none. */
export function duration(ms: number, lang: Lang): string {
  const left = Math.max(0, ms);
  const zh = lang === "zh";
  const days = Math.floor(left / DAY_MS);
  const hours = Math.floor((left % DAY_MS) / HOUR_MS);
  const minutes = Math.floor((left % HOUR_MS) / MINUTE_MS);
  const seconds = Math.floor((left % MINUTE_MS) / 1000);
  const parts: string[] = [];
  if (days > 0) parts.push(zh ? `${days} 天` : `${days} d`);
  if (hours > 0) parts.push(zh ? `${hours} 小时` : `${hours} h`);
  if (minutes > 0 && days === 0) parts.push(zh ? `${minutes} 分` : `${minutes} min`);
  if (parts.length === 0) parts.push(zh ? `${seconds} 秒` : `${seconds} s`);
  return parts.slice(0, 2).join(" ");
}

/** A measured duration: below an hour to the second, because thresholds are that fine. */
export function lasting(ms: number, lang: Lang): string {
  const left = Math.max(0, ms);
  if (left >= HOUR_MS) return duration(left, lang);
  const minutes = Math.floor(left / MINUTE_MS);
  const seconds = Math.round((left % MINUTE_MS) / 1000);
  const zh = lang === "zh";
  const parts: string[] = [];
  if (minutes > 0) parts.push(zh ? `${minutes} 分` : `${minutes} min`);
  if (seconds > 0 || minutes === 0) parts.push(zh ? `${seconds} 秒` : `${seconds} s`);
  return parts.join(" ");
}

/** How long ago, for lists: the first minute is "just now". */
export function age(sinceMs: number, nowMs: number, lang: Lang): string {
  const gone = nowMs - sinceMs;
  if (gone < MINUTE_MS) return lang === "zh" ? "刚刚" : "just now";
  return lang === "zh" ? `${duration(gone, lang)}前` : `${duration(gone, lang)} ago`;
}

/** Time to a deadline, and whether it has passed. */
export function countdown(
  deadlineMs: number,
  nowMs: number,
  lang: Lang,
): { readonly text: string; readonly overdue: boolean } {
  const left = deadlineMs - nowMs;
  const span = duration(Math.abs(left), lang);
  if (left >= 0) return { text: lang === "zh" ? `剩余 ${span}` : `${span} left`, overdue: false };
  return { text: lang === "zh" ? `超时 ${span}` : `${span} overdue`, overdue: true };
}

/** A count or rate in few characters; an unknown one is a dash, never a zero. */
export function figure(value: number | null, digits = 0): string {
  if (value === null || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** A measured value with as many digits as it deserves. */
export function quantity(value: number): string {
  const size = Math.abs(value);
  if (size === 0 || Number.isInteger(value)) return value.toLocaleString("en-US");
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
  return Number(value.toFixed(digits)).toLocaleString("en-US", { maximumFractionDigits: digits });
}

/** Six decimals of a degree are about 0.1 m. */
export function coordinates(lonDeg: number, latDeg: number): string {
  return `${latDeg.toFixed(6)}, ${lonDeg.toFixed(6)}`;
}

/**
 * City time between two readings of it.
 *
 * The server says city time once a second; the city may run faster than the wall. Between two
 * readings time goes on at the rate last seen; if readings stop, so does the clock, because
 * what is not known is not shown.
 */
export class CityClock {
  /** The last readings, the oldest first: the rate is that between its ends. */
  private readings: (readonly [cityMs: number, wallMs: number])[] = [];

  constructor(
    private readonly holdMs = 2500,
    private readonly most = 10,
  ) {}

  /** Take a reading: city time `cityMs` at `wallMs` of a monotonic wall clock. */
  read(cityMs: number, wallMs: number): void {
    const last = this.readings.at(-1);
    // Another city or another run: what was known of the rate is void.
    if (last !== undefined && cityMs < last[0]) this.readings = [];
    this.readings = [...this.readings.slice(1 - this.most), [cityMs, wallMs]];
  }

  /** City seconds per wall second, as last seen; 1 while not known. */
  get factor(): number {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    if (first === undefined || last === undefined || last[1] - first[1] < 200) return 1;
    return Math.min(1000, (last[0] - first[0]) / (last[1] - first[1]));
  }

  /** Whether the readings span enough time for the rate to be told to people. */
  get settled(): boolean {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    return first !== undefined && last !== undefined && last[1] - first[1] >= 2500;
  }

  /** City time at `wallMs`; null before the first reading. */
  now(wallMs: number): number | null {
    const last = this.readings.at(-1);
    if (last === undefined) return null;
    return last[0] + this.factor * Math.min(Math.max(0, wallMs - last[1]), this.holdMs);
  }
}
