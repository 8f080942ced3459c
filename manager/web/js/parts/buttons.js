// Buttons for what can be done; one that may not says which role it needs.
import { html } from "../html.js";
import { may } from "../me.js";
import { isUnderway } from "./dialog.js";

/** @param {{actions: import("../actions.js").Action[]}} props */
export function Buttons({ actions }) {
  return html`<div class="buttons" role="group" aria-label="Actions">
    ${actions.map((action) => {
      const why = may(action.needs) ? action.off || (isUnderway() ? "what was asked for last is not done yet" : "") : `needs the role ${action.needs}: swarm-manager dashboard --role ${action.needs}`;
      return html`<button key=${action.name} type="button" class=${action.danger ? "danger" : ""} disabled=${Boolean(why)} data-key=${action.key} title=${why || undefined} onClick=${action.run}>${action.name}</button>`;
    })}
  </div>`;
}
