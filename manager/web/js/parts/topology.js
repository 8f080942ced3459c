// The cluster as tiles, which one looks at from afar (nodes), nearer (boxes), or quite near (names); or as a table.
import { useMemo } from "preact/hooks";
import { byName, hostOf } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../model.js";
import { choose, objectHref, place } from "../router.js";
import { Badge, Counts, inWords } from "./marks.js";
import { useGrowth } from "./seen.js";
import { Missing } from "./state.js";
import { Table } from "./table.js";
import { NodeTile, ServiceTile, WaitingTile } from "./tile.js";

// Of more tasks than this not even the boxes are looked at first.
const MANY = 30_000;

/** @param {{tasks: Record<string, number> | undefined}} props */
export function Topology({ tasks }) {
  const nodes = useLive("nodes");
  const services = useLive("services");
  const query = place.value.query;
  const how = useHow({
    zoom: query.get("zoom") ?? (sum(tasks) > MANY ? "nodes" : "boxes"),
    size: sizeFor(sum(tasks)),
    group: query.get("group") ?? "node",
    colour: query.get("colour") ?? "state",
    filter: query.get("filter") ?? "",
    hosts: nodes.value !== undefined && areHosts([...nodes.value.rows.values()].map((tile) => tile.Name)),
  });
  const error = nodes.error ?? services.error;
  if (!nodes.value || !services.value) return html`<${Missing} error=${error} />`;
  const tiles = [...nodes.value.rows.values()];
  const labels = [...new Set(tiles.flatMap((tile) => Object.keys(tile.Labels ?? {})))].sort();
  return html`<section aria-label="Tasks on nodes">
    <div class="toolbar">
      <${Choice} name="zoom" label="Zoom" value=${how.zoom} options=${["nodes", "boxes", "names", "table"]} />
      <${Select} name="group" label="Group by" value=${how.group} options=${["node", "stack", ...labels.map((label) => `label:${label}`)]} />
      <${Choice} name="colour" label="Colour" value=${how.colour} options=${["state", "service"]} />
      <input type="search" placeholder="Filter" aria-label="Filter nodes and services" value=${how.filter} spellcheck=${false}
        onInput=${(/** @type {any} */ event) => choose({ filter: event.currentTarget.value })} />
      <span class="legend"><${Counts} counts=${tasks} withWords=${true} /></span>
    </div>
    ${how.zoom === "table" ? html`<${Twin} tiles=${tiles} />` : html`<${Groups} tiles=${tiles} rows=${[...services.value.rows.values()]} how=${how} waiting=${tasks?.waiting ?? 0} />`}
  </section>`;
}

/** @typedef {{zoom: string, size: number, group: string, colour: string, filter: string, hosts: boolean}} How */

/** Whether names without their domains are different still. @param {string[]} names */
function areHosts(names) {
  return new Set(names.map(hostOf)).size === names.length;
}

/** The same value for as long as all in it is the same. @param {How} how @returns {How} */
function useHow(how) {
  return useMemo(() => how, Object.values(how));
}

/** What was drawn of a row, and how: while both are the same there is nothing to compare. @type {WeakMap<object, {how: How, node: unknown}>} */
const drawn = new WeakMap();

/** @param {any} row @param {How} how @param {() => unknown} draw */
function once(row, how, draw) {
  let known = drawn.get(row);
  if (known?.how !== how) drawn.set(row, (known = { how, node: draw() }));
  return known.node;
}

/** How many tasks there are. @param {Record<string, number> | undefined} counts */
function sum(counts) {
  return Object.values(counts ?? {}).reduce((all, count) => all + count, 0);
}

/** How large a box is, in pixels. @param {number} tasks */
function sizeFor(tasks) {
  return tasks < 1000 ? 14 : tasks < 5000 ? 12 : 10;
}

