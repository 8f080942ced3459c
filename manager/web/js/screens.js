// All screens, and the addresses that they have below /dashboard. Only the overview is there at once: the code of the others
// comes when they are opened, or before that when the browser has nothing else to do.
import { Lost } from "./api.js";
import { html } from "./html.js";
import { Missing, useAnswer } from "./parts/state.js";
import { OverviewView } from "./views/overview.js";

/** @typedef {{title: string, view: any, params: Record<string, string>, bare?: boolean}} Screen */
/** @typedef {(props: any) => unknown} View */

/** What loads the views that are not there yet. @type {(() => Promise<unknown>)[]} */
const loading = [];

/** A view whose code is loaded when it is shown first. @param {() => Promise<View>} load @returns {View} */
function later(load) {
  /** @type {View | undefined} */
  let loaded;
  const once = async () => {
    try {
      return (loaded ??= await load());
    } catch (error) {
      throw new Lost(error instanceof Error ? error.message : String(error));
    }
  };
  loading.push(once);
  /** @param {any} props */
  function Later(props) {
    const { value, error } = useAnswer(once, []);
    const Present = loaded ?? value;
    return Present ? html`<${Present} ...${props} />` : html`<${Missing} error=${error} />`;
  }
  return Later;
}

/** Load all views, one after the other; what cannot be had now is asked for when it is opened. */
export async function loadViews() {
  for (const load of loading) await load().catch(() => undefined);
}

const PlanView = later(async () => (await import("./views/plan.js")).PlanView);
const WallView = later(async () => (await import("./views/wall.js")).WallView);

/** @type {[RegExp, any, (params: Record<string, string>) => string, Record<string, string>?][]} */
const SCREENS = [
  [/^\/$/, OverviewView, () => "Overview"],
  [/^\/services$/, later(async () => (await import("./views/services.js")).ServicesView), () => "Services"],
  [/^\/services\/(?<reference>[^/]+)$/, later(async () => (await import("./views/service.js")).ServiceView), ({ reference }) => reference],
  [/^\/tasks\/(?<reference>[^/]+)$/, later(async () => (await import("./views/task.js")).TaskView), () => "Task"],
  [/^\/nodes$/, later(async () => (await import("./views/nodes.js")).NodesView), () => "Nodes"],
  [/^\/nodes\/(?<reference>[^/]+)$/, later(async () => (await import("./views/node.js")).NodeView), ({ reference }) => reference],
  [/^\/stacks$/, later(async () => (await import("./views/stacks.js")).StacksView), () => "Stacks"],
  [/^\/stacks\/(?<name>[^/]+)$/, later(async () => (await import("./views/stacks.js")).StackView), ({ name }) => name],
  [/^\/stacks\/(?<name>[^/]+)\/plan$/, PlanView, ({ name }) => `Plan of ${name}`],
  [/^\/plan$/, PlanView, () => "Deploy a stack"],
  [/^\/networks$/, later(async () => (await import("./views/networks.js")).NetworksView), () => "Networks"],
  [/^\/networks\/(?<reference>[^/]+)$/, later(async () => (await import("./views/networks.js")).NetworkView), ({ reference }) => reference],
  [/^\/secrets$/, later(async () => (await import("./views/files.js")).FilesView), () => "Secrets and configs"],
  [/^\/secrets\/(?<reference>[^/]+)$/, later(async () => (await import("./views/files.js")).FileView), ({ reference }) => reference, { kind: "secret" }],
  [/^\/configs\/(?<reference>[^/]+)$/, later(async () => (await import("./views/files.js")).FileView), ({ reference }) => reference, { kind: "config" }],
  [/^\/access$/, later(async () => (await import("./views/access.js")).AccessView), () => "Access"],
  [/^\/timeline$/, later(async () => (await import("./views/timeline.js")).TimelineView), () => "Timeline"],
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
