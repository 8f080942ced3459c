// Two changes of one thing, side by side: somebody else's, which was done, and the one from here, which was not.
import { html } from "../html.js";

/** @typedef {import("./difference.js").Difference} Difference */

/** Somebody was faster. */
export class Conflict extends Error {
  /** @param {string} name @param {Difference[]} theirs @param {Difference[]} mine */
  constructor(name, theirs, mine) {
    super(`Somebody has changed ${name} meanwhile, so yours was not done. Close this and look again.`);
    this.theirs = new Map(theirs.map((each) => [each.path, each]));
    this.mine = new Map(mine.map((each) => [each.path, each]));
  }
}

/** What went wrong with something that was asked for. @param {{error: Error}} props */
export function Problem({ error }) {
  if (!(error instanceof Conflict)) return html`<p class="bad" role="alert">${error.message}</p>`;
  const paths = [...new Set([...error.theirs.keys(), ...error.mine.keys()])].sort();
  return html`<div role="alert"><p class="bad">${error.message}</p>
    <div class="scrolls"><table class="conflict"><thead><tr><th scope="col">What</th><th scope="col">Was</th><th scope="col">Theirs</th><th scope="col">Yours</th></tr></thead>
      <tbody>${paths.map((path) => {
        const [theirs, mine] = [error.theirs.get(path), error.mine.get(path)];
        return html`<tr key=${path}><th scope="row">${path.split(".").at(-1)}</th><td>${(theirs ?? mine)?.from}</td><td>${theirs?.to ?? "as it was"}</td><td>${mine?.to ?? "as it was"}</td></tr>`;
      })}</tbody></table></div></div>`;
}
