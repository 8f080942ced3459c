// The boxes of nodes and services that are in view: asked for together, and again when their rows have changed.
import { signal } from "@preact/signals";
import { get } from "./api.js";
import { peek } from "./model.js";

const MOST = 64;
const TOGETHER_MILLISECONDS = 30;
// Each has some hundred boxes.
const DRAWN_AT_ONCE = 8;

/** @typedef {import("./draw/boxes.js").Box} Box */

/** The boxes of `node:ID` or `service:ID`. @type {Map<string, import("@preact/signals").Signal<Box[] | undefined>>} */
const known = new Map();
/** @type {Set<string>} */
const wanted = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** Names of the services that boxes belong to, by their ids. */
export const names = signal(/** @type {Map<string, string>} */ (new Map()));

/** @param {string} key */
export function boxesOf(key) {
  let found = known.get(key);
  if (!found) known.set(key, (found = signal(/** @type {Box[] | undefined} */ (undefined))));
  return found;
}

/** @param {string} key */
export function refresh(key) {
  wanted.add(key);
  timer ??= setTimeout(flush, TOGETHER_MILLISECONDS);
}

async function flush() {
  timer = undefined;
  const keys = [...wanted].slice(0, MOST);
  for (const key of keys) wanted.delete(key);
  if (wanted.size) timer = setTimeout(flush, 0);
  const of = (/** @type {string} */ kind) => keys.filter((key) => key.startsWith(`${kind}:`)).map((key) => key.slice(kind.length + 1));
  const [nodes, services, waiting] = [of("node"), of("service"), keys.includes("waiting")];
  // What cannot be had now is asked for again with the next change; that the manager is lost is said elsewhere.
  await Promise.all([ask("node", nodes), ask("service", services), waiting && askWaiting()]).catch(() => undefined);
}

/** @param {string} kind @param {string[]} ids */
async function ask(kind, ids) {
  if (!ids.length) return;
  const boxes = read(await get("/swarm/overview/tasks", { [kind]: ids.join(",") }));
  const field = kind === "node" ? "node" : "service";
  const groups = Map.groupBy(boxes, (box) => box[field]);
  for (const [n, id] of ids.entries()) {
    if (n % DRAWN_AT_ONCE === DRAWN_AT_ONCE - 1) await pause();
    boxesOf(`${kind}:${id}`).value = inOrder(groups.get(id) ?? []);
  }
}

/** Let the page have its turn. */
function pause() {
  return new Promise((resolve) => setTimeout(resolve));
}

async function askWaiting() {
  boxesOf("waiting").value = inOrder(read(await get("/swarm/overview/tasks", { waiting: "1" })));
}

/** @param {any} answer @returns {(Box & {node: string, since: number})[]} */
function read(answer) {
  const found = Object.entries(answer.Services ?? {});
  if (found.some(([id, name]) => names.peek().get(id) !== name)) {
    names.value = new Map([...names.peek(), .../** @type {[string, string][]} */ (found)]);
  }
  return (answer.Boxes ?? []).map((/** @type {any[]} */ row) => {
    const [id, service, slot, node, mark, since, error] = row;
    return { id, service, slot, node, mark, since, error: error ?? "" };
  });
}

/** @param {Box[]} boxes */
function inOrder(boxes) {
  const name = (/** @type {Box} */ box) => names.peek().get(box.service) ?? box.service;
  return boxes.sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : a.slot - b.slot));
}

/** What people call a task: by its slot, a global one by its node. @param {Box} box */
export function nameOf(box) {
  const service = names.value.get(box.service) ?? box.service.slice(0, 12);
  return `${service}.${box.slot || (peek("nodes")?.rows.get(box.node)?.Name ?? box.node.slice(0, 12))}`;
}
