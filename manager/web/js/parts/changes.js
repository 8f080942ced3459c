// What a deploy would change, in signs, words and colours; and what is wrong with files, by its place.
import { html } from "../html.js";
import { inShort } from "./difference.js";
import { showPlace } from "./editor.js";

/** @type {Record<string, {word: string, tone: string}>} */
const SIGNS = { "+": { word: "create", tone: "good" }, "~": { word: "change", tone: "busy" }, "-": { word: "remove", tone: "bad" } };

/** @typedef {{path: string, old: unknown, new: unknown, restarts: boolean}} Field */

/** @param {{plan: {steps: any[], summary: string, warnings: string[]}}} props */
export function Plan({ plan }) {
  return html`<section aria-label="Plan" data-plan>
    <h2>${plan.summary}</h2>
    <ol class="steps">${plan.steps.map((step) => html`<${Step} key=${`${step.kind} ${step.name}`} step=${step} />`)}</ol>
    ${plan.warnings.map((line) => html`<p key=${line} class="busy pre">${line}</p>`)}
  </section>`;
}

/** @param {{step: {sign: string, kind: string, name: string, remark: string, fields: Field[]}}} props */
function Step({ step }) {
  const { word, tone } = SIGNS[step.sign];
  return html`<li class="step step-${tone}">
    <p><span class="sign ${tone}" aria-hidden="true">${step.sign}</span> <span class=${tone}>${word}</span> ${step.kind} <strong>${step.name}</strong>${step.remark && html`<span class="muted">: ${step.remark}</span>`}</p>
    ${step.fields.length > 0 && html`<ul class="mono">${step.fields.map((field) => html`<li key=${field.path}><span class="muted">${field.path}</span> <del>${inShort(field.old)}</del> → <ins>${inShort(field.new)}</ins></li>`)}</ul>`}
  </li>`;
}

/** @param {{problems: {file: string, line: number, column: number, path: string, message: string}[]}} props */
export function Problems({ problems }) {
  return html`<ul class="problems">${problems.map(
    (each) => html`<li key=${`${each.file} ${each.line} ${each.path} ${each.message}`}>
      ${each.file && html`<button type="button" class="quiet mono" onClick=${() => showPlace(each.file, each.line, each.column)}>${each.file}:${each.line}:${each.column}</button> `}${each.path && html`<code>${each.path}</code> `}<span class="bad">${each.message}</span></li>`,
  )}</ul>`;
}
