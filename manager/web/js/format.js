// Numbers and instants as people read them.
import { signal } from "@preact/signals";

/** The time, for what says how long ago something was; in seconds. */
export const now = signal(Date.now() / 1000);
setInterval(() => {
  if (!document.hidden) now.value = Date.now() / 1000;
}, 1000);

/** The manager's clock minus ours, in seconds. */
export const skew = signal(0);

const STEPS = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);

/** How long: `12 min`, `3 d`. @param {number} seconds */
function duration(seconds) {
  for (const [size, unit] of STEPS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return "0 s";
}

/** How long ago an instant (Unix seconds) was; it follows the clock. @param {number} at */
export function ago(at) {
  return duration(Math.max(0, now.value + skew.value - at));
}

// The browser reads its tables of languages for the first of these, which takes longer than all else at the start: each
// is made when it is first used.
const DAY = once(() => new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }));
const DAY_YEAR = once(() => new Intl.DateTimeFormat(undefined, { dateStyle: "full" }));
const NAMES = once(() => new Intl.Collator("en", { numeric: true }));

/** @template T @param {() => T} make @returns {() => T} */
function once(make) {
  /** @type {T | undefined} */
  let made;
  return () => (made ??= make());
}

/** An instant as a clock shows it, with its day unless that is today. @param {number} at @param {{withSeconds?: boolean}} [how] */
export function clock(at, { withSeconds = false } = {}) {
  const date = new Date(at * 1000);
  const time = withSeconds ? timeOfDay(at) : timeOfDay(at).slice(0, 5);
  return date.toDateString() === new Date().toDateString() ? time : `${DAY().format(date)} ${time}`;
}

/** @param {number} at */
export function day(at) {
  return DAY_YEAR().format(new Date(at * 1000));
}

/** `14:05:12`. @param {number} at */
export function timeOfDay(at) {
  return new Date(at * 1000).toTimeString().slice(0, 8);
}

/** Unix seconds of RFC 3339; 0 for what is none. @param {string | undefined} text */
export function instant(text) {
  const at = Date.parse(text ?? "") / 1000;
  return Number.isFinite(at) && at > 0 ? at : 0;
}

/** `1 task`, `12,345 tasks`. @param {number} count @param {string} noun */
export function plural(count, noun) {
  const grouped = String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${grouped} ${noun}${count === 1 ? "" : "s"}`;
}

/** Bytes in powers of 1024. @param {number} count */
export function bytes(count) {
  let value = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

/** @param {number} value */
export function cores(value) {
  return String(Math.round(value * 100) / 100);
}

/** Docker's durations, nanoseconds. @param {number} value */
export function nanoseconds(value) {
  return value >= 1e9 ? duration(value / 1e9) : `${Math.round(value / 1e6)} ms`;
}

/** An image without the digest that it is pinned to. @param {string | undefined} reference */
export function image(reference) {
  const [name, digest] = (reference ?? "").split("@");
  return /[:/]/.test(name) || !digest ? name.replace(/^docker\.io\/(library\/)?/, "") : `${name}@${digest.slice(7, 19)}`;
}

/** Order names as people do: w2 before w10. @param {string} a @param {string} b */
export function byName(a, b) {
  return NAMES().compare(a, b);
}

/** A host's name without its domain; an address is whole. @param {string} name */
export function hostOf(name) {
  return /[a-z]/i.test(name) && !name.includes(":") ? name.split(".", 1)[0] : name;
}

/** As tiles, rows and boxes call nodes and services. @param {string} id */
export function short(id) {
  return id.slice(0, 12);
}
