// What a node or a service uses, over the last hour. Asking is what has a service's tasks measured.
import { useEffect } from "preact/hooks";
import { get } from "../api.js";
import { ago, bytes, clock, cores } from "../format.js";
import { html } from "../html.js";
import { Sparkline } from "./sparkline.js";
import { useAnswer } from "./state.js";
import { Section } from "./table.js";

const AGAIN_MILLISECONDS = 10_000;

/**
 * Ask now, and every ten seconds while somebody looks.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask @param {unknown[]} inputs
 */
export function usePolled(ask, inputs) {
  const { value, error, again } = useAnswer(ask, inputs);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || again(), AGAIN_MILLISECONDS);
    return () => clearInterval(timer);
  }, inputs);
  return { value, error };
}

/** @param {string} path */
function useUsage(path) {
  return usePolled((signal) => get(path, undefined, signal), [path]).value;
}

const share = (/** @type {number} */ value) => `${Math.round(value * 100)} %`;
const rate = (/** @type {number} */ value) => `${bytes(value)}/s`;

/** @param {Record<string, (number | null)[]> | undefined} columns */
function isKnown(columns) {
  return Object.values(columns ?? {}).some((values) => values.some((value) => value !== null));
}

const HOUR = 3600;
const DAY = 24 * HOUR;
const MOST_DAYS = 30;
// Of less than this many seconds nothing is foretold.
const LEAST_SECONDS = 600;

/** @param {number | undefined} used @param {number | undefined} whole */
function part(used, whole) {
  return used !== undefined && whole ? `of ${bytes(whole)}, ${share(used / whole)}` : "";
}

/** When a disk that goes on filling as in the last hour is full. @param {(number | null)[] | undefined} values @param {number} step seconds @param {number} whole bytes */
function fullIn(values, step, whole) {
  const known = [...(values ?? []).entries()].filter(([, value]) => value !== null);
  if (known.length < 2 || !whole) return "";
  const [[first, before], [last, after]] = /** @type {[number, number][]} */ ([known[0], known[known.length - 1]]);
  const seconds = (last - first) * step;
  const left = ((whole - after) * seconds) / (after - before);
  if (seconds < LEAST_SECONDS || after <= before || left > MOST_DAYS * DAY) return "";
  return left > 2 * DAY ? `, full in ${Math.round(left / DAY)} days` : `, full in ${Math.max(1, Math.round(left / HOUR))} h`;
}

/** When a node was last heard, in words. @param {any} value @param {boolean} isDown */
function seen(value, isDown) {
  if (!value.HeardAt) return isDown ? "Not heard since this manager began to lead." : "";
  if (isDown) return `Last seen ${clock(value.HeardAt, { withSeconds: true })}, ${ago(value.HeardAt)} ago.`;
  return `Last seen ${Math.max(0, value.At - value.HeardAt).toFixed(1)} s ago.`;
}

/** @param {{id: string, isDown: boolean}} props */
export function NodeUsage({ id, isDown }) {
  const value = useUsage(`/nodes/${id}/usage`);
  if (!value) return null;
  const said = seen(value, isDown);
  return html`${said && html`<p class="muted number" data-seen>${said}</p>`}<${NodeHour} value=${value} />`;
}

/** @param {{value: any}} props */
function NodeHour({ value }) {
  if (!isKnown(value.Columns)) return null;
  const columns = value.Columns;
  const now = value.Now ?? {};
  return html`<${Section} title="Last hour">
    <div class="sparks">
      <${Sparkline} name="CPU" values=${columns.CPU} say=${share} most=${1} />
      <${Sparkline} name="Memory" values=${columns.Memory} say=${bytes} most=${now.Memory ?? 0} note=${part(now.MemoryUsed, now.Memory)} />
      <${Sparkline} name="Disk of the engine" values=${columns.Disk} say=${bytes} most=${now.Disk ?? 0} note=${part(now.DiskUsed, now.Disk) + fullIn(columns.Disk, value.Step, now.Disk ?? 0)} />
      <${Sparkline} name="Received" values=${columns.Received} say=${rate} />
      <${Sparkline} name="Sent" values=${columns.Sent} say=${rate} />
      <${Sparkline} name="Waiting for CPU" values=${columns.PressureCPU} say=${share} most=${1} />
      <${Sparkline} name="Waiting for memory" values=${columns.PressureMemory} say=${share} most=${1} />
      <${Sparkline} name="Waiting for disks" values=${columns.PressureIO} say=${share} most=${1} />
    </div>
  <//>`;
}

/** @param {{id: string}} props */
export function ServiceUsage({ id }) {
  const value = useUsage(`/services/${id}/usage`);
  const failures = (value?.Failures ?? []).some((/** @type {number} */ count) => count > 0) ? value.Failures : undefined;
  if (!value || (!isKnown(value.Columns) && !failures)) return null;
  const limit = (/** @type {number | undefined} */ one) => (one ?? 0) * (value.Tasks?.length ?? 0);
  return html`<${Section} title="Last hour, all tasks together">
    <div class="sparks">
      <${Sparkline} name="CPU" values=${value.Columns.CPU} say=${(/** @type {number} */ used) => `${cores(used)} cores`} limit=${limit(value.CPULimit)} />
      <${Sparkline} name="Memory" values=${value.Columns.Memory} say=${bytes} limit=${limit(value.MemoryLimit)} />
      <${Sparkline} name="Failures" values=${failures} say=${(/** @type {number} */ count) => `${count} a minute`} />
    </div>
  <//>`;
}
