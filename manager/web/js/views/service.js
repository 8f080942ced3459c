// 2 Service: how it runs, how its update goes, its slots, its log, what it is.
import { serviceActions } from "../actions.js";
import { filters, get } from "../api.js";
import { ago, bytes, clock, image, instant, nanoseconds, now, short } from "../format.js";
import { html } from "../html.js";
import { choose, href, objectHref, place } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell } from "../parts/command.js";
import { differences } from "../parts/difference.js";
import { Log } from "../parts/log.js";
import { Badge, State } from "../parts/marks.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Facts, Section, Table, said } from "../parts/table.js";
import { Tabs } from "../parts/tabs.js";
import { ServiceUsage } from "../parts/usage.js";
import { nodeOf, slotName, slotsOf } from "../tasks.js";
import { running } from "./services.js";
import { Happened } from "./timeline.js";

/** @param {string} reference @param {AbortSignal} signal */
async function ask(reference, signal) {
  const service = await get(`/services/${encodeURIComponent(reference)}`, undefined, signal);
  const [tasks, nodes, rows, networks] = await Promise.all([
    get("/tasks", filters({ service: [service.ID] }), signal),
    get("/swarm/overview/nodes", undefined, signal),
    get("/swarm/overview/services", { q: service.Spec.Name }, signal),
    get("/networks", undefined, signal),
  ]);
  return {
    service,
    tasks,
    row: (rows.Services ?? []).find((/** @type {any} */ each) => each.ID === short(service.ID)),
    nodes: new Map((nodes.Nodes ?? []).map((/** @type {any} */ tile) => [tile.ID, tile])),
    networks: new Map(networks.map((/** @type {any} */ each) => [each.Id, each.Name])),
  };
}

/** @param {{reference: string}} props */
export function ServiceView({ reference }) {
  const { value, error } = useAnswer((signal) => ask(reference, signal), [reference], (found) => [`service:${found.service.ID}`]);
  if (!value) return html`<${Missing} error=${error} what="service of this name" />`;
  const { service, row, tasks, nodes, networks } = value;
  const tab = place.value.query.get("tab") ?? "tasks";
  return html`<header class="screen-head"><h1>${service.Spec.Name}</h1><${Standing} service=${service} row=${row} /><${Buttons} actions=${serviceActions(service)} /></header>
    <${Update} service=${service} tasks=${tasks} nodes=${nodes} />
    <${Tabs} at=${tab} tabs=${[["tasks", "Tasks"], ["logs", "Logs"], ["revisions", "Revisions"], ["timeline", "Timeline"], ["spec", "Specification"]]} choose=${(/** @type {string} */ name) => choose({ tab: name })} />
    ${tab === "tasks" && html`<${Slots} tasks=${tasks} nodes=${nodes} /><${ServiceUsage} id=${service.ID} /><${About} service=${service} networks=${networks} />`}
    ${tab === "logs" && html`<${ServiceLog} service=${service} tasks=${tasks} nodes=${nodes} />`}
    ${tab === "revisions" && html`<${Revisions} service=${service} />`}
    ${tab === "timeline" && html`<${Happened} object=${service.ID} />`}
    ${tab === "spec" && html`<pre class="spec" tabindex="0">${JSON.stringify(service.Spec, null, 2)}</pre>`}`;
}

/** @param {{service: any, row: any}} props */
function Standing({ service, row }) {
  if (!row) return null;
  const lost = row.Tasks?.lost ?? 0;
  return html`<p class="number" data-standing>${running(row)} ${row.Mode?.endsWith("job") ? "completed" : "running"} ${lost > 0 && html`<span class="bad">${lost} lost</span> `}<${Badge} word=${row.State} />
    ${service.AutoscaleStatus ? html` <${Badge} word="autoscaled" tone="plain" />` : null}</p>`;
}

/** A sentence of the manager's with the slots of tasks instead of their ids. @param {string} text @param {any[]} tasks @param {Map<string, any>} nodes */
function named(text, tasks, nodes) {
  return text.replace(/\b[a-z0-9]{25}\b/g, (id) => {
    const task = tasks.find((each) => each.ID === id);
    return task ? `in slot ${slotName(task, nodes)}` : short(id);
  });
}

