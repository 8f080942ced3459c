// All screens, and the addresses that they have below /dashboard.
import { html } from "./html.js";
import { AccessView } from "./views/access.js";
import { FileView, FilesView } from "./views/files.js";
import { NetworkView, NetworksView } from "./views/networks.js";
import { NodeView } from "./views/node.js";
import { NodesView } from "./views/nodes.js";
import { OverviewView } from "./views/overview.js";
import { ServiceView } from "./views/service.js";
import { ServicesView } from "./views/services.js";
import { PlanView } from "./views/plan.js";
import { StackView, StacksView } from "./views/stacks.js";
import { TaskView } from "./views/task.js";
import { TimelineView } from "./views/timeline.js";
import { WallView } from "./views/wall.js";

/** @typedef {{title: string, view: any, params: Record<string, string>, bare?: boolean}} Screen */
/** @type {[RegExp, any, (params: Record<string, string>) => string, Record<string, string>?][]} */
const SCREENS = [
  [/^\/$/, OverviewView, () => "Overview"],
  [/^\/services$/, ServicesView, () => "Services"],
  [/^\/services\/(?<reference>[^/]+)$/, ServiceView, ({ reference }) => reference],
  [/^\/tasks\/(?<reference>[^/]+)$/, TaskView, () => "Task"],
  [/^\/nodes$/, NodesView, () => "Nodes"],
  [/^\/nodes\/(?<reference>[^/]+)$/, NodeView, ({ reference }) => reference],
  [/^\/stacks$/, StacksView, () => "Stacks"],
  [/^\/stacks\/(?<name>[^/]+)$/, StackView, ({ name }) => name],
  [/^\/stacks\/(?<name>[^/]+)\/plan$/, PlanView, ({ name }) => `Plan of ${name}`],
  [/^\/plan$/, PlanView, () => "Deploy a stack"],
  [/^\/networks$/, NetworksView, () => "Networks"],
  [/^\/networks\/(?<reference>[^/]+)$/, NetworkView, ({ reference }) => reference],
  [/^\/secrets$/, FilesView, () => "Secrets and configs"],
  [/^\/secrets\/(?<reference>[^/]+)$/, FileView, ({ reference }) => reference, { kind: "secret" }],
  [/^\/configs\/(?<reference>[^/]+)$/, FileView, ({ reference }) => reference, { kind: "config" }],
  [/^\/access$/, AccessView, () => "Access"],
  [/^\/timeline$/, TimelineView, () => "Timeline"],
];

/** @param {string} path @returns {Screen} */
export function screenOf(path) {
  if (path === "/wall") return { title: "Wall", view: WallView, params: {}, bare: true };
  for (const [pattern, view, title, more] of SCREENS) {
    const found = pattern.exec(path);
    if (!found) continue;
    const params = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, text]) => [name, decoded(text)]));
    return { title: title(params), view, params: { ...params, ...more } };
  }
  return { title: "Not found", view: NotFound, params: {} };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function NotFound() {
  return html`<div class="notice"><h1>There is no such screen</h1><p><a href="/dashboard/">Back to the overview</a></p></div>`;
}
