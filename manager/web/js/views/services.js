// All services, trouble first.
import { html } from "../html.js";
import { useLive } from "../model.js";
import { choose, href, objectHref, place } from "../router.js";
import { byName, clock } from "../format.js";
import { Badge, Counts } from "../parts/marks.js";
import { Missing } from "../parts/state.js";
import { Table, said } from "../parts/table.js";

const RANKS = ["down", "failed", "short", "halted", "updating", "starting", "well", "completed"];

/** @param {any} row */
export function running(row) {
  const have = row.Mode?.endsWith("job") ? (row.Completed ?? 0) : (row.Running ?? 0);
  return `${have}/${row.Desired ?? 0}`;
}

/** @param {any[]} rows */
function byTrouble(rows) {
  return rows.sort((a, b) => RANKS.indexOf(a.State) - RANKS.indexOf(b.State) || byName(a.Name, b.Name));
}

/** @param {{rows: any[], withStack?: boolean, empty?: unknown}} props */
export function ServiceTable({ rows, withStack = true, empty }) {
  const columns = [
    { name: "name", title: "Service", cell: (/** @type {any} */ row) => html`<a href=${objectHref("service", row.Name)}>${row.Name}</a>` },
    { name: "state", title: "State", cell: (/** @type {any} */ row) => html`<${Badge} word=${row.State} />` },
    { name: "running", title: "Tasks", class: "number", cell: (/** @type {any} */ row) => html`${running(row)} <span class="muted">${row.Mode && row.Mode !== "replicated" ? row.Mode : ""}</span>` },
    { name: "marks", title: "Slots", cell: (/** @type {any} */ row) => html`<${Counts} counts=${row.Tasks} />` },
    { name: "error", title: "Message", class: "says", cell: (/** @type {any} */ row) => said(row.Error) },
    { name: "image", title: "Image", class: "mono wide", cell: (/** @type {any} */ row) => row.Image ?? "" },
    ...(withStack ? [{ name: "stack", title: "Stack", cell: (/** @type {any} */ row) => (row.Stack ? html`<a href=${objectHref("stack", row.Stack)}>${row.Stack}</a>` : "") }] : []),
    { name: "changed", title: "Changed", class: "number", cell: (/** @type {any} */ row) => (row.ChangedAt ? clock(row.ChangedAt) : "") },
  ];
  return html`<${Table} label="Services" columns=${columns} rows=${byTrouble(rows)} id=${(/** @type {any} */ row) => row.ID} empty=${empty} />`;
}

export function ServicesView() {
  const { value, error } = useLive("services");
  if (!value) return html`<${Missing} error=${error} />`;
  const filter = place.value.query.get("filter") ?? "";
  const all = [...value.rows.values()];
  const rows = all.filter((row) => `${row.Name} ${row.Image} ${row.State}`.toLowerCase().includes(filter.toLowerCase()));
  return html`<header class="screen-head"><h1>Services</h1><span class="muted number">${rows.length} of ${all.length}</span>
      <input type="search" placeholder="Filter by name, image or state" aria-label="Filter services" value=${filter} spellcheck=${false}
        onInput=${(/** @type {any} */ event) => choose({ filter: event.currentTarget.value })} /></header>
    <${ServiceTable} rows=${rows} empty=${html`${filter ? "No service matches." : html`No service yet. <a href=${href("/")}>The overview says how to begin.</a>`}`} />`;
}
