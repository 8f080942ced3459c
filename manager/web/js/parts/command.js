// The command that does what is shown: each thing here can be done, and looked up, in a terminal too.
import { useState } from "preact/hooks";
import { html } from "../html.js";

const SAFE = /^[\w@%+=:,./-]+$/;

/** Write words as a shell reads them. @param {...string} words */
export function shell(...words) {
  return words.map((word) => (SAFE.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}

/** @param {{text: string}} props */
export function Command({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<span class="command"
    ><code>${text}</code
    ><button type="button" class="quiet" data-copy onClick=${copy} aria-label="copy the command ${text}">${copied ? "copied" : "copy"}</button></span
  >`;
}
