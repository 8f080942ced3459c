// 3 Task: its way, its log, the earlier attempts of its slot; 5: why it waits.
import { useState } from "preact/hooks";
import { filters, get } from "../api.js";
import { ago, byName, clock, image, instant, short } from "../format.js";
import { html } from "../html.js";
import { me } from "../me.js";
import { href, objectHref } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell as words } from "../parts/command.js";
import { Log } from "../parts/log.js";
import { Mark } from "../parts/marks.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Facts, Section } from "../parts/table.js";
import { markOf, slotsOf } from "../tasks.js";

const STEPS = ["new", "pending", "assigned", "preparing", "starting", "running"];
const AS = /** @type {Record<string, string>} */ ({ allocated: "pending", accepted: "assigned", ready: "starting" });
const HAS_LOG = ["starting", "running", "stopping", "failed", "completed", "stopped", "lost"];

/** @param {string} id @param {AbortSignal} signal */
async function ask(id, signal) {
  const task = await get(`/tasks/${encodeURIComponent(id)}`, undefined, signal);
  const [tasks, nodes, service] = await Promise.all([
    get("/tasks", filters({ service: [task.ServiceID] }), signal),
    get("/swarm/overview/nodes", undefined, signal),
    get(`/services/${task.ServiceID}`, undefined, signal).catch(() => null),
  ]);
  const slot = slotsOf(tasks).find((each) => [each.newest, ...each.earlier].some((other) => other.ID === task.ID));
  const node = (nodes.Nodes ?? []).find((/** @type {any} */ tile) => tile.ID === short(task.NodeID ?? ""));
  return { task, node, service, attempts: slot ? [slot.newest, ...slot.earlier] : [task] };
}

/** @param {{reference: string}} props */
export function TaskView({ reference }) {
  const [shell, setShell] = useState(false);
  const { value, error } = useAnswer((signal) => ask(reference, signal), [reference], (found) => [`service:${found.task.ServiceID}`]);
  if (!value) return html`<${Missing} error=${error} what="task of this id" />`;
  const { task, node, service, attempts } = value;
  const mark = markOf(task, node?.State === "down");
  const name = `${service?.Spec.Name ?? short(task.ServiceID)}.${task.Slot || (node?.Name ?? "")}`;
  const newest = attempts[0];
  return html`<header class="screen-head"><h1>${name}</h1>
      <p class="muted">${service && html`of <a href=${objectHref("service", service.Spec.Name)}>${service.Spec.Name}</a>`}
        ${node && html` on <a href=${objectHref("node", node.Name)}>${node.Name}</a>`}</p>
      ${mark === "running" && html`<${Buttons} actions=${[terminalAction(shell, setShell)]} />`}</header>
    <${Way} task=${task} mark=${mark} />
    ${task.Status.Err && html`<p class="task-error" role="status">${task.Status.Err}</p>`}
    ${newest.ID !== task.ID && html`<p>This attempt has been replaced. <a href=${href(`/tasks/${newest.ID}`)}>The newest of this slot</a></p>`}
    ${mark === "waiting" && html`<${Why} task=${task} />`}
    ${shell && html`<${TerminalFrame} task=${task} name=${name} />`}
    ${HAS_LOG.includes(mark) && html`<${Section} title="Log">
      <${Log} path=${`/tasks/${task.ID}/logs`} label=${`Log of ${name}`} />
      ${service && html`<${Command} text=${words("swarm-manager", "service", "logs", "--follow", task.ID)} />`}
    <//>`}
    <${Attempts} attempts=${attempts} at=${task.ID} />
    <${About} task=${task} />`;
}

/** @param {boolean} isOpen @param {(open: boolean) => void} set @returns {import("../actions.js").Action} */
function terminalAction(isOpen, set) {
  return { name: isOpen ? "Close terminal" : "Terminal", needs: "operator", key: "terminal", run: () => set(!isOpen), off: me.value.Terminals ? "" : "terminals are switched off: swarm-manager cluster update --dashboard-terminal on" };
}

/** @param {{task: any, name: string}} props */
function TerminalFrame({ task, name }) {
  const container = task.Status.ContainerStatus?.ContainerID ?? "";
  return html`<${Section} title="Terminal">
    <iframe class="terminal" title=${`Terminal in ${name}`} src=${href(`/static/terminal.html?container=${encodeURIComponent(container)}`)}></iframe>
    <${Command} text=${words("swarm-manager", "exec", "-it", short(container), "sh")} />
  <//>`;
}

