// Light or dark: as the system says, until somebody chooses.
import { signal } from "@preact/signals";

const STORED = "swarm-theme";

export const theme = signal(localStorage.getItem(STORED) ?? "");

export function applyTheme() {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
}

export function isDark() {
  return theme.value ? theme.value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function switchTheme() {
  theme.value = isDark() ? "light" : "dark";
  localStorage.setItem(STORED, theme.value);
  applyTheme();
}