/** @param {{service: any, tasks: any[], nodes: Map<string, any>}} props */
function Update({ service, tasks, nodes }) {
  const status = service.UpdateStatus;
  if (!status || status.State === "completed") return null;
  const { Done: done = 0, Of: of = 0, Batch: batch = 0, MonitorUntil: until } = status.Progress ?? {};
  const left = Math.ceil(instant(until) - now.value);
  const isPaused = status.State.includes("paused");
  return html`<div class="update" data-update=${status.State} role="status">
    <p class="update-head"><${Badge} word=${status.State.replaceAll("_", " ")} tone=${isPaused ? "bad" : "busy"} />
      ${of > 0 && html`<progress value=${done} max=${of} aria-label="tasks that were replaced"></progress> <span class="number">${done} of ${of}${batch ? `, ${batch} now` : ""}</span>`}
      ${isPaused || !until || left <= 0 ? null : html` <span class="number muted">watching ${left} s more</span>`}
      <span class="muted">${status.StartedAt ? `since ${clock(instant(status.StartedAt))}` : ""}</span></p>
    ${status.Message && html`<p>${named(status.Message, tasks, nodes)}</p>`}
    ${status.Reason?.Error && html`<p class="bad">${status.Reason.Error}</p>`}
    ${status.RollbackRefused && html`<p class="bad">It cannot be rolled back: ${status.RollbackRefused}</p>`}
  </div>`;
}

/** @param {{tasks: any[], nodes: Map<string, any>}} props */
function Slots({ tasks, nodes }) {
  const slots = slotsOf(tasks);
  const nodeName = (/** @type {any} */ task) => nodeOf(task, nodes)?.Name ?? short(task.NodeID ?? "");
  const isLost = (/** @type {any} */ task) => nodeOf(task, nodes)?.State === "down";
  const columns = [
    { name: "slot", title: "Slot", class: "number", cell: (/** @type {any} */ { newest }) => html`<a href=${href(`/tasks/${newest.ID}`)}>${newest.Slot || nodeName(newest)}</a>` },
    { name: "state", title: "State", cell: (/** @type {any} */ { newest }) => html`<${State} task=${newest} isLost=${isLost(newest)} />` },
    { name: "since", title: "Since", class: "number", cell: (/** @type {any} */ { newest }) => ago(instant(newest.Status.Timestamp)) },
    { name: "node", title: "Node", cell: (/** @type {any} */ { newest }) => (newest.NodeID ? html`<a href=${objectHref("node", nodeName(newest))}>${nodeName(newest)}</a>` : html`<a href=${href(`/tasks/${newest.ID}`)} data-key="why">why not?</a>`) },
    { name: "says", title: "Message", class: "says", cell: (/** @type {any} */ { newest, earlier }) => said(says(newest) || says(earlier[0])) },
    { name: "image", title: "Image", class: "mono wide", cell: (/** @type {any} */ { newest }) => image(newest.Spec.ContainerSpec?.Image) },
    { name: "earlier", title: "Earlier", class: "number right", cell: (/** @type {any} */ { earlier }) => (earlier.length ? html`<a href=${href(`/tasks/${earlier[0].ID}`)} aria-label="${earlier.length} earlier tasks of this slot">${earlier.length}</a>` : "") },
  ];
  return html`<${Table} label="Slots" columns=${columns} rows=${slots} id=${(/** @type {any} */ slot) => slot.key} empty="It has no tasks." />`;
}

/** @param {any} task */
function says(task) {
  if (!task) return "";
  const code = task.Status.ContainerStatus?.ExitCode;
  return task.Status.Err || (task.Status.State === "failed" && code ? `exit ${code}` : "");
}

