// Which screen an address means. The address is the browser's own, so that back, bookmarks and new tabs work.
import { signal } from "@preact/signals";

export const BASE = "/dashboard";

export const place = signal(here());

function here() {
  const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length) : "";
  return { path: path.replace(/\/+$/, "") || "/", query: new URLSearchParams(location.search) };
}

/** @param {string} path */
export function href(path) {
  return BASE + path;
}

/** The address of an object's screen, by its name or id. @param {string} kind @param {string} reference */
export function objectHref(kind, reference) {
  /** @type {Record<string, string>} */
  const folders = { service: "services", node: "nodes", task: "tasks", network: "networks", secret: "secrets", config: "configs", stack: "stacks" };
  const folder = folders[kind];
  return folder && reference ? href(`/${folder}/${encodeURIComponent(reference)}`) : href("/timeline");
}

/** The address of the screen of an object that the manager names. @param {{Kind: string, ID?: string, Name?: string}} named */
export function namedHref(named) {
  const { Kind: kind, ID: id = "", Name: name = "" } = named;
  return objectHref(kind, kind === "task" ? id : name || id);
}

/** @param {string} path @param {{replace?: boolean}} [how] */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href(path));
  place.value = here();
  if (!replace) scrollTo(0, 0);
}

/** Change the query of this screen's address, which is how it is to be shown. @param {Record<string, string>} changes */
export function choose(changes) {
  const query = new URLSearchParams(place.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(place.value.path + (text ? `?${text}` : ""), { replace: true });
}

/** Follow links to our own screens without loading the page anew. */
export function listen() {
  addEventListener("popstate", () => {
    place.value = here();
  });
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.target || link.origin !== location.origin || !link.pathname.startsWith(`${BASE}/`)) return;
    if (link.pathname.startsWith(`${BASE}/static/`)) return;
    event.preventDefault();
    go(link.pathname.slice(BASE.length) + link.search);
  });
}
