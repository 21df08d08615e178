// What the desk's pages do in a browser beyond htmx: keys, selection, dialogs, times. Every page works without it.
// Listeners are on the document, since parts of the page come and go.

import { addRetry, forget, isWaiting, leaves, listOf, loading, notice, remember, rowOf, show, undo, work } from "./work.js";

const main = () => document.getElementById("main");
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

// Moments in the reader's own zone. Ages are kept up to date.

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function shortAge(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return "now";
}

function writeTimes() {
  for (const time of $$("time[data-moment]")) {
    time.textContent = moments.format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
  for (const time of $$("time[data-age]")) {
    time.textContent = shortAge((Date.now() - new Date(time.dateTime)) / 1000);
    time.title = moments.format(new Date(time.dateTime));
  }
  for (const zone of $$("[data-zone]")) zone.textContent = "your time";
}

// The row with the focus, or that had it.

let current = null; // its id
let currentAt = -1; // where it stands, for those that come after it if it goes

const rows = () => $$("tbody tr:has(a.open)", main());
const currentRow = () => document.activeElement.closest?.("tr:has(a.open)") ?? (current && document.getElementById(current));
const panel = () => $("[data-panel]", main());

function markCurrent() {
  for (const row of $$("tr.current")) row.classList.toggle("current", row.id === current);
  (current && document.getElementById(current))?.classList.add("current");
}

function goTo(row) {
  if (!row) return false;
  $("a.open", row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  return true;
}

function move(by) {
  const all = rows();
  const at = all.indexOf(currentRow());
  return goTo(all[at < 0 ? Math.min(Math.max(currentAt, 0), all.length - 1) : at + by]);
}

function moveOn() {
  const all = rows();
  const at = all.indexOf(currentRow());
  const isLeft = (row) => !row.classList.contains("gone");
  goTo(all.slice(at + 1).find(isLeft) ?? all.slice(0, at).findLast(isLeft));
}

// What is selected, by id: it outlives rows that come and go, as long as the list is the same.

const selected = new Map(); // what the row's box sends, by the alert's id
let listSelectedIn = listOf();

const boxes = () => $$('input[name="id"]', main());
const alertOf = (box) => box.closest("[data-alert]").dataset.alert;

function select(box, isChosen) {
  box.checked = isChosen;
  if (isChosen) selected.set(alertOf(box), box.value);
  else selected.delete(alertOf(box));
  showSelected();
}

function showSelected() {
  const form = $("#bulk");
  if (!form) return;
  const all = $('[name="all"]', form);
  const shown = boxes();
  const isAnything = selected.size > 0 || all.checked;
  form.classList.toggle("chosen", isAnything);
  const elsewhere = selected.size - shown.filter((box) => box.checked).length;
  $("[data-selected]", form).textContent = all.checked
    ? "All that fit"
    : `${selected.size} selected${elsewhere ? `, ${elsewhere} not on this page` : ""}`;
  const every = $('[data-do="select-page"]');
  if (!every) return;
  every.checked = shown.length > 0 && shown.every((box) => box.checked);
  every.indeterminate = !every.checked && shown.some((box) => box.checked);
}

function clearSelection() {
  selected.clear();
  for (const box of boxes()) box.checked = false;
  const all = $('#bulk [name="all"]');
  if (all) all.checked = false;
  showSelected();
}

function restoreSelection() {
  if (listOf() !== listSelectedIn) selected.clear();
  listSelectedIn = listOf();
  for (const box of boxes()) {
    box.checked = selected.has(alertOf(box));
    if (box.checked) selected.set(alertOf(box), box.value);
  }
  showSelected();
}

function extend(by) {
  const box = (row) => row && $('input[name="id"]', row);
  const from = box(currentRow());
  if (!move(by)) return;
  for (const one of [from, box(currentRow())]) if (one) select(one, true);
}

// Working what is selected, or the alert of the page, or of the current row.

function act(fields) {
  const isOfMany = selected.size > 0 || $('#bulk [name="all"]')?.checked;
  const form = isOfMany ? $("#bulk") : $("form", panel() ?? document.createElement("div"));
  if (form) return submitAs(form, fields);
  const row = currentRow();
  if (!row?.dataset.alert || !$("#bulk")) return;
  const isClosed = $(".status-closed", row);
  if (isClosed && fields.do === "take") return;
  if (work(row.dataset.alert, fields) && leaves(fields)) moveOn();
}

function submitAs(form, fields) {
  const [name, value] = Object.entries(fields)[0];
  const button = $(`button[name="${name}"][value="${value}"]`, form);
  if (button) form.requestSubmit(button);
}

function note() {
  const field = selected.size > 0 ? $('#bulk [name="note"]') : $('[name="note"]', panel() ?? document.createElement("div"));
  if (field) field.focus();
  else openFor("note-dialog");
}

function openFor(id) {
  const row = currentRow();
  const dialog = document.getElementById(id);
  if (!row?.dataset.alert || !dialog) return;
  dialog.dataset.alert = row.dataset.alert;
  $("[data-about]", dialog).textContent = row.dataset.alert;
  dialog.showModal();
}

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (form.matches("[data-typed]")) {
    const dialog = form.closest("dialog");
    const fields = Object.fromEntries(new FormData(form));
    if (work(dialog.dataset.alert, { do: form.dataset.typed === "until" ? "snooze" : "note", ...fields })) form.reset();
    if (leaves(fields)) moveOn();
  } else if (form.matches("[data-undo]") && rowOf(form.dataset.work)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    undo();
  } else if (form.matches("[data-undo]")) {
    forget(form);
  } else if (form.matches("[data-row]") && rowOf(form.dataset.work)) {
    event.preventDefault();
    event.stopImmediatePropagation();
    const { etag, then, list, ...fields } = Object.fromEntries(new FormData(form, submitter));
    form.closest(".card").remove();
    work(form.dataset.work, fields);
  } else if (form.closest("[data-panel]")) {
    restores.set(form, show(panel(), Object.fromEntries([[submitter?.name, submitter?.value]])));
  }
}, true);