/** @param {{service: any, tasks: any[], nodes: Map<string, any>}} props */
function ServiceLog({ service, tasks, nodes }) {
  const names = new Map(tasks.map((task) => [task.ID, slotName(task, nodes)]));
  const labelOf = (/** @type {Record<string, string>} */ details) => names.get(details["com.docker.swarm.task.id"]) ?? short(details["com.docker.swarm.task.id"] ?? "");
  return html`<${Log} path=${`/services/${service.ID}/logs`} label=${`Log of ${service.Spec.Name}`} labelOf=${labelOf} tail=${200} />
    <${Command} text=${shell("swarm-manager", "service", "logs", "--follow", service.Spec.Name)} />`;
}

/** @param {{service: any}} props */
function Revisions({ service }) {
  const { value, error } = useAnswer((signal) => get(`/services/${service.ID}/history`, undefined, signal), [service.ID, service.Version.Index]);
  if (!value) return html`<${Missing} error=${error} />`;
  return html`<ol class="revisions">
    ${value.map((/** @type {any} */ each, /** @type {number} */ n) => {
      const changes = value[n + 1] ? differences(value[n + 1].Spec, each.Spec) : [];
      return html`<li key=${each.Revision}><strong>Revision ${each.Revision}</strong> ${n === 0 ? html`<${Badge} word="now" tone="good" />` : html`<span class="muted">until ${clock(instant(each.ReplacedAt))}</span>`}
        <ul>${changes.map((change) => html`<li key=${change.path}><code>${change.path}</code> ${change.from} → ${change.to}</li>`)}</ul>
        ${n > 0 && html`<${Command} text=${shell("swarm-manager", "service", "rollback", "--to", String(each.Revision), service.Spec.Name)} />`}
      </li>`;
    })}
  </ol>`;
}

/** @param {{service: any, networks: Map<string, string>}} props */
function About({ service, networks }) {
  const spec = service.Spec;
  const template = spec.TaskTemplate ?? {};
  const container = template.ContainerSpec ?? {};
  const ports = (service.Endpoint?.Ports ?? []).map((/** @type {any} */ port) => `${port.PublishedPort} → ${port.TargetPort}/${port.Protocol ?? "tcp"}${port.PublishMode === "host" ? " on its host" : ""}`);
  const stack = spec.Labels?.["com.docker.stack.namespace"];
  const files = (/** @type {string} */ kind, /** @type {any[]} */ list) => list.map((each) => html`<a key=${each.SecretName ?? each.ConfigName} href=${objectHref(kind, each.SecretName ?? each.ConfigName)}>${each.SecretName ?? each.ConfigName}</a> `);
  const { Limits: limits = {}, Reservations: reserved = {} } = template.Resources ?? {};
  return html`<${Section} title="Details">
    <${Facts} pairs=${[
      ["Image", html`<span class="mono">${image(container.Image)}</span>`],
      ["Mode", Object.keys(spec.Mode ?? { Replicated: 1 }).join(" ").toLowerCase()],
      ["Stack", stack && html`<a href=${objectHref("stack", stack)}>${stack}</a>`],
      ["Command", (container.Command ?? []).concat(container.Args ?? []).join(" ")],
      ["Ports", ports.join(", ")],
      ["Networks", (template.Networks ?? []).map((/** @type {any} */ each) => html`<a key=${each.Target} href=${objectHref("network", each.Target)}>${networks.get(each.Target) ?? short(each.Target)}</a> `)],
      ["Secrets", container.Secrets?.length ? files("secret", container.Secrets) : ""],
      ["Configs", container.Configs?.length ? files("config", container.Configs) : ""],
      ["Constraints", (template.Placement?.Constraints ?? []).join(", ")],
      ["Reserved", resources(reserved)],
      ["Limits", resources(limits)],
      ["Health check", container.Healthcheck?.Interval ? `every ${nanoseconds(container.Healthcheck.Interval)}` : ""],
      ["Created", clock(instant(service.CreatedAt))],
      ["ID", html`<code>${service.ID}</code>`],
    ]} />
  <//>`;
}

/** @param {any} each */
function resources(each) {
  const parts = [];
  if (each.NanoCPUs) parts.push(`${each.NanoCPUs / 1e9} cores`);
  if (each.MemoryBytes) parts.push(bytes(each.MemoryBytes));
  return parts.join(", ");
}
