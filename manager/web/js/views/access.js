// 11 Access (admins): whose certificates and tokens there are, and who changed what.
import { get, send } from "../api.js";
import { clock, instant } from "../format.js";
import { html } from "../html.js";
import { may } from "../me.js";
import { place } from "../router.js";
import { Command, shell } from "../parts/command.js";
import { ask } from "../parts/dialog.js";
import { Badge } from "../parts/marks.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Section, Table } from "../parts/table.js";
import { Choice } from "../parts/topology.js";

const LINES = "200";

export function AccessView() {
  const { value, error } = useAnswer(async (signal) => {
    const [certificates, tokens] = await Promise.all([
      get("/swarm/client-certificates", undefined, signal),
      get("/swarm/dashboard-tokens", undefined, signal),
    ]);
    return { certificates, tokens };
  }, [], () => ["timeline"]);
  if (!value) return html`<${Missing} error=${error} />`;
  return html`<header class="screen-head"><h1>Access</h1></header>
    <${Section} title="Tokens of the shared dashboard"><${Credentials} kind=${TOKENS} all=${value.tokens} />
      <p class="spaced"><${Command} text="swarm-manager dashboard token create NAME --role viewer" /></p><//>
    <${Section} title="Certificates of clients"><${Credentials} kind=${CERTIFICATES} all=${value.certificates} />
      <p class="spaced"><${Command} text="swarm-manager client-cert NAME --role viewer" /></p><//>
    <${Audit} />`;
}

/** @param {any} each */
function stateOf(each) {
  if (instant(each.RevokedAt)) return "revoked";
  return instant(each.NotAfter) * 1000 < Date.now() ? "expired" : "valid";
}

/** @typedef {{noun: string, label: string, path: string, command: string[], empty: string}} Kind */
/** @type {Kind} */
const TOKENS = { noun: "token", label: "Tokens", path: "/swarm/dashboard-tokens", command: ["dashboard", "token", "rm"], empty: "Nobody has a token: see --dashboard-host of swarm-manager start." };
/** @type {Kind} */
const CERTIFICATES = { noun: "certificate", label: "Certificates", path: "/swarm/client-certificates", command: ["client-cert", "revoke"], empty: "Nobody has a certificate: the API is used over its unix socket." };

/** @param {{kind: Kind, all: any[]}} props */
function Credentials({ kind, all }) {
  const revoke = (/** @type {any} */ each) =>
    ask({
      title: `Revoke the ${kind.noun} of ${each.Name}`,
      text: "Its connections end at once, and it is worth nothing from then on.",
      command: () => shell("swarm-manager", ...kind.command, each.ID),
      name: each.Name,
      verb: "Revoke",
      act: () => send("DELETE", `${kind.path}/${each.ID}`),
    });
  const columns = [
    { name: "name", title: "Name", cell: (/** @type {any} */ each) => each.Name },
    { name: "role", title: "Role", cell: (/** @type {any} */ each) => html`${each.Role}${each.Forbidden?.length ? html` <span class="muted">not ${each.Forbidden.join(", ")}</span>` : null}` },
    { name: "state", title: "State", cell: (/** @type {any} */ each) => html`<${Badge} word=${stateOf(each)} tone=${stateOf(each) === "valid" ? "good" : "idle"} />` },
    { name: "until", title: "Until", class: "number", cell: (/** @type {any} */ each) => clock(instant(each.NotAfter)) },
    { name: "by", title: "Made by", class: "says", cell: (/** @type {any} */ each) => each.IssuedBy },
    { name: "revoke", title: "Revoke", cell: (/** @type {any} */ each) => stateOf(each) === "valid" && html`<button type="button" class="danger" disabled=${!may("admin")} aria-label=${`Revoke the ${kind.noun} of ${each.Name}`} onClick=${() => revoke(each)}>Revoke</button>` },
  ];
  return html`<${Table} label=${kind.label} columns=${columns} rows=${all} id=${(/** @type {any} */ each) => each.ID} empty=${kind.empty} />`;
}

/** What was changed or refused; what only was read, if that is asked for: this page alone reads with every change. */
function Audit() {
  const shown = place.value.query.get("audit") ?? "changes";
  const query = { limit: LINES, ...(shown === "changes" && { changes: "1" }) };
  const { value, error } = useAnswer((signal) => get("/swarm/audit", query, signal), [shown], () => ["timeline"]);
  const choice = html`<${Choice} name="audit" label="Show" value=${shown} options=${["changes", "all"]} />`;
  return html`<${Section} title="Audit log of this manager" aside=${choice}>
    ${value ? html`<${Entries} entries=${value.Entries ?? []} />` : html`<${Missing} error=${error} />`}<//>`;
}

/** @param {{entries: any[]}} props */
function Entries({ entries }) {
  const columns = [
    { name: "time", title: "Time", class: "number", cell: (/** @type {any} */ entry) => clock(instant(entry.time), { withSeconds: true }) },
    { name: "who", title: "Who", cell: (/** @type {any} */ entry) => html`${entry.name} <span class="muted">${entry.role} ${entry.from}</span>` },
    { name: "what", title: "What", class: "mono wide", cell: (/** @type {any} */ entry) => `${entry.method} ${entry.path}` },
    { name: "object", title: "Object", class: "mono wide", cell: (/** @type {any} */ entry) => html`<span title=${entry.object}>${entry.object_name || entry.object}</span>` },
    { name: "status", title: "Status", class: "number right", cell: (/** @type {any} */ entry) => html`<span class=${entry.status >= 400 ? "bad" : ""}>${entry.status}</span>` },
  ];
  const rows = entries.map((entry, n) => ({ ...entry, n }));
  return html`<${Table} label="Audit log" columns=${columns} rows=${rows} id=${(/** @type {any} */ entry) => entry.n} empty="Nothing has been changed yet." />`;
}
