/** Says when something happened, in the simulated world's time and always as it is in Shanghai. */

import { get } from "./api.js";

const ZONE = "Asia/Shanghai";
const DAY = 86400;
const SHANGHAI_OFFSET = 8 * 3600; // no daylight saving since 1991, so plain arithmetic is enough
let ahead = 0; // simulated seconds minus the browser's

const format = (options) => new Intl.DateTimeFormat("zh-CN", { timeZone: ZONE, hourCycle: "h23", ...options });
const CLOCK = format({ hour: "2-digit", minute: "2-digit" });
const WEEKDAY = format({ weekday: "long" });
const MONTH_DAY = format({ month: "numeric", day: "numeric" });
const FULL = format({ year: "numeric", month: "long", day: "numeric" });
const EXACT = format({
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** Ask the simulator what time it is; everything below then speaks in its time. */
export async function readClock() {
  const { now } = await get("/sim/clock");
  ahead = now - Date.now() / 1000;
  return now;
}

export const now = () => Date.now() / 1000 + ahead;
export const clockTime = (at) => CLOCK.format(at * 1000);
export const exact = (at) => EXACT.format(at * 1000);

const dayOf = (at) => Math.floor((at + SHANGHAI_OFFSET) / DAY);

/** As WeChat's chat list says it: 14:05, 昨天, 星期三, 3/9. */
export function shortTime(at) {
  if (!at) return "";
  const days = dayOf(now()) - dayOf(at);
  if (days <= 0) return clockTime(at);
  if (days === 1) return "昨天";
  return days < 7 ? WEEKDAY.format(at * 1000) : MONTH_DAY.format(at * 1000);
}

/** As WeChat says it between messages: 14:05, 昨天 14:05, 星期三 14:05, 2025年3月9日 14:05. */
export function longTime(at) {
  const days = dayOf(now()) - dayOf(at);
  if (days <= 0) return clockTime(at);
  const day = days === 1 ? "昨天" : days < 7 ? WEEKDAY.format(at * 1000) : FULL.format(at * 1000);
  return `${day} ${clockTime(at)}`;
}
