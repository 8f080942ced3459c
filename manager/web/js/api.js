// Requests to the manager's API, as any other client makes them.
import { authorization } from "./session.js";

/** The manager refused: `status` is its answer's, `message` its own words. */
export class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
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
  const said = { ...authorization(), ...headers };
  if (body !== undefined) said["Content-Type"] = "application/json";
  let answer;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(target, { method, headers: said, body: text, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Lost(error instanceof Error ? error.message : String(error));
  }
  if (answer.ok) return answer;
  const words = await reason(answer);
  if (answer.status === 502 && words.includes("Cannot connect to the manager")) throw new Lost(words);
  throw new Refused(answer.status, words);
}

/** @param {Response} answer */
async function reason(answer) {
  const text = await answer.text();
  try {
    return String(JSON.parse(text).message);
  } catch {
    return text || `${answer.status} ${answer.statusText}`;
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
