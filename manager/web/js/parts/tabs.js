// Parts of a screen of which one is shown.
import { html } from "../html.js";

/** @param {{at: string, tabs: [string, string][], choose: (name: string) => void}} props */
export function Tabs({ at, tabs, choose }) {
  return html`<nav class="tabs" aria-label="Parts of this screen">
    ${tabs.map(([name, title]) => html`<button key=${name} type="button" data-key=${name} aria-current=${name === at ? "true" : undefined} onClick=${() => choose(name)}>${title}</button>`)}
  </nav>`;
}
