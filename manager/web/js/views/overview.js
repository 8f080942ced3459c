// 1 Overview: how it is in one sentence, what is wrong first, what changed last, and where everything runs.
import { ago, plural } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../model.js";
import { href, namedHref } from "../router.js";
import { Command } from "../parts/command.js";
import { Entries } from "../parts/entries.js";
import { Missing } from "../parts/state.js";
import { Section } from "../parts/table.js";
import { Topology } from "../parts/topology.js";

const SHOWN = 8;
const CHANGES = 6;
const FEW_CHANGES = 4;
/** @type {Record<string, string>} */
const SIGNS = { trouble: "✕", changing: "◐", well: "✓", empty: "○" };

export function OverviewView() {
  const { value, error } = useLive("overview");
  if (!value) return html`<${Missing} error=${error} />`;
  return html`
    <${Headline} overview=${value} />
    ${value.Level === "empty" && html`<${Beginning} />`}
    <div class="glance">
      <${Troubles} overview=${value} />
      ${value.Changes?.length > 0 && html`<${Section} title="What changed" aside=${html`<a href=${href("/timeline")}>all changes</a>`}>
        <${Entries} entries=${value.Changes.slice(0, value.Trouble?.length ? CHANGES : FEW_CHANGES)} />
      <//>`}
    </div>
    <${Topology} tasks=${value.Totals?.Tasks} />
  `;
}

/** @param {{overview: any}} props */
export function Headline({ overview }) {
  const [first, ...rest] = overview.Sentence.split(" · ");
  return html`<div class="headline headline-${overview.Level}">
    <span class="sign" aria-hidden="true">${SIGNS[overview.Level] ?? "○"}</span>
    <h1 data-sentence>${first}</h1>
    <p class="muted">${rest.join(" · ")}</p>
  </div>`;
}

/** @param {{overview: any}} props */
function Troubles({ overview }) {
  const troubles = overview.Trouble ?? [];
  const more = (overview.TroubleTotal ?? 0) - Math.min(troubles.length, SHOWN);
  return html`<div aria-live="polite" aria-label="Trouble" role="region" class=${troubles.length ? "" : "nothing"}>
    <ul class="troubles">
      ${troubles.slice(0, SHOWN).map((/** @type {any} */ trouble) => html`<${Trouble} key=${trouble.Kind + trouble.Object.ID} trouble=${trouble} />`)}
    </ul>
    ${more > 0 && html`<p class="more"><a href=${href("/services")}>and ${plural(more, "more thing")}</a></p>`}
  </div>`;
}

/** @param {{trouble: any}} props */
function Trouble({ trouble }) {
  const { Kind: kind, Text: text, Since: since, Object: object, Hint: hint, Command: command } = trouble;
  return html`<li class="trouble" data-row data-kind=${kind}>
    <span class="trouble-sign" aria-hidden="true">!</span>
    <div class="trouble-text">
      <p><a href=${namedHref(object)}>${text}</a></p>
      ${hint && html`<p class="muted hint">${hint}</p>`}
      ${command && html`<p class="muted"><${Command} text=${command} /></p>`}
    </div>
    <span class="muted number" aria-hidden="true">${since ? ago(since) : ""}</span>
  </li>`;
}

/** What fills an empty cluster. */
function Beginning() {
  return html`<div class="beginning">
    <p>Nothing runs yet. A stack from a compose file:</p>
    <${Command} text="swarm-manager stack deploy -c docker-compose.yaml app" />
    <p>One more host, with Docker on it:</p>
    <${Command} text="swarm-manager join-token worker" />
  </div>`;
}