/** @param {{tiles: any[], rows: any[], how: How, waiting: number}} props */
function Groups({ tiles, rows, how, waiting }) {
  const wanted = how.filter.toLowerCase();
  const isService = rows.some((row) => row.Name.toLowerCase().includes(wanted));
  const keep = (/** @type {any} */ each) => !wanted || each.Name.toLowerCase().includes(wanted);
  if (how.group === "stack") {
    const groups = Map.groupBy(rows.filter(keep), (row) => row.Stack ?? "");
    return html`<${Grid} groups=${groups} none="(no stack)" titled=${true} draw=${(/** @type {any} */ row) => once(row, how, () => html`<${ServiceTile} key=${row.ID} row=${row} how=${how} />`)} />`;
  }
  const label = how.group.startsWith("label:") ? how.group.slice(6) : "";
  const shown = tiles.filter((tile) => keep(tile) || isService);
  const groups = Map.groupBy(shown, (tile) => (label ? (tile.Labels?.[label] ?? "") : ""));
  return html`<${Grid} groups=${groups} none="(no label)" titled=${Boolean(label)} prefix=${label && `${label} = `}
    first=${waiting > 0 && !label && html`<${WaitingTile} count=${waiting} how=${how} />`}
    draw=${(/** @type {any} */ tile) => once(tile, how, () => html`<${NodeTile} key=${tile.ID} tile=${tile} how=${how} />`)} />`;
}

/** @param {{groups: Map<string, any[]>, none: string, titled: boolean, prefix?: string, first?: unknown, draw: (row: any) => unknown}} props */
function Grid({ groups, none, titled, prefix = "", first, draw }) {
  const names = [...groups.keys()].sort((a, b) => (a && b ? byName(a, b) : a ? -1 : 1));
  const all = names.map((name) => groups.get(name) ?? []);
  let room = useGrowth(all.reduce((total, each) => total + each.length, 0));
  const shown = all.map((each) => {
    const some = each.slice(0, room);
    room -= some.length;
    return some;
  });
  return html`${names.map(
    (name, n) => html`<div key=${name} class="group">
      ${titled && html`<h3>${name ? prefix + name : none}</h3>`}
      <ul class="tiles">${first}${shown[n].map(draw)}</ul>
    </div>`,
  )}${!names.length && html`<ul class="tiles">${first}</ul>`}`;
}

/** The same as a table, a row a node: for who does not see the boxes. @param {{tiles: any[]}} props */
function Twin({ tiles }) {
  const columns = [
    { name: "node", title: "Node", cell: (/** @type {any} */ tile) => html`<a href=${objectHref("node", tile.Name)}>${tile.Name}</a>` },
    { name: "state", title: "State", cell: (/** @type {any} */ tile) => html`<${Badge} word=${tile.State} />` },
    { name: "availability", title: "Availability", cell: (/** @type {any} */ tile) => tile.Availability ?? "active" },
    { name: "tasks", title: "Tasks", cell: (/** @type {any} */ tile) => inWords(tile.Tasks) },
    { name: "failures", title: "Failed in 1 h", class: "right number", cell: (/** @type {any} */ tile) => tile.Failures ?? 0 },
  ];
  return html`<${Table} label="Nodes and their tasks" columns=${columns} rows=${tiles} id=${(/** @type {any} */ tile) => tile.ID} />`;
}

/** @param {{name: string, label: string, value: string, options: string[]}} props */
export function Choice({ name, label, value, options }) {
  return html`<fieldset class="choice">
    <legend>${label}</legend>
    ${options.map(
      (option) => html`<label key=${option} class=${option === value ? "chosen" : ""}
        ><input type="radio" name=${name} value=${option} checked=${option === value} onChange=${() => choose({ [name]: option })} />${option}</label>`,
    )}
  </fieldset>`;
}

/** @param {{name: string, label: string, value: string, options: string[]}} props */
function Select({ name, label, value, options }) {
  return html`<label class="select">${label}
    <select value=${value} onChange=${(/** @type {any} */ event) => choose({ [name]: event.currentTarget.value })}>
      ${options.map((option) => html`<option key=${option} value=${option}>${option.replace("label:", "label ")}</option>`)}
    </select></label>`;
}
