// A tile: a node or a service with its tasks, as numbers, as boxes or as names.
import { useEffect, useRef } from "preact/hooks";
import { boxesOf, nameOf, names, refresh } from "../boxes.js";
import { boxAt, colourOf, draw, heightOf } from "../draw/boxes.js";
import { pageColours } from "../draw/colours.js";
import { ago, bytes, cores, hostOf } from "../format.js";
import { html } from "../html.js";
import { href, go, objectHref } from "../router.js";
import { isDark, theme } from "../theme.js";
import { Away, Badge, Counts, MARKS, Mark, inWords } from "./marks.js";
import { useInView, useRoom } from "./seen.js";

/** @typedef {{zoom: string, colour: string, filter: string, size: number, hosts: boolean}} How */

/** @param {{tile: any, how: How}} props */
export function NodeTile({ tile, how }) {
  const isDown = tile.State !== "ready";
  return html`<${Tile} boxKey=${`node:${tile.ID}`} row=${tile} how=${how} link=${objectHref("node", tile.Name)} name=${tile.Name} shown=${how.hosts ? hostOf(tile.Name) : tile.Name} isBad=${tile.State === "down"}
    badges=${html`
      ${isDown && html`<${Badge} word=${tile.State} /> <span class="muted number">${tile.Since ? ago(tile.Since) : ""}</span>`}
      <${Away} tile=${tile} />
      ${tile.Manager && html`<${Badge} word="manager" tone="plain" />`}`}
    none=${tile.Agent === false ? "runs no tasks" : "no tasks"}
    foot=${tile.Agent === false || isDown ? null : html`<${Load} tile=${tile} />`} />`;
}

/** @param {{row: any, how: How}} props */
export function ServiceTile({ row, how }) {
  const isJob = row.Mode?.endsWith("job");
  return html`<${Tile} boxKey=${`service:${row.ID}`} row=${row} how=${how} link=${objectHref("service", row.Name)} name=${row.Name}
    isBad=${["down", "failed"].includes(row.State)}
    badges=${html`<span class="number">${isJob ? (row.Completed ?? 0) : (row.Running ?? 0)}/${row.Desired ?? 0}</span>
      ${row.State !== "well" && html`<${Badge} word=${row.State} />`}`}
    foot=${html`<span class="muted ellipsis mono">${row.Image}</span>`} />`;
}

/** Tasks that have no node. @param {{count: number, how: How}} props */
export function WaitingTile({ count, how }) {
  return html`<${Tile} boxKey="waiting" row=${count} how=${how} link=${href("/services")} name="without a node" isBad=${false}
    badges=${html`<${Badge} word=${`${count} waiting`} tone="busy" />`} counts=${{ waiting: count }} foot=${null} />`;
}

/**
 * What was never in the window has its head alone.
 * @param {{boxKey: string, row: any, how: How, link: string, name: string, isBad: boolean, badges: unknown, foot: unknown, shown?: string, none?: string, counts?: Record<string, number>}} props
 */
function Tile({ boxKey, row, how, link, name, shown = name, none = "no tasks", isBad, badges, foot, counts }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const inView = useInView(element);
  const isSeen = useRef(false);
  isSeen.current ||= inView;
  const wantsBoxes = how.zoom !== "nodes";
  useEffect(() => {
    if (inView && wantsBoxes) refresh(boxKey);
  }, [inView, wantsBoxes, row]);
  const tasks = counts ?? row.Tasks;
  return html`<li ref=${element} class=${isBad ? "tile tile-bad" : "tile"} data-row data-name=${name}>
    <header><a href=${link} class="tile-name" title=${shown === name ? undefined : name}>${shown}</a><span class="tile-badges">${row.Failures ? html`<span class="bad number" title="tasks that failed in the last hour">✕${row.Failures} in 1 h</span>` : null}${badges}</span></header>
    ${isSeen.current && html`<div class="tile-body">
      ${how.zoom === "nodes" && html`<${Counts} counts=${tasks} />`}
      ${how.zoom === "boxes" && html`<${Boxes} boxKey=${boxKey} how=${how} inView=${inView} said=${inWords(tasks)} none=${none} />`}
      ${how.zoom === "names" && html`<${Names} boxKey=${boxKey} how=${how} />`}
    </div>`}
    ${isSeen.current && foot && html`<footer>${foot}</footer>`}
  </li>`;
}

