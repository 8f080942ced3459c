// 6 Stacks: what belongs together.
import { byName } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../model.js";
import { stackRemoval } from "../removal.js";
import { go, href, objectHref } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell } from "../parts/command.js";
import { Badge, Counts } from "../parts/marks.js";
import { Missing } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { Happened } from "./timeline.js";
import { ServiceTable } from "./services.js";

const WELL = ["well", "completed"];
const TROUBLED = ["down", "failed", "short", "halted"];

/** @param {any[]} rows */
function summed(rows) {
  /** @type {Record<string, number>} */
  const tasks = {};
  for (const row of rows) {
    for (const [mark, count] of Object.entries(row.Tasks ?? {})) tasks[mark] = (tasks[mark] ?? 0) + count;
  }
  return tasks;
}

export function StacksView() {
  const { value, error } = useLive("services");
  if (!value) return html`<${Missing} error=${error} />`;
  const groups = Map.groupBy([...value.rows.values()], (row) => row.Stack ?? "");
  const rows = [...groups].map(([name, services]) => ({ name, services, wrong: services.filter((row) => !WELL.includes(row.State)) }));
  rows.sort((a, b) => b.wrong.length - a.wrong.length || (a.name && b.name ? byName(a.name, b.name) : a.name ? -1 : 1));
  const columns = [
    { name: "name", title: "Stack", cell: (/** @type {any} */ row) => (row.name ? html`<a href=${objectHref("stack", row.name)}>${row.name}</a>` : html`<a href=${href("/services")}>(no stack)</a>`) },
    { name: "state", title: "State", cell: (/** @type {any} */ row) => (row.wrong.length ? html`<${Badge} word=${`${row.wrong.length} not as wanted`} tone=${row.wrong.some((/** @type {any} */ each) => TROUBLED.includes(each.State)) ? "bad" : "busy"} />` : html`<${Badge} word="well" />`) },
    { name: "services", title: "Services", class: "number", cell: (/** @type {any} */ row) => row.services.length },
    { name: "tasks", title: "Tasks", cell: (/** @type {any} */ row) => html`<${Counts} counts=${summed(row.services)} />` },
    { name: "names", title: "Its services", class: "says", cell: (/** @type {any} */ row) => row.services.map((/** @type {any} */ each) => each.Name).join(" ") },
  ];
  return html`<header class="screen-head"><h1>Stacks</h1><${Buttons} actions=${[{ name: "Deploy a stack", needs: "operator", run: () => go("/plan") }]} /></header>
    <${Table} label="Stacks" columns=${columns} rows=${rows} id=${(/** @type {any} */ row) => row.name} empty=${html`No stack yet. <${Command} text="swarm-manager stack deploy -c docker-compose.yaml app" />`} />`;
}

/** @param {{name: string}} props */
export function StackView({ name }) {
  const { value, error } = useLive("services");
  if (!value) return html`<${Missing} error=${error} />`;
  const rows = [...value.rows.values()].filter((row) => row.Stack === name);
  if (!rows.length) return html`<div class="notice"><h1>There is no stack ${name}</h1><p>No service belongs to it. <a href=${href("/stacks")}>All stacks</a></p></div>`;
  return html`<header class="screen-head"><h1>${name}</h1><p class="muted">stack</p>
      <${Buttons} actions=${[{ name: "Plan and deploy", needs: "operator", run: () => go(`/stacks/${encodeURIComponent(name)}/plan`) }, stackRemoval(name, rows)]} /></header>
    <${ServiceTable} rows=${rows} withStack=${false} />
    <p class="spaced"><${Command} text=${shell("swarm-manager", "stack", "ps", name)} /></p>
    <h2>Timeline</h2><${Happened} object=${name} />`;
}
