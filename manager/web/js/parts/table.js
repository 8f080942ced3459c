// Tables of many rows: what is far outside of the window is not drawn, and rows are walked with j, k and Enter.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";

const ROW = 33;
const VIRTUAL_FROM = 200;
const BEYOND = 30;

/**
 * @typedef {{name: string, title: string, cell: (row: any) => unknown, class?: string}} Column
 * @param {{columns: Column[], rows: any[], id: (row: any) => string, label: string, empty?: unknown}} props
 */
export function Table({ columns, rows, id, label, empty }) {
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  const [range, setRange] = useState({ from: 0, to: VIRTUAL_FROM });
  const virtual = rows.length > VIRTUAL_FROM;
  useEffect(() => {
    if (!virtual) return undefined;
    const look = () => {
      const top = body.current?.getBoundingClientRect().top ?? 0;
      const from = Math.max(0, Math.floor(-top / ROW) - BEYOND);
      setRange({ from, to: from + Math.ceil(innerHeight / ROW) + 2 * BEYOND });
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [virtual, rows.length]);
  if (!rows.length) return html`<p class="empty muted">${empty ?? "None."}</p>`;
  const { from, to } = virtual ? range : { from: 0, to: rows.length };
  const shown = rows.slice(from, to);
  return html`<div class="table-frame" tabindex="0" role="group" aria-label=${label}>
    <table aria-label=${label} aria-rowcount=${rows.length + 1}>
      <thead>
        <tr>
          ${columns.map((column) => html`<th key=${column.name} scope="col" class=${column.class}>${column.title}</th>`)}
        </tr>
      </thead>
      <tbody ref=${body}>
        ${from > 0 && html`<${Filler} rows=${from} columns=${columns.length} />`}
        ${shown.map(
          (row, n) => html`<tr key=${id(row)} data-row aria-rowindex=${from + n + 2}>
            ${columns.map((column) => html`<td key=${column.name} class=${column.class}>${column.cell(row)}</td>`)}
          </tr>`,
        )}
        ${to < rows.length && html`<${Filler} rows=${rows.length - to} columns=${columns.length} />`}
      </tbody>
    </table>
  </div>`;
}

/** The room of rows that are not drawn. @param {{rows: number, columns: number}} props */
function Filler({ rows, columns }) {
  return html`<tr aria-hidden="true"><td colspan=${columns} class="filler" style=${{ height: `${rows * ROW}px` }}></td></tr>`;
}

/** What somebody says, in three lines at most; all of it when it is pointed at. @param {string | undefined} text */
export function said(text) {
  return text ? html`<div class="said" title=${text}>${text}</div>` : "";
}

/** Pairs of a name and what it is. @param {{pairs: [string, unknown][]}} props */
export function Facts({ pairs }) {
  const said = pairs.filter(([, value]) => value !== "" && value !== undefined && value !== null && value !== false);
  return html`<dl class="facts">${said.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

/** A part of a screen under a heading. @param {{title: string, aside?: unknown, children?: unknown}} props */
export function Section({ title, aside, children }) {
  return html`<section aria-label=${title}>
    <header class="section-head"><h2>${title}</h2>${aside}</header>
    ${children}
  </section>`;
}
