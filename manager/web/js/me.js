// Who looks, and what they may. The API decides; by this a button says beforehand which role it needs.
import { signal } from "@preact/signals";

const RANKS = ["viewer", "operator", "admin"];

export const me = signal({ Name: "", Role: "viewer", Environment: false, Forbidden: /** @type {string[]} */ ([]), Terminals: true });

/** @param {string} role */
export function may(role) {
  return RANKS.indexOf(me.value.Role) >= RANKS.indexOf(role);
}
