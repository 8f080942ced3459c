// A course of an hour as a line, with what it is now beside it.
import { html } from "../html.js";

const WIDTH = 240;
const HEIGHT = 36;
// What was said before so many of the last values is no longer what is.
const STALE = 3;

/** @typedef {(number | null)[]} Values */

/** Lines of values that follow each other; where nothing is known there is none. @param {Values} values @param {number} most */
function lines(values, most) {
  const step = WIDTH / Math.max(1, values.length - 1);
  /** @type {string[][]} */
  const found = [[]];
  for (const [n, value] of values.entries()) {
    if (value === null) found.push([]);
    else found[found.length - 1].push(`${(n * step).toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1)}`);
  }
  return found.filter((line) => line.length);
}

/**
 * @param {{name: string, values: Values | undefined, say: (value: number) => string, most?: number, limit?: number, note?: string}} props
 * `most` is the value of the upper edge, where it has one; `limit` is drawn as a line; `note` is said beside the value.
 */
export function Sparkline({ name, values, say, most = 0, limit = 0, note = "" }) {
  const known = (values ?? []).filter((value) => value !== null);
  if (!values || !known.length) return null;
  const top = Math.max(most, ...known, limit, Number.EPSILON);
  const last = known[known.length - 1];
  const isStale = values.slice(-STALE).every((value) => value === null);
  const peak = Math.max(...known);
  return html`<figure class="spark">
    <figcaption><span class="muted">${name}</span> ${isStale ? html`<span class="muted number">was ${say(last)}</span>` : html`<strong class="number">${say(last)}</strong>`}${note && !isStale ? html` <span class="muted number">${note}</span>` : null} <span class="muted number small">at most ${say(peak)}</span></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${name}, the last hour: ${isStale ? "last" : "now"} ${say(last)}${note && !isStale ? ` ${note}` : ""}, at most ${say(peak)}">
      ${limit > 0 && html`<line x1="0" x2=${WIDTH} y1=${HEIGHT - 1 - (limit / top) * (HEIGHT - 3)} y2=${HEIGHT - 1 - (limit / top) * (HEIGHT - 3)} class="spark-limit" />`}
      ${lines(values, top).map((line, n) => (line.length > 1 ? html`<polyline key=${n} points=${line.join(" ")} />` : html`<circle key=${n} cx=${line[0].split(",")[0]} cy=${line[0].split(",")[1]} r="1.5" />`))}
    </svg>
  </figure>`;
}