/** The states that it has been through. @param {{task: any, mark: string}} props */
function Way({ task, mark }) {
  const state = AS[task.Status.State] ?? task.Status.State;
  const at = STEPS.indexOf(state);
  const steps = at < 0 ? [...STEPS, state] : STEPS;
  const reached = at < 0 ? steps.length - 1 : at;
  return html`<ol class="way" aria-label="Progress">
    ${steps.map((step, n) => html`<li key=${step} class=${n < reached ? "passed" : n === reached ? `present mark-${mark}` : ""} aria-current=${n === reached ? "step" : undefined}>
      ${n === reached && html`<${Mark} mark=${mark} /> `}${step}${n === reached && html` <span class="muted number">${ago(instant(task.Status.Timestamp))}</span>`}
    </li>`)}
  </ol>`;
}

/** @param {{task: any}} props */
function Why({ task }) {
  const { value, error } = useAnswer((signal) => get(`/tasks/${task.ID}/why`, undefined, signal), [task.ID, task.Version?.Index], () => ["nodes"]);
  if (!value) return html`<${Missing} error=${error} />`;
  const refusing = value.Refusing ?? [];
  return html`<${Section} title="Why it waits">
    <div class="why" data-why>
      ${value.Invalid && html`<p class="bad">${value.Invalid}</p>`}
      ${value.Waits && html`<p>${value.Waits}</p>`}
      ${value.LookedAt > 0 && html`<p class="muted">${value.LookedAt} nodes checked</p>`}
      <ul>${refusing.map((/** @type {any} */ each) => html`<li key=${each.Reason}><strong>${each.Reason}</strong>
        ${each.Lacking?.length ? html`<p class="muted">${each.Lacking.join(" · ")}</p>` : null}
        <p class="muted">${(each.Nodes ?? []).toSorted(byName).map((/** @type {string} */ node) => html`<a key=${node} href=${objectHref("node", node)}>${node}</a> `)}</p></li>`)}</ul>
      ${value.Fitting?.length > 0 && html`<p class="good">Would take it: ${value.Fitting.toSorted(byName).join(" ")}</p>`}
    </div>
  <//>`;
}

/** @param {{attempts: any[], at: string}} props */
function Attempts({ attempts, at }) {
  if (attempts.length < 2) return null;
  return html`<${Section} title="Attempts of this slot">
    <ol class="attempts">${attempts.map((each) => html`<li key=${each.ID} data-row>
      <${Mark} mark=${markOf(each)} /> <a href=${href(`/tasks/${each.ID}`)} aria-current=${each.ID === at ? "true" : undefined}>${short(each.ID)}</a>
      <span class="muted number">${clock(instant(each.CreatedAt))}</span> <span class="mono">${image(each.Spec.ContainerSpec?.Image)}</span> <span>${each.Status.Err ?? ""}</span>
    </li>`)}</ol>
  <//>`;
}

/** @param {{task: any}} props */
function About({ task }) {
  const status = task.Status.ContainerStatus ?? {};
  const addresses = (task.NetworksAttachments ?? []).flatMap((/** @type {any} */ each) => (each.Addresses ?? []).map((/** @type {string} */ address) => `${address} in ${each.Network?.Spec?.Name ?? ""}`));
  return html`<${Section} title="Details">
    <${Facts} pairs=${[
      ["State", `${task.Status.State}, wanted ${task.DesiredState}`],
      ["Message", task.Status.Message],
      ["Image", html`<span class="mono">${image(task.Spec.ContainerSpec?.Image)}</span>`],
      ["Exit code", status.ExitCode || ""],
      ["Container", status.ContainerID && html`<code>${short(status.ContainerID)}</code>`],
      ["Addresses", addresses.join(", ")],
      ["Created", clock(instant(task.CreatedAt), { withSeconds: true })],
      ["ID", html`<code>${task.ID}</code>`],
    ]} />
  <//>`;
}
