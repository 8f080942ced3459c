// Keyboard: one key does something, but not while somebody types; it can be switched off (WCAG 2.1.4).
import { signal } from "@preact/signals";
import { go } from "./router.js";

const STORED = "swarm-keys";
const PREFIX_MILLISECONDS = 1500;

export const enabled = signal(localStorage.getItem(STORED) !== "off");
export const showsHelp = signal(false);

/** @type {Record<string, [string, string]>} */
export const PLACES = {
  o: ["/", "overview"],
  s: ["/services", "services"],
  n: ["/nodes", "nodes"],
  k: ["/stacks", "stacks"],
  e: ["/networks", "networks"],
  c: ["/secrets", "secrets and configs"],
  t: ["/timeline", "timeline"],
  w: ["/wall", "wall"],
};

/** @type {[string, string][]} */
export const HELP = [
  ["/", "search all names"],
  ...Object.entries(PLACES).map(([key, [, name]]) => /** @type {[string, string]} */ ([`g ${key}`, `go to ${name}`])),
  ["j k", "next and previous row"],
  ["Enter", "open the row"],
  ["Esc", "close, or leave the row"],
  ["l", "logs"],
  ["t", "terminal"],
  ["y", "why it waits"],
  ["c", "copy the first command"],
  ["?", "this list"],
];

export function setEnabled(/** @type {boolean} */ on) {
  enabled.value = on;
  localStorage.setItem(STORED, on ? "on" : "off");
}

let prefix = 0;

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
    if (!enabled.value || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });
}

/** @param {string} key */
function press(key) {
  if (Date.now() - prefix < PREFIX_MILLISECONDS && PLACES[key]) {
    prefix = 0;
    go(PLACES[key][0]);
    return true;
  }
  prefix = key === "g" ? Date.now() : 0;
  const act = ACTIONS[key];
  return act ? act() !== false : false;
}

/** @type {Record<string, () => unknown>} */
const ACTIONS = {
  "/": () => document.getElementById("search")?.focus(),
  "?": () => {
    showsHelp.value = true;
  },
  j: () => step(1),
  k: () => step(-1),
  l: () => click("[data-key=logs]"),
  t: () => click("[data-key=terminal]"),
  y: () => click("[data-key=why]"),
  c: () => click("main [data-copy]"),
};

/** @param {number} by */
function step(by) {
  const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main [data-row] a")]).filter(
    (link, n, all) => link.closest("[data-row]") !== all[n - 1]?.closest("[data-row]"),
  );
  if (!links.length) return false;
  const at = links.findIndex((link) => link.closest("[data-row]")?.contains(document.activeElement));
  const next = links[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by, 0), links.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/** @param {string} selector */
function click(selector) {
  const found = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  found?.click();
  return Boolean(found);
}

function leave() {
  const active = document.activeElement;
  if (active instanceof HTMLElement && !active.closest("dialog")) active.blur();
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && Boolean(target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]"));
}