/** @param {{boxKey: string, how: How, inView: boolean, said: string, none: string}} props */
function Boxes({ boxKey, how, inView, said, none }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const width = useRoom(canvas);
  const boxes = boxesOf(boxKey).value;
  const known = names.value;
  const chosenTheme = theme.value;
  useEffect(() => {
    if (canvas.current && boxes && width && inView) {
      draw(canvas.current, boxes, { width, size: how.size }, { colour: colouring(how, known), surface: pageColours()["--surface"] });
    }
  }, [boxes, width, inView, how.colour, how.filter, how.size, known, chosenTheme]);
  const at = (/** @type {MouseEvent} */ event) => boxes?.[boxAt(event.offsetX, event.offsetY, boxes.length, { width, size: how.size })];
  const hover = (/** @type {MouseEvent} */ event) => {
    const box = at(event);
    if (!canvas.current) return;
    canvas.current.title = box ? `${nameOf(box)}: ${MARKS[box.mark]?.word ?? box.mark}${box.error ? `\n${box.error}` : ""}` : "";
    canvas.current.style.cursor = box ? "pointer" : "default";
  };
  const open = (/** @type {MouseEvent} */ event) => {
    const box = at(event);
    if (box) go(`/tasks/${box.id}`);
  };
  return html`<div class="boxes">
    <canvas ref=${canvas} role="img" aria-label=${said} hidden=${!boxes?.length} onMouseMove=${hover} onClick=${open} style=${{ width: `${width}px`, height: `${heightOf(boxes?.length ?? 0, { width, size: how.size })}px` }}></canvas>
    ${boxes && !boxes.length && html`<span class="muted">${none}</span>`}
  </div>`;
}

/** @type {Record<string, string>} */
const FILLS = { running: "--good-fill", starting: "--busy-fill", waiting: "--idle-fill", failed: "--bad-fill", lost: "--bad-fill", stopping: "--idle-fill", completed: "--done-fill", stopped: "--idle-fill" };

/** @param {How} how @param {Map<string, string>} known */
function colouring(how, known) {
  const [colours, dark] = [pageColours(), isDark()];
  const wanted = how.filter.toLowerCase();
  const some = wanted && [...known.values()].some((name) => name.toLowerCase().includes(wanted));
  return (/** @type {import("../draw/boxes.js").Box} */ box) => {
    if (some && !known.get(box.service)?.toLowerCase().includes(wanted)) return colours["--line"];
    return how.colour === "service" && box.mark !== "failed" && box.mark !== "lost" ? colourOf(box.service, dark) : colours[FILLS[box.mark]];
  };
}

/** @param {{boxKey: string, how: How}} props */
function Names({ boxKey, how }) {
  const wanted = how.filter.toLowerCase();
  const boxes = boxesOf(boxKey).value ?? [];
  const shown = boxes.filter((box) => !wanted || nameOf(box).toLowerCase().includes(wanted));
  return html`<ul class="names">
    ${shown.map((box) => html`<li key=${box.id}><${Mark} mark=${box.mark} title=${box.error || undefined} /> <a href=${href(`/tasks/${box.id}`)}>${nameOf(box)}</a></li>`)}
    ${!shown.length && html`<li class="muted">no tasks</li>`}
  </ul>`;
}

/** What its host uses; of one that is not measured, what its tasks reserve. @param {{tile: any}} props */
function Load({ tile }) {
  const reserved = `${cores(tile.ReservedCores ?? 0)} of ${cores(tile.Cores ?? 0)} cores`;
  const reservedMemory = `${bytes(tile.ReservedMemory ?? 0)} of ${bytes(tile.Memory ?? 0)}`;
  if (tile.CPU === undefined) return html`<span class="muted" title=${`reserved: ${reserved}, ${reservedMemory} memory`}>reserved ${reserved}</span>`;
  return html`<span class="meters">
    <${Meter} part=${tile.CPU} whole=${1} text=${`${Math.round(tile.CPU * 100)} % of its cores busy; ${reserved} reserved`} short="cpu" />
    <${Meter} part=${tile.MemoryUsed ?? 0} whole=${tile.Memory ?? 0} text=${`${bytes(tile.MemoryUsed ?? 0)} of ${bytes(tile.Memory ?? 0)} memory used; ${bytes(tile.ReservedMemory ?? 0)} reserved`} short="mem" />
  </span>`;
}

/** How much of something is taken. @param {{part: number, whole: number, text: string, short: string}} props */
export function Meter({ part, whole, text, short }) {
  const share = whole ? Math.min(1, part / whole) : 0;
  return html`<span class="meter" title=${text}>
    <span class="meter-name">${short}</span>
    <span class="meter-bar" role="img" aria-label=${text}><span class=${share > 0.9 ? "full" : ""} style=${{ width: `${share * 100}%` }}></span></span>
    <span class="number">${Math.round(share * 100)} %</span>
  </span>`;
}
