// What is other in one value than in another, path by path.

const SHOWN = 60;

/** @typedef {{path: string, from: string, to: string}} Difference */

/** @param {any} before @param {any} after @param {string} [path] @returns {Difference[]} */
export function differences(before, after, path = "") {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (isObject(before) && isObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
    return names.flatMap((name) => differences(before[name], after[name], path ? `${path}.${name}` : name));
  }
  return [{ path, from: inShort(before), to: inShort(after) }];
}

/** @param {unknown} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value in few words. @param {unknown} value */
export function inShort(value) {
  if (value === undefined || value === null) return "none";
  const text = typeof value === "string" ? value.replace(/@sha256:[0-9a-f]+$/, "") : JSON.stringify(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