const restores = new WeakMap(); // what takes back what was shown of a form's change, before the answer came

// The browser sends a moment without its zone.
document.addEventListener("formdata", ({ formData, target: form }) => {
  const until = formData.getAll("until").map((one) => (one.length === 16 ? new Date(one).toISOString() : one));
  formData.delete("until");
  for (const one of until) formData.append("until", one);
  if (form.id !== "bulk") return;
  const shown = new Set(boxes().map(alertOf));
  for (const [alert, value] of selected) if (!shown.has(alert)) formData.append("id", value);
});

// A small choice that is made by a key or a click.

const choice = document.createElement("div");
choice.className = "choice";
choice.popover = "manual";
choice.setAttribute("role", "status");
document.body.append(choice);
let choices = null;

const OUTCOMES = {
  1: ["true", () => act({ outcome: "true_positive" })],
  2: ["false", () => act({ outcome: "false_positive" })],
  3: ["inconclusive", () => act({ outcome: "inconclusive" })],
};
const SNOOZES = {
  1: ["1 hour", () => act({ until: "1h" })],
  2: ["4 hours", () => act({ until: "4h" })],
  3: ["tomorrow", () => act({ until: "tomorrow" })],
  4: ["a week", () => act({ until: "week" })],
  5: ["a moment", () => (panel() ? openMoment() : openFor("until-dialog"))],
};

function openMoment() {
  $("details.moment", panel()).open = true;
  $('[name="until"]', panel()).focus();
}

