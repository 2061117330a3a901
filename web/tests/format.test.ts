import { describe, expect, it } from "vitest";
import {
  CityClock,
  age,
  clockTime,
  coordinates,
  countdown,
  duration,
  figure,
  lasting,
  quantity,
} from "../src/format.ts";

const S = 1000;
const MIN = 60 * S;
const H = 60 * MIN;

describe("durations", () => {
  it.each([
    [0, "0 s", "0 秒"],
    [-5 * S, "0 s", "0 秒"],
    [59.9 * S, "59 s", "59 秒"],
    [MIN, "1 min", "1 分"],
    [61 * MIN, "1 h 1 min", "1 小时 1 分"],
    [2 * H, "2 h", "2 小时"],
    [26 * H + 30 * MIN, "1 d 2 h", "1 天 2 小时"],
  ])("%d ms", (ms, en, zh) => {
    expect(duration(ms, "en")).toBe(en);
    expect(duration(ms, "zh")).toBe(zh);
  });

  it("keeps the seconds of what was measured", () => {
    expect(lasting(95 * S, "en")).toBe("1 min 35 s");
    expect(lasting(120 * S, "zh")).toBe("2 分");
    expect(lasting(0, "zh")).toBe("0 秒");
    expect(lasting(2 * H, "en")).toBe("2 h");
  });

  it("says how long ago", () => {
    expect(age(0, 30 * S, "en")).toBe("just now");
    expect(age(0, 5 * MIN, "zh")).toBe("5 分前");
    // A case opened after the last reading of city time is new, not minus one minute old.
    expect(age(10 * S, 0, "zh")).toBe("刚刚");
  });

  it("counts down and then up", () => {
    expect(countdown(10 * MIN, 0, "en")).toEqual({ text: "10 min left", overdue: false });
    expect(countdown(0, 90 * MIN, "zh")).toEqual({ text: "超时 1 小时 30 分", overdue: true });
    expect(countdown(0, 0, "en").overdue).toBe(false);
  });
});

describe("numbers", () => {
  it("shows the unknown as a dash", () => {
    expect(figure(null)).toBe("–");
    expect(figure(Number.NaN)).toBe("–");
    expect(figure(0)).toBe("0");
    expect(figure(12345.6)).toBe("12,346");
    expect(figure(2_500_000)).toBe("2.5 M");
  });

  it("gives a value the digits it deserves", () => {
    expect(quantity(0.31)).toBe("0.31");
    expect(quantity(0.0123)).toBe("0.0123");
    expect(quantity(182.4)).toBe("182");
    expect(quantity(22.55)).toBe("22.6");
    expect(quantity(0)).toBe("0");
    expect(quantity(-3)).toBe("-3");
  });

  it("writes positions with latitude first, as people do", () => {
    expect(coordinates(120.3846, 36.0614)).toBe("36.061400, 120.384600");
  });
});

describe("the city's clock", () => {
  it("is China's", () => {
    expect(clockTime(Date.parse("2026-01-01T00:00:00Z"))).toBe("08:00:00");
    expect(clockTime(Date.parse("2025-12-31T16:00:00Z"))).toBe("00:00:00");
    expect(clockTime(null)).toBe("--:--:--");
  });

  it("runs on at the city's speed between readings and stops without them", () => {
    const clock = new CityClock(2500);
    expect(clock.now(0)).toBeNull();
    clock.read(0, 0);
    expect(clock.factor).toBe(1);
    clock.read(20_000, 1000);
    expect(clock.factor).toBe(20);
    expect(clock.now(1500)).toBe(30_000);
    expect(clock.now(60_000)).toBe(20_000 + 20 * 2500);
  });

  it("forgets its speed when another run begins", () => {
    const clock = new CityClock();
    clock.read(100_000, 0);
    clock.read(120_000, 1000);
    clock.read(0, 2000);
    expect(clock.factor).toBe(1);
    expect(clock.now(2000)).toBe(0);
  });
});
