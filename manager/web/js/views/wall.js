// 12 Wall: the overview for a screen on a wall, large, without anything to press; red when nothing is heard.
import { useEffect, useState } from "preact/hooks";
import { link } from "../feed.js";
import { ago, byName, now } from "../format.js";
import { html } from "../html.js";
import { useLive } from "../model.js";
import { Missing } from "../parts/state.js";
import { Headline } from "./overview.js";
import { NodeTile } from "../parts/tile.js";

const SILENT_SECONDS = 10;
const SHOWN = 5;
const SIZE = 20;

export function WallView() {
  const overview = useLive("overview");
  const nodes = useLive("nodes");
  const [began] = useState(Date.now() / 1000);
  useEffect(() => {
    document.body.classList.add("wall-body");
    return () => document.body.classList.remove("wall-body");
  }, []);
  const silence = now.value - Math.max(link.value.at, began);
  if (!overview.value || !nodes.value) return html`<${Missing} error=${overview.error ?? nodes.error} />`;
  const how = { zoom: "boxes", colour: "state", filter: "", size: SIZE };
  const tiles = [...nodes.value.rows.values()].sort((a, b) => byName(a.Name, b.Name));
  return html`<div class=${silence > SILENT_SECONDS ? "wall wall-silent" : "wall"}>
    ${silence > SILENT_SECONDS && html`<p class="wall-silence" role="alert">Nothing is heard from the manager for ${Math.round(silence)} s</p>`}
    <${Headline} overview=${overview.value} />
    <ul class="wall-troubles">
      ${(overview.value.Trouble ?? []).slice(0, SHOWN).map((/** @type {any} */ trouble) => html`<li key=${trouble.Kind + trouble.Object.ID}><span aria-hidden="true">!</span> ${trouble.Text} <span class="muted number">${trouble.Since ? ago(trouble.Since) : ""}</span></li>`)}
    </ul>
    <ul class="tiles">${tiles.map((tile) => html`<${NodeTile} key=${tile.ID} tile=${tile} how=${how} />`)}</ul>
  </div>`;
}
