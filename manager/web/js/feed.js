// What changes, as it does: one stream for all tabs of this browser. One tab has it (Web Locks) and tells the others
// (BroadcastChannel); when that one is closed, another takes over. While all are hidden for a while there is none.
import { signal } from "@preact/signals";
import { Lost, Refused, open } from "./api.js";

const PATH = "/swarm/overview/feed";
const CHANNEL = "swarm-feed";
const LOCK = "swarm-feed";
// The manager says something every 5 s.
const SILENT_MILLISECONDS = 12_000;
const HIDDEN_MILLISECONDS = 30_000;
const RETRY_MILLISECONDS = 1_000;
const CHANGED_MILLISECONDS = 50;
const MOST_TOPICS = 64;

/** @typedef {{state: "connecting" | "live" | "lost" | "refused", at: number, why: string}} Link */

/** How the stream is: `at` is when something was last heard (Unix seconds). */
export const link = signal(/** @type {Link} */ ({ state: "connecting", at: 0, why: "" }));

/** @typedef {(data: any, topic: string) => void} Listener */
/** @type {Map<string, Set<Listener>>} */
const listeners = new Map();
const me = crypto.randomUUID();
const channel = new BroadcastChannel(CHANNEL);
/** What each tab wants, by its id; kept by all, used by the one that has the stream. @type {Map<string, {topics: string[], visible: boolean}>} */
const tabs = new Map();
let leads = false;

export const hints = {
  /**
   * Hear of changes of some topics. A `reset` is told as a change without data: ask anew.
   * @param {string[]} topics @param {Listener} listener
   */
  want(topics, listener) {
    for (const topic of topics) listeners.set(topic, (listeners.get(topic) ?? new Set()).add(listener));
    say();
    return () => {
      for (const topic of topics) {
        listeners.get(topic)?.delete(listener);
        if (!listeners.get(topic)?.size) listeners.delete(topic);
      }
      say();
    };
  },
};

/** Begin; the stream is there for as long as the tab is. */
export function begin() {
  channel.addEventListener("message", ({ data }) => hear(data));
  document.addEventListener("visibilitychange", say);
  addEventListener("pagehide", () => channel.postMessage({ gone: me }));
  addEventListener("pageshow", say);
  navigator.locks.request(LOCK, lead);
  channel.postMessage({ who: true });
  say();
}

/** Tell the others, and so the one that has the stream, what this tab wants. */
function say() {
  const mine = { topics: [...listeners.keys()], visible: !document.hidden };
  tabs.set(me, mine);
  channel.postMessage({ tab: me, ...mine });
  wanted.change();
}

/** @param {any} message */
function hear(message) {
  if (message.tab) tabs.set(message.tab, { topics: message.topics, visible: message.visible });
  if (message.gone) tabs.delete(message.gone);
  if (message.who) say();
  if (message.event) tell(message.event, message.data);
  if (message.link) link.value = message.link;
  if (message.tab || message.gone) wanted.change();
}

/** @param {string} topic @param {any} data */
function tell(topic, data) {
  if (topic === "reset") {
    for (const each of data.Topics) tell(each, null);
    return;
  }
  for (const listener of [...(listeners.get(topic) ?? [])]) listener(data, topic);
}

// --- in the tab that has the stream ----------------------------------------------------------------------------------

/** What all tabs want together, and whether anybody looks. `changed` is resolved when that is other than before. */
const wanted = {
  text: "",
  /** @type {(() => void) | null} */
  wake: null,
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer: undefined,
  change() {
    if (!leads) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), CHANGED_MILLISECONDS);
  },
  settle() {
    const all = [...tabs.values()];
    const topics = [...new Set(all.flatMap((tab) => tab.topics))].sort(plainFirst).slice(0, MOST_TOPICS).join(",");
    if (!all.some((tab) => tab.visible)) {
      this.timer = setTimeout(() => this.set(""), HIDDEN_MILLISECONDS);
    } else {
      this.set(topics);
    }
  },
  /** @param {string} text */
  set(text) {
    if (text === this.text) return;
    this.text = text;
    this.wake?.();
  },
  /** Resolves when something else is wanted. @returns {Promise<void>} */
  changed() {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  },
};

/** Topics of single objects come last: where there are too many, these are left out. @param {string} a @param {string} b */
function plainFirst(a, b) {
  return Number(a.includes(":")) - Number(b.includes(":")) || (a < b ? -1 : 1);
}

let last = "";
/** @type {Set<string>} */
let followed = new Set();

/** Keep the stream open, whatever happens to it, until the tab goes. @returns {Promise<never>} */
async function lead() {
  leads = true;
  wanted.settle();
  for (;;) {
    const changed = wanted.changed();
    if (!wanted.text) {
      await changed;
      continue;
    }
    const abort = new AbortController();
    const stream = follow(wanted.text, abort);
    await Promise.race([stream, changed]);
    abort.abort();
    const failed = await stream;
    if (failed) {
      report(failed instanceof Refused && failed.isKeyless ? "refused" : "lost", failed.message);
      await Promise.race([pause(RETRY_MILLISECONDS), changed]);
    }
  }
}

/** Read the stream until it ends or is aborted; returns why it ended. @param {string} topics @param {AbortController} abort */
async function follow(topics, abort) {
  const silence = watchdog(() => abort.abort());
  try {
    /** @type {Record<string, string>} */
    const headers = last ? { "Last-Event-ID": last } : {};
    const answer = await open("GET", PATH, { query: { topics }, headers, signal: abort.signal });
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return new Lost("the manager ended the stream");
      silence.heard();
      const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) pass(event);
    }
  } catch (error) {
    if (silence.bitten) return new Lost("nothing is heard from the manager");
    if (abort.signal.aborted) return null;
    if (error instanceof Refused && error.status === 404) return dropUnknown(error);
    return error instanceof Error ? error : new Lost(String(error));
  } finally {
    silence.end();
  }
}

/** An object that a tab looks at is gone: its screen says so, and the stream goes on without it. @param {Refused} error */
function dropUnknown(error) {
  for (const [id, tab] of tabs) {
    tabs.set(id, { ...tab, topics: tab.topics.filter((topic) => !topic.includes(":")) });
  }
  wanted.settle();
  return wanted.text ? null : error;
}

/** @param {string} text */
function pass(text) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of text.split("\n")) {
    const colon = line.indexOf(": ");
    fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  if (fields.id) last = fields.id;
  report("live", "");
  if (fields.event === "beat") return;
  const data = JSON.parse(fields.data);
  if (fields.event === "hello") return greet(data.Topics);
  channel.postMessage({ event: fields.event, data });
  tell(fields.event, data);
}

/** What is followed from now on may have changed since it was asked for. @param {string[]} topics */
function greet(topics) {
  const fresh = { Topics: topics.filter((topic) => !followed.has(topic)) };
  followed = new Set(topics);
  if (!fresh.Topics.length) return;
  channel.postMessage({ event: "reset", data: fresh });
  tell("reset", fresh);
}

/** @param {Link["state"]} state @param {string} why */
function report(state, why) {
  const at = state === "live" ? Date.now() / 1000 : link.value.at;
  link.value = { state, at, why };
  channel.postMessage({ link: link.value });
}

/** @param {() => void} bite */
function watchdog(bite) {
  const dog = {
    bitten: false,
    timer: /** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined),
    heard() {
      clearTimeout(dog.timer);
      dog.timer = setTimeout(() => {
        dog.bitten = true;
        bite();
      }, SILENT_MILLISECONDS);
    },
    end() {
      clearTimeout(dog.timer);
    },
  };
  dog.heard();
  return dog;
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
