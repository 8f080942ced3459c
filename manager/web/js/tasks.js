// Tasks as the API has them: their marks, and the slots that they belong to.
import { instant, short } from "./format.js";

const ENDED = /** @type {Record<string, string>} */ ({ complete: "completed", failed: "failed", rejected: "failed", orphaned: "lost", shutdown: "stopped", remove: "stopped" });
const WAIT = ["new", "allocated", "pending"];
const STARTS = ["assigned", "accepted", "preparing", "ready", "starting"];

/** The mark of a task, as the manager's own counting has it. @param {any} task @param {boolean} [isLost] its node is down */
export function markOf(task, isLost = false) {
  const state = task.Status.State;
  if (ENDED[state]) return ENDED[state];
  if (isLost) return "lost";
  if (["shutdown", "remove"].includes(task.DesiredState)) return task.NodeID ? "stopping" : "stopped";
  if (WAIT.includes(state)) return "waiting";
  return STARTS.includes(state) ? "starting" : "running";
}

/** The tasks of each slot, newest first; one that is meant to run before those that are not. @param {any[]} tasks */
export function slotsOf(tasks) {
  const groups = Map.groupBy(tasks, (task) => (task.Slot ? `slot ${task.Slot}` : `node ${task.NodeID}`));
  const age = (/** @type {any} */ task) => instant(task.CreatedAt);
  return [...groups]
    .map(([key, all]) => {
      const [newest, ...earlier] = all.sort((a, b) => age(b) - age(a));
      return { key, newest, earlier };
    })
    .sort((a, b) => (a.newest.Slot ?? 0) - (b.newest.Slot ?? 0));
}

/** The tile of a task's node. @param {any} task @param {Map<string, any>} nodes by their tiles' ids, which are short */
export function nodeOf(task, nodes) {
  return nodes.get(short(task.NodeID ?? ""));
}

/** @param {any} task @param {Map<string, any>} nodes */
export function slotName(task, nodes) {
  return String(task.Slot || (nodeOf(task, nodes)?.Name ?? task.ID.slice(0, 6)));
}
