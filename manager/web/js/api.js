// Requests to the manager's API, as any other client makes them.
import { authorization } from "./session.js";

/** The manager refused: `status` is its answer's, `message` its own words, `said` all that it says. */
export class Refused extends Error {
  /** @param {number} status @param {{message: string, [more: string]: any}} said */
  constructor(status, said) {
    super(said.message);
    this.status = status;
    this.said = said;
  }

  /** Whether the gate knows no such key: it has ended, or is another. */
  get isKeyless() {
    return this.status === 401;
  }
}

/** Nothing answers: the gate or the manager is gone, or the way there. */
export class Lost extends Error {}

/** @typedef {{query?: Record<string, string>, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} Options */

/**
 * Make a request, and return its answer when its head is there.
 * @param {string} method @param {string} path @param {Options} [options]
 */
export async function open(method, path, { query, body, headers, signal } = {}) {
  const target = query ? `${path}?${new URLSearchParams(query)}` : path;
  /** @type {Record<string, string>} */
  const sent = { ...authorization(), ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(target, { method, headers: sent, body: text, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Lost(error instanceof Error ? error.message : String(error));
  }
  if (answer.ok) return answer;
  const said = await reason(answer);
  if (answer.status === 502 && said.message.includes("Cannot connect to the manager")) throw new Lost(said.message);
  throw new Refused(answer.status, said);
}

/** @param {Response} answer */
async function reason(answer) {
  const text = await answer.text();
  try {
    const said = JSON.parse(text);
    return { ...said, message: String(said.message) };
  } catch {
    return { message: text || `${answer.status} ${answer.statusText}` };
  }
}

/** @param {string} path @param {Record<string, string>} [query] @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, query, signal) {
  return (await open("GET", path, { query, signal })).json();
}

/** @param {string} method @param {string} path @param {Options} [options] @returns {Promise<any>} */
export async function send(method, path, options) {
  const text = await (await open(method, path, options)).text();
  return text ? JSON.parse(text) : null;
}

/** @param {Record<string, string[]>} wanted */
export function filters(wanted) {
  return { filters: JSON.stringify(wanted) };
}
