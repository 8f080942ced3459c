// 4 Node: how its host is, what runs there, what can be done with it.
import { nodeActions } from "../actions.js";
import { filters, get } from "../api.js";
import { ago, byName, bytes, clock, cores, instant, short } from "../format.js";
import { html } from "../html.js";
import { href } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell } from "../parts/command.js";
import { Disk, PlainContainers } from "../parts/held.js";
import { Badge, State } from "../parts/marks.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Facts, Section, Table, said } from "../parts/table.js";
import { Meter } from "../parts/tile.js";
import { NodeUsage } from "../parts/usage.js";
import { markOf } from "../tasks.js";
import { Happened } from "./timeline.js";

const ENDED = ["failed", "stopped", "completed", "lost"];

/** @param {string} reference @param {AbortSignal} signal */
async function ask(reference, signal) {
  const node = await get(`/nodes/${encodeURIComponent(reference)}`, undefined, signal);
  const [tasks, tiles, boxes] = await Promise.all([
    get("/tasks", filters({ node: [node.ID] }), signal),
    get("/swarm/overview/nodes", undefined, signal),
    get("/swarm/overview/tasks", { node: node.ID }, signal),
  ]);
  const tile = (tiles.Nodes ?? []).find((/** @type {any} */ each) => each.ID === short(node.ID)) ?? {};
  return { node, tasks, tile, services: new Map(Object.entries(boxes.Services ?? {})) };
}

/** @param {{reference: string}} props */
export function NodeView({ reference }) {
  const { value, error } = useAnswer((signal) => ask(reference, signal), [reference], (found) => [`node:${found.node.ID}`]);
  if (!value) return html`<${Missing} error=${error} what="node of this name" />`;
  const { node, tasks, tile, services } = value;
  const isDown = node.Status.State === "down";
  const live = tasks.filter((/** @type {any} */ task) => !ENDED.includes(markOf(task)));
  const ended = tasks.filter((/** @type {any} */ task) => ENDED.includes(markOf(task)));
  return html`<header class="screen-head"><h1>${tile.Name ?? node.Description?.Hostname}</h1>
      <p><${Badge} word=${node.Status.State} /> <${Badge} word=${node.Spec.Availability} /> ${node.ManagerStatus && html`<${Badge} word="manager" tone="plain" />`}
        ${tile.Since ? html`<span class="muted number">${node.Status.State} for ${ago(tile.Since)}</span>` : null}</p>
      <${Buttons} actions=${nodeActions(node, live.length)} /></header>
    ${node.Status.Message && html`<p class=${isDown ? "task-error" : "muted"}>${node.Status.Message}</p>`}
    <${Section} title="Reserved">
      <div class="room">
        <${Meter} part=${tile.ReservedCores ?? 0} whole=${tile.Cores ?? 0} short="cores" text=${`${cores(tile.ReservedCores ?? 0)} of ${cores(tile.Cores ?? 0)} cores reserved`} />
        <span class="muted number">${cores(tile.ReservedCores ?? 0)} of ${cores(tile.Cores ?? 0)} cores reserved</span>
        <${Meter} part=${tile.ReservedMemory ?? 0} whole=${tile.Memory ?? 0} short="memory" text=${`${bytes(tile.ReservedMemory ?? 0)} of ${bytes(tile.Memory ?? 0)} reserved`} />
        <span class="muted number">${bytes(tile.ReservedMemory ?? 0)} of ${bytes(tile.Memory ?? 0)} reserved</span>
      </div>
    <//>
    <${NodeUsage} id=${node.ID} isDown=${isDown} />
    <${Section} title=${`Tasks (${live.length})`}><${Tasks} tasks=${live} services=${services} isLost=${isDown} empty="No task runs here." /><//>
    ${ended.length > 0 && html`<details><summary>${ended.length} that have ended</summary><${Tasks} tasks=${ended} services=${services} isLost=${false} /></details>`}
    ${node.Status.State === "ready" && html`<${PlainContainers} id=${node.ID} /><${Disk} id=${node.ID} />`}
    <${About} node=${node} />
    <${Section} title="Timeline"><${Happened} object=${node.ID} /><//>`;
}

/** @param {{tasks: any[], services: Map<string, any>, isLost: boolean, empty?: string}} props */
function Tasks({ tasks, services, isLost, empty }) {
  const name = (/** @type {any} */ task) => `${services.get(short(task.ServiceID ?? "")) ?? short(task.ServiceID ?? "")}${task.Slot ? `.${task.Slot}` : ""}`;
  const columns = [
    { name: "task", title: "Task", cell: (/** @type {any} */ task) => html`<a href=${href(`/tasks/${task.ID}`)}>${name(task)}</a>` },
    { name: "state", title: "State", cell: (/** @type {any} */ task) => html`<${State} task=${task} isLost=${isLost} />` },
    { name: "since", title: "Since", class: "number", cell: (/** @type {any} */ task) => ago(instant(task.Status.Timestamp)) },
    { name: "says", title: "Message", class: "says", cell: (/** @type {any} */ task) => said(task.Status.Err) },
  ];
  const rows = tasks.sort((a, b) => byName(name(a), name(b)));
  return html`<${Table} label="Tasks" columns=${columns} rows=${rows} id=${(/** @type {any} */ task) => task.ID} empty=${empty} />`;
}

/** @param {{node: any}} props */
function About({ node }) {
  const { Description: description = {}, Spec: spec, Status: status } = node;
  const labels = Object.entries(spec.Labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return html`<${Section} title="Details">
    <${Facts} pairs=${[
      ["Address", status.Addr],
      ["Role", spec.Role],
      ["Engine", description.Engine?.EngineVersion],
      ["Platform", `${description.Platform?.OS ?? ""} ${description.Platform?.Architecture ?? ""}`.trim()],
      ["Labels", labels.join(", ")],
      ["Lacks", (description.Lacks ?? []).join(", ")],
      ["Joined", clock(instant(node.CreatedAt))],
      ["ID", html`<code>${node.ID}</code>`],
    ]} />
    <${Command} text=${shell("swarm-manager", "node", "inspect", "--pretty", description.Hostname ?? node.ID)} />
  <//>`;
}