function choose(title, offered) {
  const about = panel() ?? currentRow();
  if (!$("#note-dialog") || !(about || selected.size)) return;
  if (about && !selected.size && $(".status-closed", about)) return;
  choices = offered;
  choice.replaceChildren(title, ...Object.entries(offered).map(([key, [name]]) => {
    const button = document.createElement("button");
    const shown = document.createElement("kbd");
    button.type = "button";
    button.dataset.choice = key;
    shown.textContent = key;
    button.append(shown, name);
    return button;
  }));
  choice.showPopover();
  const place = ((!selected.size && $(".status", about)) || $("#bulk") || about).getBoundingClientRect();
  choice.style.top = `${Math.max(8, Math.min(place.bottom + 6, innerHeight - choice.offsetHeight - 8))}px`;
  choice.style.left = `${Math.max(8, Math.min(place.left, innerWidth - choice.offsetWidth - 8))}px`;
}

function choiceMade(key) {
  const [, made] = choices?.[key] ?? [];
  if (choices) choice.hidePopover();
  choices = null;
  made?.();
  return Boolean(made);
}

// Keys. Those of a single character can be turned off, and are off wherever one types.

const press = (selector) => $(selector)?.click();
const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  J: () => extend(1),
  K: () => extend(-1),
  o: () => press("tr.current a.open"),
  x: () => {
    const box = $('input[name="id"]', currentRow() ?? document.createElement("div"));
    if (box) select(box, !box.checked);
  },
  "*": () => boxes().forEach((box) => select(box, true)),
  a: () => act({ do: "take" }),
  c: () => choose("Close as", OUTCOMES),
  n: note,
  s: () => choose("Snooze", SNOOZES),
  z: undo,
  "[": () => press('main a[rel="prev"]'),
  "]": () => press('main a[rel="next"]'),
  "/": () => $("#find")?.select(),
  r: () => press('[data-do="show-new"]:not([hidden])'),
  g: () => { isGoing = true; },
  "?": () => document.getElementById("keys").showModal(),
};
const PLACES = { i: "/desk/", u: "/desk/users", r: "/desk/rules", o: "/desk/overview" };
const OFF = "desk-single-keys-off";
let isGoing = false;

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const form = target.form ?? target.closest("form");
    if (form) form.requestSubmit($("[data-send]", form));
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  if (key === "Escape") {
    const menu = $("details:is(.menu, .more, .close-all)[open]");
    if (choices) choiceMade();
    else if (menu && !$("dialog[open]")) {
      menu.open = false;
      $("summary", menu).focus();
    } else if (!$("dialog[open]") && !isTyping(target)) clearSelection();
    return;
  }
  if (localStorage.getItem(OFF) || isTyping(target) || $("dialog[open]")) return;
  if (key === "Enter" && target === document.body) return press("tr.current a.open");
  if (["Shift", "Enter", " ", "Tab"].includes(key)) return;
  const wasGoing = isGoing;
  isGoing = false;
  if (wasGoing && PLACES[key]) location.assign(PLACES[key]);
  else if (!choiceMade(key) && Object.hasOwn(KEYS, key)) KEYS[key]();
  else return;
  event.preventDefault();
});

const isTyping = (target) => target.matches?.('textarea, select, [contenteditable], input:not([type="checkbox"], [type="radio"])');

// Clicks and changes.

const copyLink = (button) => copy(button, new URL(button.dataset.link, location.href).href);

async function copy(button, text) {
  const said = $("span", button);
  const before = said.textContent;
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied";
  } catch {
    said.textContent = text; // to be copied by hand
  }
  setTimeout(() => { said.textContent = before; }, 3_000);
}

const DO = {
  "show-keys": KEYS["?"],
  clear: clearSelection,
  stop: (button) => { isStopped = true; button.remove(); },
  dismiss: (button) => button.closest(".card").remove(),
  "close-dialog": (button) => button.closest("dialog").close(),
  "copy-link": copyLink,
  "copy-text": (button) => copy(button, button.dataset.text),
  print: () => print(),
};
let isStopped = false;

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-do], [data-choice]");
  if (button?.dataset.choice) choiceMade(button.dataset.choice);
  else if (button) DO[button.dataset.do]?.(button);
});

