// 10 Timeline: who changed what, which tasks failed where and why, updates and their ends.
import { useEffect, useState } from "preact/hooks";
import { get } from "../api.js";
import { hints } from "../feed.js";
import { day, timeOfDay } from "../format.js";
import { html } from "../html.js";
import { choose, place } from "../router.js";
import { Command, shell } from "../parts/command.js";
import { Entries } from "../parts/entries.js";
import { Missing } from "../parts/state.js";
import { Choice } from "../parts/topology.js";

const PAGE = "100";

export function TimelineView() {
  const query = place.value.query;
  const [topic, object] = [query.get("topic") ?? "all", query.get("object") ?? ""];
  return html`<header class="screen-head"><h1>Timeline</h1>
      <${Choice} name="topic" label="Show" value=${topic} options=${["all", "tasks", "nodes", "services", "objects", "people"]} />
      <input type="search" placeholder="Filter by name or id" aria-label="Filter by the name or id of an object" value=${object} spellcheck=${false}
        onInput=${(/** @type {any} */ event) => choose({ object: event.currentTarget.value.trim() })} /></header>
    <${Happened} key=${topic} topic=${topic === "all" ? "" : topic} object=${object} withCommand=${true} />`;
}

/** Entries by day, newest first; new ones come by themselves. @param {{topic?: string, object?: string, withCommand?: boolean}} props */
export function Happened({ topic = "", object = "", withCommand = false }) {
  const [page, setPage] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined));
  const ask = (/** @type {number} */ before = 0) =>
    get("/swarm/timeline", { limit: PAGE, ...(topic && { topic }), ...(object && { object }), ...(before && { before: String(before) }) });
  useEffect(() => {
    let current = true;
    const load = () =>
      ask().then(
        (answer) => current && setPage((/** @type {any} */ old) => joined(answer, old)),
        (failure) => current && setError(failure),
      );
    setPage(null);
    setError(undefined);
    load();
    const leave = hints.want(["timeline"], load);
    return () => {
      current = false;
      leave();
    };
  }, [topic, object]);
  if (!page) return html`<${Missing} error=${error} />`;
  const more = async () => setPage(joined(page, await ask(page.Next)));
  const days = Map.groupBy(page.Entries ?? [], (/** @type {any} */ entry) => day(entry.At));
  return html`${[...days].map(([name, entries]) => html`<section key=${name} class="day" aria-label=${name}><h2>${name}</h2><${Entries} entries=${entries} withDay=${false} /></section>`)}
    ${!page.Entries?.length && html`<p class="empty muted">Nothing has happened yet${object ? " of this name or id" : ""}.</p>`}
    ${page.Next > 0 && html`<p><button type="button" onClick=${more}>Earlier entries</button></p>`}
    <p class="muted small">The last 5,000 entries are kept. The manager started on ${day(page.Began)} at ${timeOfDay(page.Began)}; earlier entries are what the store and the audit log still tell. ${withCommand && html`<${Command} text=${shell("swarm-manager", "timeline", ...(object ? [object] : []))} />`}</p>`;
}

/** Put two pages together, of which the second is the older. @param {any} newer @param {any} older */
function joined(newer, older) {
  if (!older || older.Began !== newer.Began) return newer; // another manager numbers its entries by itself
  const known = new Set((newer.Entries ?? []).map((/** @type {any} */ entry) => entry.ID));
  const rest = (older.Entries ?? []).filter((/** @type {any} */ entry) => !known.has(entry.ID));
  const all = [...(newer.Entries ?? []), ...rest].sort((a, b) => b.ID - a.ID);
  const oldest = (newer.Entries?.at(-1)?.ID ?? 0) < (older.Entries?.at(-1)?.ID ?? Infinity) ? newer : older;
  return { ...newer, Entries: all, Next: oldest.Next };
}
