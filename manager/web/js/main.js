// The dashboard: finds its key, draws the bar and the screen that the address means.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Refused, get } from "./api.js";
import { begin as beginFeed, link } from "./feed.js";
import { timeOfDay } from "./format.js";
import { html } from "./html.js";
import { listen as listenToKeys } from "./keys.js";
import { me } from "./me.js";
import { Bar } from "./parts/bar.js";
import { Dialogs } from "./parts/dialog.js";
import { listen, place } from "./router.js";
import { begin as beginSession, enter, forget, takesTokens } from "./session.js";
import { applyTheme } from "./theme.js";
import { loadViews, screenOf } from "./screens.js";

const AGAIN_MILLISECONDS = 2000;
// After so long the other screens' code is loaded, whether the browser is idle or not.
const IDLE_MILLISECONDS = 10_000;

function App() {
  const { path } = place.value;
  const { title, view, params, bare } = screenOf(path);
  const lost = link.value.state === "lost";
  useEffect(() => {
    document.title = title ? `${title} · swarm` : "swarm";
  }, [title]);
  if (link.value.state === "refused" || !me.value.Name) return html`<${Keyless} why=${link.value.why} />`;
  return html`<div class=${lost ? "app is-lost" : "app"}>
    ${bare ? null : html`<a class="skip" href="#screen" onClick=${skip}>Skip to the content</a><${Bar} path=${path} />`}
    <${LinkNotice} />
    <main id="screen" tabindex="-1" class=${bare ? "bare" : ""}><${view} key=${path} ...${params} /></main>
    <${Dialogs} />
  </div>`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("screen")?.focus();
}

function LinkNotice() {
  const { state, at, why } = link.value;
  if (state !== "lost") return null;
  const since = at ? `What you see is as of ${timeOfDay(at)}` : "Nothing is known yet";
  return html`<p class="link-notice" role="status" title=${why}>The manager does not answer. ${since}; trying again.</p>`;
}

/** @param {{why: string}} props */
function Keyless({ why }) {
  if (takesTokens()) return html`<${Entrance} why=${why} />`;
  return html`<div class="notice" role="alert">
    <h1>This page has no key</h1>
    <p>${why || "The dashboard is opened by the address that a command prints. It is good once, and ends with the command."}</p>
    <pre>swarm-manager dashboard</pre>
    <p>With <code>--role operator</code> it can also change things.</p>
  </div>`;
}

/** Where the shared dashboard asks for a token. @param {{why: string}} props */
function Entrance({ why }) {
  const [problem, setProblem] = useState(why);
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const given = new FormData(/** @type {HTMLFormElement} */ (event.target)).get("token");
    setProblem(enter(String(given).trim()));
  };
  return html`<main class="notice"><h1>This dashboard asks for a token</h1>
    <form onSubmit=${submit} class="confirmation">
      <label class="field">Token<input type="password" name="token" required autocomplete="off" size="40" /></label>
      <button type="submit" class="primary">Open</button>
    </form>
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    <p>An administrator makes one:</p>
    <pre>swarm-manager dashboard token create NAME</pre>
  </main>`;
}

/**
 * Find out who looks; while the manager does not answer, or cannot serve, again and again.
 * @param {HTMLElement} root @returns {Promise<string>} why not
 */
async function whoLooks(root) {
  for (;;) {
    try {
      me.value = await get("/swarm/caller");
      return "";
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof Refused && error.isKeyless) forget();
      if (error instanceof Refused && error.status < 500) return message;
      const notice = document.createElement("p");
      notice.className = "notice";
      notice.textContent = `${message} Trying again …`;
      root.replaceChildren(notice);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
    }
  }
}

async function main() {
  applyTheme();
  listen();
  const root = /** @type {HTMLElement} */ (document.getElementById("app"));
  const refusal = await beginSession();
  const why = refusal || (await whoLooks(root));
  root.replaceChildren();
  if (why) {
    link.value = { state: "refused", at: 0, why };
  } else {
    beginFeed();
    listenToKeys();
    requestIdleCallback(loadViews, { timeout: IDLE_MILLISECONDS });
  }
  render(html`<${App} />`, root);
}

main();
