// A log as it is written: text only, bounded, at most so many lines a frame. The DOM is made by hand: 10,000 lines a
// second are too many for a component each.
import { useEffect, useRef, useState } from "preact/hooks";
import { open } from "../api.js";
import { html } from "../html.js";
import { pieces } from "./ansi.js";
import { frames } from "./logframes.js";

const KEPT = 5000;
const LONGEST = 8000;
const PER_FRAME = 500;
const WAITING = 20_000;

/** @typedef {{text: string, stream: string, at: string, from: string}} Line */

/**
 * @param {{path: string, label: string, follow?: boolean, labelOf?: (details: Record<string, string>) => string, tail?: number}} props
 */
export function Log({ path, label, labelOf, tail = 500 }) {
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  const [follow, setFollow] = useState(true);
  const [wrap, setWrap] = useState(false);
  const [times, setTimes] = useState(false);
  const [find, setFind] = useState("");
  const [said, setSaid] = useState("Loading …");
  const following = useRef(true);
  following.current = follow;
  useEffect(() => {
    const abort = new AbortController();
    const view = frame.current;
    if (!view) return undefined;
    view.replaceChildren();
    const pane = new Pane(view, () => following.current, setSaid);
    const opened = new Date().toISOString();
    let past = 0;
    // One line more is asked for than is promised: when it comes, there were earlier ones.
    read(path, tail + 1, Boolean(labelOf), labelOf, abort.signal, (line) => {
      if (line.at < opened && ++past > tail) pane.begins = false;
      pane.take(line);
    }).then(
      () => setSaid("The log has ended."),
      (error) => abort.signal.aborted || setSaid(error.message),
    );
    setSaid("");
    return () => {
      abort.abort();
      pane.end();
    };
  }, [path, tail]);
  useEffect(() => mark(frame.current, find), [find]);
  return html`<div class="log">
    <div class="toolbar">
      <label class="check"><input type="checkbox" checked=${follow} onChange=${() => setFollow(!follow)} /> follow</label>
      <label class="check"><input type="checkbox" checked=${wrap} onChange=${() => setWrap(!wrap)} /> wrap</label>
      <label class="check"><input type="checkbox" checked=${times} onChange=${() => setTimes(!times)} /> times</label>
      <input type="search" placeholder="Find" aria-label="Find in the log" spellcheck=${false} onInput=${(/** @type {any} */ event) => setFind(event.currentTarget.value)} />
      <span class="muted log-said" role="status">${said}</span>
    </div>
    <div ref=${frame} class=${`log-lines${wrap ? " wraps" : ""}${times ? " has-times" : ""}`} tabindex="0" role="region" aria-label=${label} data-log></div>
  </div>`;
}

/** @param {string} path @param {number} tail @param {boolean} details @param {((details: Record<string, string>) => string) | undefined} labelOf @param {AbortSignal} signal @param {(line: Line) => void} take */
async function read(path, tail, details, labelOf, signal, take) {
  const query = { stdout: "1", stderr: "1", follow: "1", timestamps: "1", tail: String(tail), ...(details ? { details: "1" } : {}) };
  const answer = await open("GET", path, { query, signal });
  for await (const { stream, text } of frames(answer)) {
    const space = text.indexOf(" ");
    const at = text.slice(0, space);
    let [rest, from] = [text.slice(space + 1), ""];
    if (details) {
      const end = rest.indexOf(" ");
      from = labelOf?.(parse(rest.slice(0, end))) ?? "";
      rest = rest.slice(end + 1);
    }
    take({ text: rest, stream, at, from });
  }
}

/** @param {string} text */
function parse(text) {
  return Object.fromEntries(text.split(",").map((pair) => pair.split("=").map(decodeURIComponent)));
}

/** Draws lines as they come. */
class Pane {
  /** @param {HTMLElement} view @param {() => boolean} follows @param {(text: string) => void} say */
  constructor(view, follows, say) {
    this.view = view;
    this.follows = follows;
    this.say = say;
    /** @type {Line[]} */
    this.waiting = [];
    this.dropped = 0;
    /** Whether the log's first line is among those that came. */
    this.begins = true;
    this.frame = 0;
  }

  /** @param {Line} line */
  take(line) {
    if (this.waiting.length >= WAITING) {
      this.waiting.splice(0, WAITING / 2);
      this.dropped += WAITING / 2;
    }
    this.waiting.push(line);
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const lines = this.waiting.splice(0, PER_FRAME);
    const all = document.createDocumentFragment();
    for (const line of lines) all.append(element(line));
    this.view.append(all);
    const over = this.view.childElementCount - KEPT;
    for (let n = 0; n < over; n++) this.view.firstElementChild?.remove();
    this.dropped += Math.max(0, over);
    if (this.dropped && this.begins) this.say(`${this.dropped} earlier lines are not shown here`);
    else if (!this.begins) this.say("earlier lines are not shown here");
    if (this.follows()) this.view.scrollTop = this.view.scrollHeight;
    if (this.waiting.length) this.frame = requestAnimationFrame(() => this.draw());
  }

  end() {
    cancelAnimationFrame(this.frame);
  }
}

/** @param {Line} line */
function element(line) {
  const row = document.createElement("div");
  row.className = line.stream === "stderr" ? "log-line is-error" : "log-line";
  row.append(span("log-time", line.at.slice(11, 23)));
  if (line.from) row.append(span("log-from", line.from));
  const text = line.text.length > LONGEST ? line.text.slice(0, LONGEST) : line.text;
  for (const piece of pieces(text)) row.append(piece.classes ? span(piece.classes, piece.text) : piece.text);
  if (text !== line.text) row.append(span("muted", ` … ${line.text.length - LONGEST} more characters`));
  return row;
}

/** @param {string} classes @param {string} text */
function span(classes, text) {
  const made = document.createElement("span");
  made.className = classes;
  made.textContent = text;
  return made;
}

/** Show the lines that have a text. @param {HTMLElement | null} view @param {string} text */
function mark(view, text) {
  const wanted = text.toLowerCase();
  for (const row of view?.children ?? []) {
    row.classList.toggle("is-found", Boolean(wanted) && (row.textContent ?? "").toLowerCase().includes(wanted));
  }
  view?.querySelector(".is-found")?.scrollIntoView({ block: "center" });
}
