// What the manager counts, kept as it is told: asked for once, then changed by the feed.
import { useEffect } from "preact/hooks";
import { effect, signal } from "@preact/signals";
import { get } from "./api.js";
import { hints, link } from "./feed.js";
import { byName, skew } from "./format.js";

/** @typedef {{value: any, error: Error | undefined}} Known */

const PAGE = "200";
const ENTRIES = 1000;

/** @param {any} answer @param {any[]} rows */
function table(answer, rows) {
  return { index: answer.Index, at: answer.At, rows: new Map(rows.map((row) => [row.ID, row])) };
}

/** @param {any} known @param {any} event */
function merge(known, event) {
  if (event.Index < known.index) return known;
  const rows = new Map(known.rows);
  for (const row of event.Changed ?? []) rows.set(row.ID, row);
  for (const id of event.Removed ?? []) rows.delete(id);
  return { index: event.Index, at: event.At, rows };
}

async function allServices() {
  let answer = await get("/swarm/overview/services", { limit: PAGE });
  const rows = [...answer.Services];
  while (answer.Next) {
    answer = await get("/swarm/overview/services", { limit: PAGE, after: answer.Next });
    rows.push(...answer.Services);
  }
  return table(answer, rows);
}

/** How each topic is asked for, and how the feed's events change it. @type {Record<string, {ask: () => Promise<any>, merge: (known: any, event: any) => any}>} */
const TOPICS = {
  overview: { ask: () => get("/swarm/overview"), merge: (_, event) => event.Overview },
  nodes: { ask: async () => nodesOf(await get("/swarm/overview/nodes")), merge: mergeNodes },
  services: { ask: allServices, merge },
  timeline: {
    ask: async () => timelineOf(await get("/swarm/timeline", { limit: PAGE })),
    merge: (known, event) => ({ ...known, entries: [...newer(known, event), ...known.entries].slice(0, ENTRIES) }),
  },
};

/** The entries that are not known yet, the newest first. @param {any} known @param {any} event */
function newer(known, event) {
  return event.Entries.filter((/** @type {any} */ entry) => entry.ID > (known.entries[0]?.ID ?? 0)).toReversed();
}

/** Nodes are kept by their names. @param {any} answer */
function nodesOf(answer) {
  return table(answer, inOrder(answer.Nodes ?? []));
}

/** @param {any[]} rows */
function inOrder(rows) {
  return rows.sort((a, b) => byName(a.Name, b.Name));
}

/** @param {any} known @param {any} event */
function mergeNodes(known, event) {
  const merged = merge(known, event);
  const isPlaced = (/** @type {any} */ row) => known.rows.get(row.ID)?.Name === row.Name;
  return (event.Changed ?? []).every(isPlaced) ? merged : { ...merged, rows: new Map(inOrder([...merged.rows.values()]).map((row) => [row.ID, row])) };
}

/** @param {any} answer */
function timelineOf(answer) {
  return { began: answer.Began, entries: answer.Entries ?? [], next: answer.Next ?? 0 };
}

/** @type {Record<string, import("@preact/signals").Signal<Known>>} */
const known = Object.fromEntries(Object.keys(TOPICS).map((topic) => [topic, signal({ value: undefined, error: undefined })]));
/** @type {Record<string, Promise<void> | undefined>} */
const asked = {};

/** @param {string} topic */
function load(topic) {
  asked[topic] ??= TOPICS[topic]
    .ask()
    .then((value) => {
      if (topic === "overview") skew.value = value.At - Date.now() / 1000;
      known[topic].value = { value, error: undefined };
    })
    .catch((error) => {
      known[topic].value = { value: known[topic].value.value, error };
    })
    .finally(() => {
      asked[topic] = undefined;
    });
  return asked[topic];
}

/** @param {any} event @param {string} topic */
async function change(event, topic) {
  await asked[topic];
  const before = known[topic].value.value;
  if (!event || !before) await load(topic);
  else known[topic].value = { value: TOPICS[topic].merge(before, event), error: undefined };
}

/** Ask again for what could not be had, as soon as the manager is there. */
effect(() => {
  if (link.value.state !== "live") return;
  for (const topic of Object.keys(TOPICS)) if (known[topic].peek().error) load(topic);
});

/** What is known of a topic, kept up to date while the screen is there. @param {string} topic @returns {Known} */
export function useLive(topic) {
  useEffect(() => {
    const leave = hints.want([topic], change);
    load(topic);
    return leave;
  }, [topic]);
  return known[topic].value;
}

/** @param {string} topic */
export function peek(topic) {
  return known[topic].peek().value;
}
