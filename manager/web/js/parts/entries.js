// Entries of the timeline.
import { clock, timeOfDay } from "../format.js";
import { html } from "../html.js";
import { namedHref } from "../router.js";

/** @type {Record<string, string>} */
const SIGNS = { error: "✕", warning: "!", good: "✓", info: "Δ" };

/** @param {{entries: any[], withDay?: boolean}} props */
export function Entries({ entries, withDay = true }) {
  return html`<ol class="entries">
    ${entries.map(
      (entry) => html`<li key=${entry.ID} class="entry entry-${entry.Level ?? "info"}" data-row>
        <time datetime=${new Date(entry.At * 1000).toISOString()} class="muted number">${withDay ? clock(entry.At) : timeOfDay(entry.At)}</time>
        <span class="entry-sign" aria-hidden="true">${SIGNS[entry.Level ?? "info"]}</span>
        <span class="entry-text"><a href=${namedHref(entry.Object)}>${entry.Text}</a>
          ${entry.By ? html`<span class="muted"> by ${entry.By}</span>` : null}</span>
      </li>`,
    )}
  </ol>`;
}
