// The page's colours as a canvas takes them: a canvas knows no variables.
import { isDark } from "../theme.js";

const NAMES = ["--surface", "--line", "--good-fill", "--busy-fill", "--idle-fill", "--bad-fill", "--done-fill"];

/** By theme: the page lays itself out anew for each answer, so it is asked once. @type {Map<boolean, Record<string, string>>} */
const read = new Map();

/** The page's colours by the names of their variables. @returns {Record<string, string>} */
export function pageColours() {
  const dark = isDark();
  const found = read.get(dark) ?? resolved();
  read.set(dark, found);
  return found;
}

function resolved() {
  const probe = document.body.appendChild(document.createElement("span"));
  const found = NAMES.map((name) => {
    probe.style.color = `var(${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(found);
}
