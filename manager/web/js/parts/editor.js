// Files of a stack, written or chosen here: compose files, and what they name.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { bytes } from "../format.js";

const MOST_BYTES = 1024 * 1024;
const COMPOSE = /\.ya?ml$/;
const EXAMPLE = "services:\n  web:\n    image: nginx:1.27\n    deploy: {replicas: 2}\n";

/**
 * @typedef {{path: string, text: string, isCompose: boolean}} File
 * @typedef {{files: File[], prune: boolean, resolve: string}} Draft
 */

/** @returns {Draft} */
export function newDraft() {
  return { files: [{ path: "docker-compose.yaml", text: "", isCompose: true }], prune: false, resolve: "always" };
}

/** A draft as the gate takes it. @param {Draft} draft */
export function draftOf({ files, prune, resolve }) {
  return {
    compose: files.filter((file) => file.isCompose).map((file) => file.path),
    files: Object.fromEntries(files.map((file) => [file.path, file.text])),
    prune,
    resolve,
  };
}

/** Lead to a place in a file. @param {string} path @param {number} line @param {number} column */
export function showPlace(path, line, column) {
  document.querySelector(`[data-file=${CSS.escape(path)}]`)?.dispatchEvent(new CustomEvent("place", { detail: { line, column }, bubbles: true }));
}

/** @param {{draft: Draft, change: (draft: Draft) => void}} props */
export function Editor({ draft, change }) {
  const { files } = draft;
  const [at, setAt] = useState(0);
  const [problem, setProblem] = useState("");
  const file = files[Math.min(at, files.length - 1)];
  const put = (/** @type {Partial<File>} */ changes) => change({ ...draft, files: files.map((each) => (each === file ? { ...each, ...changes } : each)) });
  const rename = (/** @type {any} */ { currentTarget: input }) => {
    input.setCustomValidity(files.some((each) => each !== file && each.path === input.value) ? "Another file has this path." : "");
    put({ path: input.value });
  };
  /** @param {File[]} added */
  const add = (added) => {
    const untouched = files.filter((each) => (each.text || files.length > 1) && !added.some((other) => other.path === each.path));
    change({ ...draft, files: [...untouched, ...added] });
    setAt(untouched.length);
  };
  const choose = async (/** @type {any} */ event) => {
    const chosen = /** @type {globalThis.File[]} */ ([...event.currentTarget.files]);
    event.currentTarget.value = "";
    try {
      const added = await Promise.all(chosen.map(readFile));
      setProblem("");
      if (added.length) add(added);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const size = new TextEncoder().encode(JSON.stringify(draftOf(draft))).length;
  return html`<div role="group" aria-label="Files">
    <div class="files">
      ${files.map((each, n) => html`<button key=${each.path} type="button" data-file=${each.path} aria-pressed=${each === file} onClick=${() => setAt(n)} onplace=${(/** @type {CustomEvent} */ event) => {
        setAt(n);
        requestAnimationFrame(() => select(event.detail));
      }}>${each.path}</button>`)}
      <label class="button">Add files<input type="file" class="hidden" multiple onChange=${choose} /></label>
    </div>
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    <div class="file-head">
      <label class="field">Path<input type="text" value=${file.path} required spellcheck=${false} autocomplete="off" onInput=${rename} /></label>
      <label class="check"><input type="checkbox" checked=${file.isCompose} onChange=${(/** @type {any} */ event) => put({ isCompose: event.currentTarget.checked })} /> Compose file</label>
      ${files.length > 1 && html`<button type="button" onClick=${() => change({ ...draft, files: files.filter((each) => each !== file) })}>Leave it out</button>`}
    </div>
    <textarea id="file-text" class="mono" rows="22" aria-label=${`Text of ${file.path}`} spellcheck=${false} autocomplete="off" autocapitalize="off" wrap="off" placeholder=${EXAMPLE}
      value=${file.text} onInput=${(/** @type {any} */ event) => put({ text: event.currentTarget.value })}></textarea>
    <p class=${size > MOST_BYTES ? "bad" : "muted"}>${bytes(size)} of at most ${bytes(MOST_BYTES)}. Files that a compose file names are added too, under the path that it gives; <code>.env</code> has its variables.</p>
    <label class="check"><input type="checkbox" checked=${draft.prune} onChange=${(/** @type {any} */ event) => change({ ...draft, prune: event.currentTarget.checked })} /> Remove services that are no longer in the files</label>
    <label class="check">Ask registries for digests <select value=${draft.resolve} onChange=${(/** @type {any} */ event) => change({ ...draft, resolve: event.currentTarget.value })}>
      ${["always", "changed", "never"].map((word) => html`<option key=${word} value=${word} selected=${word === draft.resolve}>${word}</option>`)}</select></label>
  </div>`;
}

/** @param {globalThis.File} chosen @returns {Promise<File>} */
async function readFile(chosen) {
  if (chosen.size > MOST_BYTES) throw new Error(`${chosen.name} has ${bytes(chosen.size)}; all files together have at most ${bytes(MOST_BYTES)}.`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await chosen.arrayBuffer());
    return { path: chosen.name, text, isCompose: COMPOSE.test(chosen.name) };
  } catch {
    throw new Error(`${chosen.name} is not UTF-8 text: deploy it with swarm-manager stack deploy.`);
  }
}

/** Select a line of the text, and bring it into view. @param {{line: number, column: number}} place */
function select({ line, column }) {
  const text = /** @type {HTMLTextAreaElement} */ (document.getElementById("file-text"));
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  text.focus();
  text.setSelectionRange(start + column - 1, start + (lines[line - 1] ?? "").length);
  text.scrollTop = (text.scrollHeight / lines.length) * (line - 4);
}
