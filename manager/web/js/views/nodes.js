// All nodes.
import { ago, byName, bytes, cores } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../model.js";
import { choose, objectHref, place } from "../router.js";
import { Away, Badge, Counts } from "../parts/marks.js";
import { Missing } from "../parts/state.js";
import { Table, said } from "../parts/table.js";

const RANKS = ["down", "unknown", "disconnected", "ready"];

/** How much of something a host uses; of one that is down that is not known. @param {any} tile @param {number | undefined} part @param {number | undefined} whole */
function share(tile, part, whole) {
  return part === undefined || !whole || tile.State === "down" ? "" : `${Math.round((part / whole) * 100)} %`;
}

/** What hosts use, where they are measured. */
const USED = [
  { name: "cpu", title: "CPU", class: "number right", cell: (/** @type {any} */ tile) => share(tile, tile.CPU, 1) },
  { name: "used", title: "Memory", class: "number right", cell: (/** @type {any} */ tile) => share(tile, tile.MemoryUsed, tile.Memory) },
  { name: "disk", title: "Disk", class: "number right", cell: (/** @type {any} */ tile) => share(tile, tile.DiskUsed, tile.Disk) },
];

export function NodesView() {
  const { value, error } = useLive("nodes");
  if (!value) return html`<${Missing} error=${error} />`;
  const filter = place.value.query.get("filter") ?? "";
  const all = [...value.rows.values()];
  const rows = all
    .filter((tile) => `${tile.Name} ${tile.State} ${tile.Availability ?? ""}`.toLowerCase().includes(filter.toLowerCase()))
    .sort((a, b) => RANKS.indexOf(a.State) - RANKS.indexOf(b.State) || byName(a.Name, b.Name));
  const columns = [
    { name: "name", title: "Node", cell: (/** @type {any} */ tile) => html`<a href=${objectHref("node", tile.Name)}>${tile.Name}</a>` },
    { name: "state", title: "State", cell: (/** @type {any} */ tile) => html`<${Badge} word=${tile.State} /> ${tile.State !== "ready" && tile.Since ? html`<span class="muted number">${ago(tile.Since)}</span> ` : null}<${Away} tile=${tile} />` },
    { name: "role", title: "Role", cell: (/** @type {any} */ tile) => (tile.Manager ? "manager" : "worker") },
    { name: "tasks", title: "Tasks", cell: (/** @type {any} */ tile) => html`<${Counts} counts=${tile.Tasks} />` },
    { name: "says", title: "Message", class: "says", cell: (/** @type {any} */ tile) => said(tile.Message) },
    ...(all.some((tile) => tile.CPU !== undefined) ? USED : []),
    { name: "cores", title: "Cores reserved", class: "number right", cell: (/** @type {any} */ tile) => `${cores(tile.ReservedCores ?? 0)} / ${cores(tile.Cores ?? 0)}` },
    { name: "memory", title: "Memory reserved", class: "number right", cell: (/** @type {any} */ tile) => `${bytes(tile.ReservedMemory ?? 0)} / ${bytes(tile.Memory ?? 0)}` },
    { name: "failures", title: "Failed in 1 h", class: "number right", cell: (/** @type {any} */ tile) => tile.Failures || "" },
  ];
  return html`<header class="screen-head"><h1>Nodes</h1><span class="muted number">${rows.length} of ${all.length}</span>
      <input type="search" placeholder="Filter by name or state" aria-label="Filter nodes" value=${filter} spellcheck=${false}
        onInput=${(/** @type {any} */ event) => choose({ filter: event.currentTarget.value })} /></header>
    <${Table} label="Nodes" columns=${columns} rows=${rows} id=${(/** @type {any} */ tile) => tile.ID} empty="No node matches." />`;
}
