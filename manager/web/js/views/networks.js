// 8 Networks: subnets, how full they are, who is in them.
import { get } from "../api.js";
import { byName, clock, instant } from "../format.js";
import { html } from "../html.js";
import { removal } from "../removal.js";
import { objectHref } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell } from "../parts/command.js";
import { Badge } from "../parts/marks.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Facts, Section, Table } from "../parts/table.js";

/** How many addresses a subnet has for others than itself and its gateway. @param {string} subnet */
function room(subnet) {
  const [address, bits] = subnet.split("/");
  return address.includes(":") ? Infinity : Math.max(0, 2 ** (32 - Number(bits)) - 3);
}

/** @param {any} network */
function subnets(network) {
  return (network.IPAM?.Config ?? []).map((/** @type {any} */ each) => each.Subnet).filter(Boolean);
}

export function NetworksView() {
  const { value, error } = useAnswer((signal) => get("/networks", undefined, signal), [], () => ["services"]);
  if (!value) return html`<${Missing} error=${error} />`;
  const rows = value.filter((/** @type {any} */ each) => each.Scope === "swarm").sort((/** @type {any} */ a, /** @type {any} */ b) => byName(a.Name, b.Name));
  const columns = [
    { name: "name", title: "Network", cell: (/** @type {any} */ each) => html`<a href=${objectHref("network", each.Name)}>${each.Name}</a>` },
    { name: "driver", title: "Driver", cell: (/** @type {any} */ each) => each.Driver },
    { name: "subnets", title: "Subnets", class: "mono", cell: (/** @type {any} */ each) => subnets(each).join(" ") },
    { name: "is", title: "Options", cell: (/** @type {any} */ each) => html`<${Traits} network=${each} />` },
    { name: "created", title: "Created", class: "number", cell: (/** @type {any} */ each) => clock(instant(each.Created)) },
  ];
  return html`<header class="screen-head"><h1>Networks</h1></header>
    <${Table} label="Networks" columns=${columns} rows=${rows} id=${(/** @type {any} */ each) => each.Id} empty="No network yet." />`;
}

/** @param {{network: any}} props */
function Traits({ network }) {
  return html`${network.Options && "encrypted" in network.Options && html`<${Badge} word="encrypted" tone="good" /> `}
    ${network.Attachable && html`<${Badge} word="attachable" tone="plain" /> `}
    ${network.Internal && html`<${Badge} word="internal" tone="plain" /> `}
    ${network.Ingress && html`<${Badge} word="ingress" tone="plain" /> `}
    ${network.EnableIPv6 && html`<${Badge} word="IPv6" tone="plain" />`}`;
}

/** @param {{reference: string}} props */
export function NetworkView({ reference }) {
  const { value, error } = useAnswer((signal) => get(`/networks/${encodeURIComponent(reference)}`, { verbose: "true", scope: "swarm" }, signal), [reference], () => ["services"]);
  if (!value) return html`<${Missing} error=${error} what="network of this name" />`;
  const services = Object.entries(value.Services ?? {});
  const containers = Object.values(value.Containers ?? {});
  const taken = services.reduce((sum, [, each]) => sum + (each.VIP && each.VIP !== "<nil>" ? 1 : 0) + (each.Tasks?.length ?? 0), 0) + containers.length;
  const all = subnets(value).map(room).reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
  const columns = [
    { name: "service", title: "Service", cell: (/** @type {any} */ [name]) => html`<a href=${objectHref("service", name)}>${name}</a>` },
    { name: "vip", title: "Address", class: "mono", cell: (/** @type {any} */ [, each]) => (each.VIP === "<nil>" ? "" : each.VIP) },
    { name: "tasks", title: "Tasks", class: "number right", cell: (/** @type {any} */ [, each]) => each.Tasks?.length ?? 0 },
    { name: "ports", title: "Ports", class: "says", cell: (/** @type {any} */ [, each]) => (each.Ports ?? []).join(", ") },
  ];
  return html`<header class="screen-head"><h1>${value.Name}</h1><p><${Traits} network=${value} /></p>
      <${Buttons} actions=${[removal("network", value.Id, value.Name, services.map(([name]) => name))]} /></header>
    <${Facts} pairs=${[
      ["Subnets", html`<span class="mono">${subnets(value).join(" ")}</span>`],
      ["Addresses", Number.isFinite(all) && all > 0 ? html`<progress value=${Math.min(taken, all)} max=${all} aria-label="addresses that are taken"></progress> <span class="number">${taken} of ${all}</span>` : ""],
      ["Nodes", (value.Peers ?? []).map((/** @type {any} */ peer) => peer.Name).join(" ")],
      ["Containers beside tasks", containers.map((/** @type {any} */ each) => each.Name).filter((/** @type {string} */ name) => name && !services.some(([service]) => name.startsWith(`${service}.`))).join(" ")],
      ["ID", html`<code>${value.Id}</code>`],
    ]} />
    <${Section} title="Used by"><${Table} label="Services" columns=${columns} rows=${services} id=${(/** @type {any} */ [name]) => name} empty="No service." /><//>
    <p class="spaced"><${Command} text=${shell("swarm-manager", "network", "inspect", "-v", value.Name)} /></p>`;
}
