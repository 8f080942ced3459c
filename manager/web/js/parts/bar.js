// The bar on top: where one can go, search, who looks, light and dark.
import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { showsHelp } from "../keys.js";
import { may, me } from "../me.js";
import { href } from "../router.js";
import { isDark, switchTheme, theme } from "../theme.js";
import { Search } from "./search.js";

const PLACES = /** @type {[string, string][]} */ ([
  ["/", "Overview"],
  ["/services", "Services"],
  ["/nodes", "Nodes"],
  ["/stacks", "Stacks"],
  ["/networks", "Networks"],
  ["/secrets", "Secrets"],
  ["/timeline", "Timeline"],
]);

const ADMINS = /** @type {[string, string][]} */ ([["/access", "Access"]]);

/** @param {{path: string}} props */
export function Bar({ path }) {
  theme.value; // drawn anew when it changes
  const screens = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => showCurrent(screens.current), [path]);
  return html`<header class="bar">
    <a class="brand" href=${href("/")} aria-label="swarm, overview"><${Logo} /><span>swarm</span></a>
    <nav aria-label="Screens" ref=${screens}>
      ${[...PLACES, ...(may("admin") ? ADMINS : [])].map(([to, name]) => html`<a key=${to} href=${href(to)} aria-current=${isAt(path, to) ? "page" : undefined}>${name}</a>`)}
    </nav>
    <${Search} />
    <div class="bar-end">
      <span class="role" title="what this dashboard may do">${me.value.Role}</span>
      <button type="button" class="quiet icon" onClick=${switchTheme} aria-label=${isDark() ? "Light colours" : "Dark colours"} title=${isDark() ? "Light colours" : "Dark colours"}>${isDark() ? "☀" : "☾"}</button>
      <button type="button" class="quiet icon" onClick=${() => (showsHelp.value = true)} aria-label="Keyboard" title="Keyboard (?)">?</button>
    </div>
  </header>`;
}

/** Where there is not room for all, the one that is open is in sight. @param {HTMLElement | null} screens */
function showCurrent(screens) {
  const current = /** @type {HTMLElement | null} */ (screens?.querySelector("[aria-current]") ?? null);
  if (screens && current) screens.scrollLeft = current.offsetLeft - screens.offsetLeft - (screens.clientWidth - current.clientWidth) / 2;
}

/** @param {string} path @param {string} to */
function isAt(path, to) {
  if (to === "/") return path === "/";
  if (to === "/secrets" && path.startsWith("/configs/")) return true;
  return path === to || path.startsWith(`${to}/`);
}

function Logo() {
  return html`<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    <g fill="currentColor"><rect x="1" y="1" width="6" height="6" rx="1.5" /><rect x="9" y="1" width="6" height="6" rx="1.5" /><rect x="1" y="9" width="6" height="6" rx="1.5" /></g>
    <rect x="9.75" y="9.75" width="4.5" height="4.5" rx="1" fill="none" stroke="currentColor" stroke-width="1.5" />
  </svg>`;
}
