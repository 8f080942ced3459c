// What a screen shows while it has nothing to show: loading, refused, not found, lost.
import { useEffect, useState } from "preact/hooks";
import { Lost, Refused } from "../api.js";
import { hints, link } from "../feed.js";
import { html } from "../html.js";

// What changes all the time is asked for again after so many times as long as the last answer took, so that one who
// looks at a large cluster does not keep the manager busy.
const PAUSE_TIMES = 4;
const MOST_MILLISECONDS = 10_000;

/** The answers that the feed keeps up: each can be had anew. @type {Set<() => Promise<void>>} */
const live = new Set();

/** Ask anew for what is shown, as something was changed here; resolves when that is seen, or when the answer failed. */
export async function refresh() {
  await Promise.all([...live].map((renew) => renew()));
}

/**
 * Ask for what a screen shows, now and whenever the feed says that one of its topics has changed; which these are, the
 * answer may say. What was there is shown until the next answer is; answers that come out of order are dropped.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask @param {unknown[]} inputs @param {(value: T) => string[]} [topicsOf]
 * @returns {{value: T | undefined, error: Error | undefined, again: () => void}}
 */
export function useAnswer(ask, inputs, topicsOf) {
  const [answer, setAnswer] = useState(/** @type {{value?: T, error?: Error}} */ ({}));
  const [turn, setTurn] = useState(0);
  const [pace] = useState(() => newPace(() => setTurn((count) => count + 1)));
  const [waiting] = useState(() => /** @type {(() => void)[]} */ ([]));
  useEffect(() => {
    const abort = new AbortController();
    const answered = pace.asked();
    const told = waiting.splice(0);
    ask(abort.signal)
      .then(
        (value) => !abort.signal.aborted && setAnswer({ value }),
        (error) => !abort.signal.aborted && setAnswer((before) => (error instanceof Lost && before.value ? before : { error })),
      )
      .finally(() => {
        answered();
        for (const resolve of told.splice(0)) resolve();
      });
    return () => {
      abort.abort();
      waiting.push(...told.splice(0)); // the next answer is theirs
    };
  }, [...inputs, turn]);
  useEffect(() => {
    const renew = () => new Promise((/** @type {(value: void) => void} */ resolve) => {
      waiting.push(resolve);
      pace.now();
    });
    if (topicsOf) live.add(renew);
    return () => {
      pace.end();
      live.delete(renew);
      for (const resolve of waiting.splice(0)) resolve();
    };
  }, []);
  const again = pace.now;
  const topics = answer.value === undefined || !topicsOf ? [] : topicsOf(answer.value);
  useEffect(() => hints.want(topics, pace.soon), [topics.join(" ")]);
  const isLive = link.value.state === "live";
  useEffect(() => {
    if (isLive && answer.error instanceof Lost) again();
  }, [isLive]);
  return { value: answer.value, error: answer.error, again };
}

/** When to ask again: `soon` waits for the answer that is underway, and for a while after it. @param {() => void} ask */
function newPace(ask) {
  let [from, underway, isWanted] = [0, 0, false];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const now = () => {
    clearTimeout(timer);
    isWanted = false;
    ask();
  };
  const soon = () => {
    isWanted = true;
    clearTimeout(timer);
    if (!underway) timer = setTimeout(now, Math.max(0, from - performance.now()));
  };
  return {
    now,
    soon,
    asked() {
      const began = performance.now();
      underway += 1;
      return () => {
        underway -= 1;
        from = performance.now() + Math.min(MOST_MILLISECONDS, PAUSE_TIMES * (performance.now() - began));
        if (isWanted) soon();
      };
    },
    end() {
      clearTimeout(timer);
      underway = Infinity;
    },
  };
}

/** What stands in the place of what is not there (yet). @param {{error?: Error, what?: string}} props */
export function Missing({ error, what = "this" }) {
  if (!error) return html`<p class="notice" role="status">Loading …</p>`;
  if (error instanceof Lost) {
    return html`<div class="notice" role="status"><h1>The manager does not answer</h1><p>It is asked again until it does.</p><p class="mono">${error.message}</p></div>`;
  }
  if (error instanceof Refused && error.status === 404) {
    return html`<div class="notice"><h1>There is no ${what}</h1><p>${error.message}. It may have been removed or replaced since.</p></div>`;
  }
  const title = error instanceof Refused && error.status === 403 ? "You may not see this" : "This cannot be shown";
  return html`<div class="notice" role="alert"><h1>${title}</h1><p>${error.message}</p></div>`;
}
