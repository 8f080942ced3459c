// 9 Secrets and configs: who uses them, and since when they are what they are. Never what is in them.
import { get } from "../api.js";
import { byName, clock, instant } from "../format.js";
import { html } from "../html.js";
import { removal } from "../removal.js";
import { objectHref } from "../router.js";
import { Buttons } from "../parts/buttons.js";
import { Command, shell } from "../parts/command.js";
import { Missing, useAnswer } from "../parts/state.js";
import { Facts, Section, Table } from "../parts/table.js";
import { Happened } from "./timeline.js";

/** The services that use each file, by its id. @param {any[]} services @param {"Secret" | "Config"} kind */
function users(services, kind) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const service of services) {
    for (const each of service.Spec.TaskTemplate?.ContainerSpec?.[`${kind}s`] ?? []) {
      const id = each[`${kind}ID`];
      found.set(id, [...(found.get(id) ?? []), service.Spec.Name]);
    }
  }
  return found;
}

export function FilesView() {
  const { value, error } = useAnswer(async (signal) => {
    const [secrets, configs, services] = await Promise.all(["/secrets", "/configs", "/services"].map((path) => get(path, undefined, signal)));
    return { secrets, configs, services };
  }, [], () => ["services", "timeline"]);
  if (!value) return html`<${Missing} error=${error} />`;
  return html`<header class="screen-head"><h1>Secrets and configs</h1><p class="muted">What is in them is not shown here.</p></header>
    <${Section} title="Secrets"><${Files} kind="secret" files=${value.secrets} users=${users(value.services, "Secret")} /><//>
    <${Section} title="Configs"><${Files} kind="config" files=${value.configs} users=${users(value.services, "Config")} /><//>`;
}

/** @param {{kind: string, files: any[], users: Map<string, string[]>}} props */
function Files({ kind, files, users: by }) {
  const columns = [
    { name: "name", title: "Name", cell: (/** @type {any} */ file) => html`<a href=${objectHref(kind, file.Spec.Name)}>${file.Spec.Name}</a>` },
    { name: "used", title: "Used by", class: "says", cell: (/** @type {any} */ file) => by.get(file.ID)?.map((name) => html`<a key=${name} href=${objectHref("service", name)}>${name}</a> `) ?? "no service" },
    { name: "created", title: "Created", class: "number", cell: (/** @type {any} */ file) => clock(instant(file.CreatedAt)) },
    { name: "updated", title: "Changed", class: "number", cell: (/** @type {any} */ file) => clock(instant(file.UpdatedAt)) },
  ];
  const rows = files.sort((a, b) => byName(a.Spec.Name, b.Spec.Name));
  return html`<${Table} label=${`${kind}s`} columns=${columns} rows=${rows} id=${(/** @type {any} */ file) => file.ID} empty=${`No ${kind} yet.`} />`;
}

/** @param {{reference: string, kind: "secret" | "config"}} props */
export function FileView({ reference, kind }) {
  const { value, error } = useAnswer(async (signal) => {
    const [file, services] = await Promise.all([get(`/${kind}s/${encodeURIComponent(reference)}`, undefined, signal), get("/services", undefined, signal)]);
    return { file, services };
  }, [reference, kind], () => ["services", "timeline"]);
  if (!value) return html`<${Missing} error=${error} what=${`${kind} of this name`} />`;
  const { file, services } = value;
  const by = users(services, kind === "secret" ? "Secret" : "Config").get(file.ID) ?? [];
  const labels = Object.entries(file.Spec.Labels ?? {}).map(([name, text]) => `${name}=${text}`);
  return html`<header class="screen-head"><h1>${file.Spec.Name}</h1><p class="muted">${kind}</p>
      <${Buttons} actions=${[removal(kind, file.ID, file.Spec.Name, by)]} /></header>
    <${Facts} pairs=${[
      ["Used by", by.length ? by.map((name) => html`<a key=${name} href=${objectHref("service", name)}>${name}</a> `) : "no service"],
      ["Labels", labels.join(", ")],
      ["Created", clock(instant(file.CreatedAt))],
      ["Changed", clock(instant(file.UpdatedAt))],
      ["ID", html`<code>${file.ID}</code>`],
    ]} />
    <p class="spaced"><${Command} text=${shell("swarm-manager", kind, "inspect", file.Spec.Name)} /></p>
    <h2>Timeline</h2><${Happened} object=${file.ID} />`;
}
