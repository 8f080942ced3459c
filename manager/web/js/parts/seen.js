// What there is much of is drawn a little at a time, so that the page never stands still: first what is in the window.
import { useEffect, useState } from "preact/hooks";

/** @typedef {{current: Element | null}} Reference */

// What is told, or drawn, between two frames.
const TOLD_A_FRAME = 12;
const DRAWN_A_FRAME = 24;

/** Who waits to be told what of an element. @type {WeakMap<Element, (isIn: boolean) => void>} */
const looking = new WeakMap();
/** What elements have come to be since their last turn. @type {Map<Element, boolean>} */
const news = new Map();
let frame = 0;

// One for all: each observer costs as much as what it observes.
const windowObserver = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) news.set(entry.target, entry.isIntersecting);
    frame ||= requestAnimationFrame(tell);
  },
  { rootMargin: "200px" },
);

function tell() {
  frame = 0;
  for (const [element, isIn] of [...news].slice(0, TOLD_A_FRAME)) {
    news.delete(element);
    looking.get(element)?.(isIn);
  }
  if (news.size) frame = requestAnimationFrame(tell);
}

/** Whether an element is in the window, or near. @param {Reference} reference */
export function useInView(reference) {
  const [isIn, setIn] = useState(false);
  useEffect(() => {
    const element = reference.current;
    if (!element) return undefined;
    looking.set(element, setIn);
    windowObserver.observe(element);
    return () => {
      windowObserver.unobserve(element);
      looking.delete(element);
      news.delete(element);
    };
  }, []);
  return isIn;
}

/** @type {WeakMap<Element, (width: number) => void>} */
const measuring = new WeakMap();
const sizeObserver = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) measuring.get(target)?.(Math.floor(contentRect.width));
});

/** How wide the element around another is, in pixels; 0 until that is known. @param {Reference} reference */
export function useRoom(reference) {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = reference.current?.parentElement;
    if (!element) return undefined;
    measuring.set(element, setWidth);
    sizeObserver.observe(element);
    return () => {
      sizeObserver.unobserve(element);
      measuring.delete(element);
    };
  }, []);
  return width;
}

/** How many of so many are drawn by now: more with each frame. @param {number} total */
export function useGrowth(total) {
  const [drawn, setDrawn] = useState(DRAWN_A_FRAME);
  useEffect(() => {
    if (drawn >= total) return undefined;
    const next = requestAnimationFrame(() => setDrawn(drawn + DRAWN_A_FRAME));
    return () => cancelAnimationFrame(next);
  }, [drawn, total]);
  return drawn;
}
