// Dialogs: the list of keys, and what is asked before something is changed.
import { useEffect, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { html } from "../html.js";
import { HELP, enabled, setEnabled, showsHelp } from "../keys.js";
import { Command } from "./command.js";
import { Problem } from "./conflict.js";
import { refresh } from "./state.js";

/**
 * @typedef {{title: string, text?: unknown, command?: (values: Record<string, string>) => string, name?: string, verb: string,
 *   fields?: {name: string, label: string, value: string, type?: string, min?: string, optional?: boolean}[], danger?: (values: Record<string, string>) => boolean,
 *   act: (values: Record<string, string>) => Promise<unknown>}} Question
 */

/** @typedef {Question & {at: string}} Placed a question, and the path of the screen where it was asked */

const asked = signal(/** @type {Placed | null} */ (null));
/** What was confirmed, and is not done or not seen yet. */
const underway = signal(/** @type {Placed[]} */ ([]));

/** Ask before something is done; with a `name` that has to be typed where something stops. @param {Question} question */
export function ask(question) {
  asked.value = { ...question, at: location.pathname };
}

/** Whether something goes on that was confirmed on this screen, in a dialog that was closed before its end. */
export function isUnderway() {
  return asked.value === null && underway.value.some(({ at }) => at === location.pathname);
}

/**
 * Do what was confirmed, and wait until the screen shows it: what is done next from there begins with the version that
 * this has made. @param {Placed} question @param {Record<string, string>} values
 */
async function carryOut(question, values) {
  underway.value = [...underway.value, question];
  try {
    await question.act(values);
    await refresh();
  } finally {
    underway.value = underway.value.filter((each) => each !== question);
  }
}

export function Dialogs() {
  if (asked.value) return html`<${Asked} question=${asked.value} />`;
  return showsHelp.value ? html`<${Keyboard} />` : null;
}

/** @param {{title: string, close: () => void, children?: unknown}} props */
function Dialog({ title, close, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => before instanceof HTMLElement && before.focus();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${close}>
    <h1 id="dialog-title">${title}</h1>
    ${children}
  </dialog>`;
}

/** @param {{question: Placed}} props */
function Asked({ question }) {
  const { title, text, fields = [], name = "", verb, command, danger } = question;
  const [values, setValues] = useState(Object.fromEntries(fields.map((field) => [field.name, field.value])));
  const [typed, setTyped] = useState("");
  const [works, setWorks] = useState(false);
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const close = () => {
    if (asked.value === question) asked.value = null;
  };
  const isDangerous = Boolean(name) && (!danger || danger(values));
  const act = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setWorks(true);
    setError(null);
    try {
      await carryOut(question, values);
      close();
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setWorks(false);
    }
  };
  return html`<${Dialog} title=${title} close=${close}>
    <form onSubmit=${act}>
      ${text && html`<div class="dialog-text">${text}</div>`}
      ${fields.map(
        (field) => html`<label key=${field.name}>${field.label}
          <input type=${field.type ?? "text"} min=${field.min} value=${values[field.name]} required=${!field.optional} spellcheck=${false} autocomplete="off"
            onInput=${(/** @type {any} */ event) => setValues({ ...values, [field.name]: event.currentTarget.value })} /></label>`,
      )}
      ${isDangerous && html`<label>Type <code>${name}</code> to go on
        <input type="text" value=${typed} autocomplete="off" spellcheck=${false} onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} /></label>`}
      ${command && html`<${Command} text=${command(values)} />`}
      ${error && html`<${Problem} error=${error} />`}
      <div class="dialog-buttons">
        <button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class=${isDangerous ? "primary danger" : "primary"} disabled=${works || (isDangerous && typed !== name)}>${works ? "Working …" : verb}</button>
      </div>
    </form>
  <//>`;
}

function Keyboard() {
  return html`<${Dialog} title="Keyboard" close=${() => (showsHelp.value = false)}>
    <dl class="keys">${HELP.map(([keys, what]) => html`<div key=${keys}><dt>${keys.split(" ").map((each) => html`<kbd key=${each}>${each}</kbd> `)}</dt><dd>${what}</dd></div>`)}</dl>
    <label class="check"><input type="checkbox" checked=${enabled.value} onChange=${(/** @type {any} */ event) => setEnabled(event.currentTarget.checked)} /> Single-key shortcuts are on</label>
    <form method="dialog" class="dialog-buttons"><button type="submit" class="primary">Close</button></form>
  <//>`;
}
