// 7 Plan and deploy: compose files from here, read by the gate, which is the client that has a reader for them.
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, send } from "../api.js";
import { html } from "../html.js";
import { may } from "../me.js";
import { useLive } from "../model.js";
import { Command, shell } from "../parts/command.js";
import { Plan, Problems } from "../parts/changes.js";
import { Editor, draftOf, newDraft } from "../parts/editor.js";
import { Section } from "../parts/table.js";
import { objectHref } from "../router.js";
import { hasGate } from "../session.js";
import { ServiceTable } from "./services.js";

/** What was written for each stack, kept while the tab is there. @type {Map<string, import("../parts/editor.js").Draft>} */
const drafts = new Map();

/** @param {{name?: string}} props */
export function PlanView({ name = "" }) {
  if (!may("operator")) return html`<${Without} name=${name} why="It needs the role operator." how=${["dashboard", "--role", "operator"]} />`;
  if (!hasGate()) return html`<${Without} name=${name} why="Compose files are read by a client, and no client is between this page and the manager." how=${["dashboard", "--role", "operator"]} />`;
  return html`<${Planning} given=${name} />`;
}

/** @param {{name: string, why: string, how: string[]}} props */
function Without({ name, why, how }) {
  return html`<div class="notice"><h1>A stack cannot be deployed from this page</h1><p>${why}</p>
    <p><${Command} text=${shell("swarm-manager", ...how)} /></p>
    <p>In a terminal: <${Command} text=${shell("swarm-manager", "stack", "plan", "-c", "docker-compose.yaml", name || "STACK")} /></p></div>`;
}

/** @param {{given: string}} props */
function Planning({ given }) {
  const [name, setName] = useState(given);
  const [draft, setDraft] = useState(drafts.get(given) ?? newDraft());
  const [plan, setPlan] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {Error | null} */ (null));
  const [done, setDone] = useState(/** @type {any} */ (null));
  const [works, setWorks] = useState(false);
  const changed = useChanges(name, plan);
  const change = (/** @type {import("../parts/editor.js").Draft} */ next) => {
    drafts.set(given, next);
    setDraft(next);
    setPlan(null);
    setError(null);
  };
  /** @param {string} verb @param {Record<string, unknown>} more @param {(answer: any) => void} take */
  const ask = async (verb, more, take) => {
    setWorks(true);
    setError(null);
    try {
      take(await send("POST", `/gate/stacks/${encodeURIComponent(name)}/${verb}`, { body: { ...draftOf(draft), ...more } }));
    } catch (failure) {
      setError(failure instanceof Error ? failure : new Error(String(failure)));
    } finally {
      setWorks(false);
    }
  };
  const show = (/** @type {Event} */ event) => {
    event.preventDefault();
    setDone(null);
    ask("plan", {}, setPlan);
  };
  const deploy = () =>
    ask("deploy", { seen: plan.seen }, (answer) => {
      setDone(answer);
      setPlan(null);
    });
  const compose = draft.files.filter((file) => file.isCompose).flatMap((file) => ["-c", file.path]);
  const words = [...compose, ...(draft.prune ? ["--prune"] : []), ...(draft.resolve === "always" ? [] : ["--resolve-image", draft.resolve]), name || "STACK"];
  return html`<header class="screen-head"><h1>${given ? `Plan of ${given}` : "Deploy a stack"}</h1></header>
    <div class="planning">
      <form class="editor" onSubmit=${show}>
        ${!given && html`<label class="field">Name of the stack<input type="text" value=${name} required pattern="[A-Za-z0-9][A-Za-z0-9_.\\-]*" spellcheck=${false} autocomplete="off"
          onInput=${(/** @type {any} */ event) => {
            setName(event.currentTarget.value);
            setPlan(null);
          }} /></label>`}
        <${Editor} draft=${draft} change=${change} />
        <div class="editor-end"><button type="submit" class="primary" disabled=${works}>${works && !plan ? "Working …" : "Show the plan"}</button>
          <${Command} text=${shell("swarm-manager", "stack", "plan", ...words)} /></div>
      </form>
      <div class="planned" aria-live="polite">
        ${error && html`<${Failure} error=${error} />`}
        ${plan && html`<${Plan} plan=${plan} />`}
        ${plan && changed && html`<p class="busy">The stack has changed since. Show the plan again.</p>`}
        ${plan && plan.steps.length > 0 && html`<${Confirmation} key=${plan.seen} name=${name} works=${works} deploy=${deploy} command=${shell("swarm-manager", "stack", "deploy", ...words)} />`}
        ${done && html`<${Deployed} name=${name} done=${done} />`}
        ${!error && !plan && !done && html`<p class="muted">The plan says what a deploy would create, change and remove. Nothing changes before you deploy it.</p>`}
      </div>
    </div>`;
}

/** Whether a stack's services are not those any more that a plan was made for. @param {string} name @param {any} plan */
function useChanges(name, plan) {
  const { value } = useLive("services");
  const rows = [...(value?.rows.values() ?? [])].filter((row) => row.Stack === name);
  const now = rows.map((row) => `${row.ID} ${row.ChangedAt}`).sort().join();
  const then = useRef(now);
  useEffect(() => {
    then.current = now;
  }, [plan?.seen]);
  return Boolean(plan) && then.current !== now;
}

/** @param {{error: Error}} props */
function Failure({ error }) {
  const problems = error instanceof Refused ? error.said.problems : null;
  return html`<div role="alert">${problems?.length ? html`<${Problems} problems=${problems} />` : html`<p class="bad">${error.message}</p>`}</div>`;
}

/** @param {{name: string, works: boolean, deploy: () => void, command: string}} props */
function Confirmation({ name, works, deploy, command }) {
  const [typed, setTyped] = useState("");
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (typed === name) deploy();
  };
  return html`<form class="confirmation" onSubmit=${submit}>
    <label class="field">Type <code>${name}</code> to deploy it
      <input type="text" value=${typed} autocomplete="off" spellcheck=${false} onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} /></label>
    <button type="submit" class="primary" disabled=${works || typed !== name}>${works ? "Working …" : "Deploy"}</button>
    <${Command} text=${command} />
  </form>`;
}

/** What a deploy has done, and how it goes. @param {{name: string, done: any}} props */
function Deployed({ name, done }) {
  const { value } = useLive("services");
  const rows = [...(value?.rows.values() ?? [])].filter((row) => row.Stack === name);
  return html`<${Section} title="Deployed" aside=${html`<a href=${objectHref("stack", name)}>${name}</a>`}>
    <ul class="mono">${done.done.map((/** @type {string} */ line) => html`<li key=${line}>${line}</li>`)}</ul>
    ${done.warnings.map((/** @type {string} */ line) => html`<p key=${line} class="busy">${line}</p>`)}
    <${ServiceTable} rows=${rows} withStack=${false} empty="No service of it runs." />
  <//>`;
}