document.addEventListener("change", ({ target }) => {
  if (target.id === "single-keys") {
    if (target.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "yes");
  } else if (target.matches('[data-do="select-page"]')) {
    boxes().forEach((box) => select(box, target.checked));
  } else if (target.matches('main input[name="id"]')) {
    select(target, target.checked);
  } else if (target.matches('#bulk [name="all"]')) {
    showSelected();
  }
});

document.addEventListener("focusin", ({ target }) => {
  const row = target.closest?.("tr:has(a.open)");
  if (row?.id) [current, currentAt] = [row.id, rows().indexOf(row)];
  markCurrent();
});

// What htmx does: a bar while it takes long, a card if it fails, and what belongs to a page once its parts are there.

const asked = new WeakSet(); // a part may have been asked for before this script was there

document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  asked.add(ctx);
  loading(1);
});
document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  if (asked.delete(ctx)) loading(-1);
  const status = ctx.response?.status;
  if (status && status < 400) return;
  restores.get(ctx.sourceElement)?.();
  const card = status ? $("#notices .problem") : notice("No answer", "The service could not be reached, or took too long.");
  if (!card || !ctx.sourceElement.isConnected) return;
  addRetry(card, () => {
    const { sourceElement: element, request } = ctx;
    if (element.matches("form")) element.requestSubmit(request.submitter);
    else element.click();
  });
});
document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
  if (ctx.target?.id === "main") $("#notices").replaceChildren();
});
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  settle();
  const isLost = document.activeElement === document.body && !$("dialog[open]");
  if (isLost && ctx.target?.id === "main") main().focus({ preventScroll: true });
});
document.addEventListener("desk:changed", () => {
  clearSelection();
  const notices = $$("#notices > *");
  htmx.ajax("GET", location.pathname + location.search, { target: "#main", swap: "outerMorph" }).then(() => $("#notices").append(...notices));
});

function settle() {
  writeTimes();
  restoreSelection();
  markCurrent();
  showToast();
  for (const button of $$('[data-do^="copy-"], [data-do="print"]')) button.hidden = false;
  const going = $("form[data-continue]:not([data-sent])");
  if (!going) return;
  going.dataset.sent = "yes";
  if (!isStopped) going.requestSubmit();
  else document.dispatchEvent(new Event("desk:changed"));
  isStopped = false;
}

// The line that says what was done goes after a while, unless one is at it.

const SHOWN_FOR = 10_000; // milliseconds
let timer = 0;

function showToast() {
  const toast = $("#toast");
  const asked = new URL(location.href);
  if (asked.searchParams.has("done")) {
    asked.searchParams.delete("done");
    history.replaceState(history.state, "", asked);
  }
  const said = toast.firstElementChild;
  if (!said || said.dataset.seen) return;
  said.dataset.seen = "yes";
  const form = $("[data-undo]", toast);
  if (form) remember(form);
  clearTimeout(timer);
  timer = setTimeout(function hide() {
    if (toast.matches(":hover, :focus-within")) timer = setTimeout(hide, SHOWN_FOR);
    else toast.replaceChildren();
  }, SHOWN_FOR);
}

// Back to a list: to the row one went from.

const place = () => `desk-place:${location.pathname}${location.search}`;

addEventListener("pagehide", () => current && sessionStorage.setItem(place(), current));
addEventListener("beforeunload", (event) => { if (isWaiting()) event.preventDefault(); });

writeTimes();
setInterval(writeTimes, 30_000);
document.getElementById("single-keys").checked = !localStorage.getItem(OFF);
settle();
// Once the browser itself has gone to the part of the page that its address names.
addEventListener("pageshow", () => {
  const [{ type } = {}] = performance.getEntriesByType("navigation");
  const cameFrom = location.hash.slice(1) || (type === "back_forward" && sessionStorage.getItem(place()));
  goTo(cameFrom && rows().find((row) => row.id === cameFrom));
});
