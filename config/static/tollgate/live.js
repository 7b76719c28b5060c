// Keeps Usage & Costs up to date without a reload, and changes its chart alone. Without this, a reload does both.
//
// Every few seconds the page asks whether it is still true, with the version that it shows; mostly the answer is
// 304 without a body. What has changed is put in part by part, so that focus, opened details and choices stay.
"use strict";

{
const EVERY_MS = 3_000;
const EVERY_MS_AT_MOST = 60_000; // while nobody answers
const ANSWER_WITHIN_MS = 20_000;
const SAID_EVERY_MS = 30_000; // whoever hears the page is not told of each record

const live = document.getElementById("live");
const state = document.getElementById("live-state");
const said = document.getElementById("live-said");
const sent = new Map(); // part → its HTML as the server sent it
let timer = 0;
let failures = 0;
let saidAt = 0;
let isAsking = false;

const partsOf = (root) => [...root.querySelectorAll(".part")];

function remember() {
  sent.clear();
  for (const part of partsOf(live)) sent.set(part.id, part.outerHTML);
}

// Where an element is, so that its like is found again in the part that comes in its place.
function placeOf(element, part) {
  if (element.id) return { id: element.id };
  const row = element.closest("[data-key]");
  const scope = row && part.contains(row) ? row : part;
  const like = element.localName;
  return { key: scope === row ? row.dataset.key : null, like, n: [...scope.querySelectorAll(like)].indexOf(element) };
}

function elementAt(place, part) {
  if (place.id) return document.getElementById(place.id);
  const rows = [part, ...part.querySelectorAll("[data-key]")];
  const scope = place.key === null ? part : rows.find((row) => row.dataset.key === place.key);
  if (place.n < 0) return scope ?? null; // it is the row itself
  return scope?.querySelectorAll(place.like)[place.n] ?? null;
}

function putIn(part, fresh) {
  const opened = [...part.querySelectorAll("details[open]")].map((details) => placeOf(details, part));
  const focused = part.contains(document.activeElement) ? placeOf(document.activeElement, part) : null;
  part.replaceWith(fresh);
  for (const place of opened) {
    const details = elementAt(place, fresh);
    if (details?.localName === "details") details.open = true;
  }
  if (focused) {
    const target = elementAt(focused, fresh) ?? fresh;
    if (target === fresh) fresh.tabIndex = -1;
    target.focus({ preventScroll: true });
  }
  if (navigator.clipboard) fresh.querySelectorAll(".code-block:not(.answer)").forEach(addCopyButton);
}

function take(html) {
  const news = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstElementChild;
  const parts = partsOf(news);
  if (parts.map((part) => part.id).join() === [...sent.keys()].join()) {
    for (const fresh of parts) {
      const changed = fresh.outerHTML;
      const part = document.getElementById(fresh.id);
      if (changed === sent.get(fresh.id) || "keep" in part.dataset) continue; // a key that is shown once
      sent.set(fresh.id, changed);
      putIn(part, document.adoptNode(fresh));
    }
  } else { // such as the first record: what stood here has made room for the whole page
    const hadFocus = live.contains(document.activeElement);
    live.replaceChildren(...document.adoptNode(news).childNodes);
    if (hadFocus) document.getElementById("main").focus({ preventScroll: true });
    remember();
  }
  say();
}

function say() {
  const words = live.querySelector("[data-said]")?.dataset.said ?? "";
  if (words === said.textContent || Date.now() - saidAt < SAID_EVERY_MS) return;
  said.textContent = words;
  saidAt = Date.now();
}

function show(words, kind) {
  if (state.textContent === words) return;
  state.hidden = false;
  state.textContent = words;
  state.className = `live-state state ${kind}`;
}

function askLater() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, Math.min(EVERY_MS * 2 ** failures, EVERY_MS_AT_MOST));
}

async function ask() {
  if (document.hidden || isAsking) return;
  isAsking = true;
  const url = live.dataset.url;
  try {
    const answer = await fetch(url, {
      headers: { "If-None-Match": live.dataset.version },
      cache: "no-store",
      redirect: "manual",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    if (answer.type === "opaqueredirect" || answer.status === 404) {
      show("No longer live: reload this page", "state-error");
      return; // signed out, or no longer in this account
    }
    if (answer.status === 200) {
      const html = await answer.text();
      if (url === live.dataset.url) { // otherwise another chart has been chosen meanwhile
        live.dataset.version = answer.headers.get("ETag");
        take(html);
      }
    } else if (answer.status !== 304) {
      throw new Error(`answered ${answer.status}`);
    }
    failures = 0;
    show("Live", "");
  } catch {
    failures += 1;
    show("Waiting for the server", "state-rate_limited");
  } finally {
    isAsking = false;
  }
  askLater();
}

async function choose(form) {
  const query = new URLSearchParams(new FormData(form));
  const pinned = new URL(live.dataset.url, location.href);
  const account = pinned.searchParams.get("account");
  const asked = new URLSearchParams(query);
  asked.set("account", account);
  try {
    const answer = await fetch(`${live.dataset.chartUrl}?${asked}`, { cache: "no-store", redirect: "manual" });
    if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
    const section = document.getElementById("cost-chart");
    const hadTable = section.querySelector("details.more")?.open ?? false;
    section.innerHTML = await answer.text();
    section.querySelector("details.more").open = hadTable;
    section.querySelector("button").focus({ preventScroll: true });
    history.replaceState(null, "", `?${query}`);
    live.dataset.url = `${pinned.pathname}?${asked}`;
    for (const part of partsOf(section)) sent.set(part.id, closed(part));
    said.textContent = section.querySelector("figcaption").textContent;
    saidAt = Date.now();
  } catch {
    form.submit(); // the whole page, then
  }
}

function closed(part) {
  const copy = part.cloneNode(true);
  copy.querySelectorAll("details").forEach((details) => { details.open = false; });
  return copy.outerHTML;
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-chart-form]")) return;
  event.preventDefault();
  choose(event.target);
});

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) ask();
});

remember();
askLater();
}
