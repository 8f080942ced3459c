// Search over the names of all kinds: what begins so comes first.
import { useRef, useState } from "preact/hooks";
import { get } from "../api.js";
import { html } from "../html.js";
import { go, objectHref, BASE } from "../router.js";

const MOST = 12;
/** Where each kind's names are, and how they are read. @type {[string, string, (each: any) => [string, string]][]} */
const KINDS = [
  ["service", "/swarm/overview/services?limit=200&q=", (row) => [row.ID, row.Name]],
  ["node", "/swarm/overview/nodes", (tile) => [tile.ID, tile.Name]],
  ["network", "/networks", (network) => [network.Id, network.Name]],
  ["secret", "/secrets", (secret) => [secret.ID, secret.Spec.Name]],
  ["config", "/configs", (config) => [config.ID, config.Spec.Name]],
];

/** @typedef {{kind: string, id: string, name: string}} Found */

/** @param {string} text @returns {Promise<Found[]>} */
async function find(text) {
  const wanted = text.toLowerCase();
  const answers = await Promise.all(
    KINDS.map(async ([kind, path, read]) => {
      const answer = await get(path.endsWith("=") ? path + encodeURIComponent(text) : path);
      const rows = Array.isArray(answer) ? answer : (answer.Services ?? answer.Nodes ?? []);
      return rows.map((/** @type {any} */ row) => ({ kind, id: read(row)[0], name: read(row)[1] }));
    }),
  );
  const found = answers.flat().filter((each) => each.name.toLowerCase().includes(wanted) || each.id.startsWith(wanted) || (wanted.length > each.id.length && wanted.startsWith(each.id)));
  const rank = (/** @type {Found} */ each) => (each.name.toLowerCase().startsWith(wanted) ? 0 : 1);
  const all = found.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)).slice(0, MOST);
  return /^[a-z0-9]{12,25}$/.test(text) && !all.length ? [{ kind: "task", id: text, name: text }] : all;
}

export function Search() {
  const [found, setFound] = useState(/** @type {Found[] | null} */ (null));
  const [at, setAt] = useState(0);
  const turn = useRef(0);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const change = async (/** @type {any} */ event) => {
    const text = event.currentTarget.value.trim();
    const mine = ++turn.current;
    const all = text ? await find(text).catch(() => []) : null;
    if (mine !== turn.current) return;
    setFound(all);
    setAt(0);
  };
  const close = () => {
    turn.current++;
    setFound(null);
    if (input.current) input.current.value = "";
  };
  const open = (/** @type {Found} */ each) => {
    close();
    input.current?.blur();
    go(objectHref(each.kind, each.kind === "task" ? each.id : each.name).slice(BASE.length));
  };
  const press = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") close();
    if (!found?.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setAt((at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length);
    }
    if (event.key === "Enter") open(found[at]);
  };
  return html`<div class="search" role="search">
    <input id="search" ref=${input} type="search" placeholder="Search  /" aria-label="Search all names" autocomplete="off" spellcheck=${false}
      role="combobox" aria-expanded=${Boolean(found)} aria-controls="search-found" aria-activedescendant=${found?.length ? `found-${at}` : undefined}
      onInput=${change} onKeyDown=${press} onBlur=${() => setTimeout(close, 150)} />
    <ul id="search-found" role="listbox" aria-label="Found" hidden=${!found}>
      ${found?.map(
        (each, n) => html`<li key=${each.kind + each.id} id=${`found-${n}`} role="option" aria-selected=${n === at} onMouseDown=${() => open(each)}>
          <span>${each.name}</span><span class="muted">${each.kind}</span>
        </li>`,
      )}
      ${found && !found.length && html`<li class="muted" role="option" aria-selected="false" aria-disabled="true">nothing matches</li>`}
    </ul>
  </div>`;
}
