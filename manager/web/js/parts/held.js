// What a node has beside tasks: containers that no service made, and what its disk holds.
import { useState } from "preact/hooks";
import { filters, get, open } from "../api.js";
import { ago, bytes, image, plural } from "../format.js";
import { html } from "../html.js";
import { Missing, useAnswer } from "./state.js";
import { Facts, Section, Table } from "./table.js";
import { usePolled } from "./usage.js";

/** A node's containers that are no task's; where the node does not say, the manager warns. @param {string} id @param {AbortSignal} signal */
async function plainContainers(id, signal) {
  const query = { all: "1", ...filters({ node: [id], "is-task": ["false"] }) };
  const answer = await open("GET", "/containers/json", { query, signal });
  return { found: await answer.json(), warning: answer.headers.get("Warning") };
}

/** Nothing where there are none. @param {{id: string}} props */
export function PlainContainers({ id }) {
  const { value, error } = usePolled((signal) => plainContainers(id, signal), [id]);
  const why = error?.message ?? value?.warning;
  if (why) return html`<${Section} title="Plain containers"><p class="muted">Not known: ${why.replace(/^199 \S+ /, "")}</p><//>`;
  if (!value?.found.length) return null;
  const columns = [
    { name: "name", title: "Name", cell: (/** @type {any} */ each) => (each.Names?.[0] ?? each.Id.slice(0, 12)).replace(/^\//, "") },
    { name: "image", title: "Image", class: "mono", cell: (/** @type {any} */ each) => image(each.Image) },
    { name: "status", title: "Status", cell: (/** @type {any} */ each) => each.Status || each.State },
    { name: "since", title: "Made", class: "number", cell: (/** @type {any} */ each) => `${ago(each.Created)} ago` },
  ];
  return html`<${Section} title=${`Plain containers (${value.found.length})`}><${Table} label="Plain containers" columns=${columns} rows=${value.found} id=${(/** @type {any} */ each) => each.Id} /><//>`;
}

/** Asked for when it is opened: an engine has to go through its disk for it. @param {{id: string}} props */
export function Disk({ id }) {
  const [isOpen, setOpen] = useState(false);
  return html`<details onToggle=${(/** @type {any} */ event) => setOpen(event.currentTarget.open)}><summary>What its disk holds</summary>${isOpen && html`<${Held} id=${id} />`}</details>`;
}

/** @param {{id: string}} props */
function Held({ id }) {
  const { value, error } = useAnswer((signal) => get("/system/df", { node: id }, signal), [id]);
  if (!value) return html`<${Missing} error=${error} />`;
  const sized = (/** @type {string} */ noun, /** @type {any[]} */ all, /** @type {number} */ size) => `${plural(all.length, noun)}, ${bytes(size)}`;
  const sum = (/** @type {any[]} */ all, /** @type {(each: any) => number | undefined} */ size) => all.reduce((total, each) => total + Math.max(0, size(each) ?? 0), 0);
  const { Images: images, Containers: containers, Volumes: volumes, BuildCache: cache } = value;
  return html`<${Facts} pairs=${[
    ["Images", sized("image", images, value.LayersSize)],
    ["Containers", `${sized("container", containers, sum(containers, (each) => each.SizeRw))} written`],
    ["Volumes", sized("volume", volumes, sum(volumes, (each) => each.UsageData?.Size))],
    ["Build cache", bytes(sum(cache, (each) => (each.Shared ? 0 : each.Size)))],
  ]} />`;
}
