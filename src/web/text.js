// Words in the reader's language, and numbers as that language writes them.

export const LANGUAGES = {
  en: "English", de: "Deutsch", es: "Español", fr: "Français", it: "Italiano", nl: "Nederlands",
};

let words = {};
let language = "en";
let turn = 0;

// The choice that was made last counts, whichever answer comes last.
export async function setLanguage(wanted) {
  const mine = ++turn;
  const code = LANGUAGES[wanted] ? wanted : "en";
  const answer = await fetch(`/i18n/${code}.json`);
  if (!answer.ok) throw new Error(`/i18n/${code}.json: ${answer.status}`);
  const table = await answer.json();
  if (mine !== turn) return;
  words = table;
  language = code;
  document.documentElement.lang = code;
  for (const e of document.querySelectorAll("[data-text]")) e.textContent = t(e.dataset.text);
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", t(e.dataset.label));
}

export function preferredLanguage() {
  const codes = navigator.languages.map((code) => code.slice(0, 2).toLowerCase());
  return codes.find((code) => LANGUAGES[code]) ?? "en";
}

// t("peers", {n: 3}): "{n}" is replaced, and "{n|one|many}" chooses.
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text
    .replace(/\{(\w+)\|([^|}]*)\|([^}]*)\}/g, (_, name, one, many) => (values[name] === 1 ? one : many))
    .replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name] ?? ""));
}

export function number(n, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(n);
}

export function octets(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${number(n, i && n < 100 ? 1 : 0)} ${units[i]}`;
}

// Unix seconds, as a day and time of here; "" for what is none.
export function day(seconds) {
  if (Number.isNaN(new Date(seconds * 1000).getTime())) return "";
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);
}

export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–:––";
  const s = Math.floor(seconds);
  const minutes = Math.floor(s / 60) % 60;
  const hours = Math.floor(s / 3600);
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}
