// A task's mark: a shape and a colour, never colour alone; and what a node and a service are said to be.
import { html } from "../html.js";
import { markOf } from "../tasks.js";

/** @type {Record<string, {glyph: string, word: string}>} */
export const MARKS = {
  running: { glyph: "●", word: "running" },
  starting: { glyph: "◐", word: "starting" },
  waiting: { glyph: "○", word: "waiting" },
  failed: { glyph: "✕", word: "failed" },
  stopping: { glyph: "◌", word: "stopping" },
  completed: { glyph: "✓", word: "completed" },
  lost: { glyph: "╳", word: "lost" },
  stopped: { glyph: "·", word: "stopped" },
};

const ORDER = Object.keys(MARKS);

/** @param {{mark: string, title?: string}} props */
export function Mark({ mark, title }) {
  const { glyph, word } = MARKS[mark] ?? { glyph: "?", word: mark };
  return html`<span class="mark mark-${mark}" role="img" aria-label=${title ?? word} title=${title ?? word}>${glyph}</span>`;
}

/** A task's mark and its state; of one whose node is down only what it was is known. @param {{task: any, isLost: boolean}} props */
export function State({ task, isLost }) {
  const mark = markOf(task, isLost);
  return html`<${Mark} mark=${mark} /> ${mark === "lost" ? html`lost <span class="muted">was ${task.Status.State}</span>` : task.Status.State}`;
}

/** Counts of marks in words: `18 running, 1 failed`. @param {Record<string, number> | undefined} counts */
export function inWords(counts) {
  const said = ORDER.filter((mark) => counts?.[mark]).map((mark) => `${counts?.[mark]} ${MARKS[mark].word}`);
  return said.join(", ") || "no tasks";
}

/** Counts of marks, each with its mark, and where there is room with its word. @param {{counts: Record<string, number> | undefined, withWords?: boolean}} props */
export function Counts({ counts, withWords = false }) {
  const there = ORDER.filter((mark) => counts?.[mark]);
  return html`<span class="counts">
    ${there.map((mark) => html`<span key=${mark} title=${MARKS[mark].word}><${Mark} mark=${mark} /> <span class="number">${counts?.[mark]}</span>${withWords && html` <span class="count-word">${MARKS[mark].word}</span>`}</span>`)}
    ${there.length ? null : html`<span class="muted">no tasks</span>`}
  </span>`;
}

/** @type {Record<string, string>} */
const TONES = {
  ready: "good",
  well: "good",
  completed: "done",
  running: "good",
  active: "idle",
  down: "bad",
  failed: "bad",
  short: "bad",
  halted: "bad",
  paused: "bad",
  rollback_paused: "bad",
  disconnected: "busy",
  unknown: "busy",
  updating: "busy",
  starting: "busy",
  drain: "busy",
  pause: "busy",
  rollback_started: "busy",
};

/** What a node that takes no new tasks does. @param {{tile: any}} props */
export function Away({ tile }) {
  if (!tile.Availability || tile.Availability === "active") return null;
  return html`<${Badge} word=${tile.Availability === "drain" ? "draining" : "paused"} tone="busy" />`;
}

/** A word on a ground of its tone. @param {{word: string, tone?: string}} props */
export function Badge({ word, tone }) {
  return html`<span class="badge badge-${tone ?? TONES[word] ?? "idle"}">${word}</span>`;
}
