"use strict";
const $ = (id) => document.getElementById(id);
let reader = "", order = [], answers = {}, at = 0, shownAt = 0;

const place = (name) => `skinjax ${KIT.id} ${name}`;
function stored(name) {
  try { return JSON.parse(localStorage.getItem(place(name))) || {}; } catch { return {}; }
}
function keep() {
  try { localStorage.setItem(place(reader), JSON.stringify(answers)); } catch { $("unkept").hidden = false; }
}
function kept() {
  try {
    localStorage.setItem(place("?"), "1");
    localStorage.removeItem(place("?"));
    return true;
  } catch { return false; }
}

// Every reader has an order of their own, the same whenever they come back (Fisher and Yates; mulberry32).
function ordered(name) {
  let state = 2166136261;
  for (const letter of KIT.id + name) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const photos = [...KIT.photos];
  for (let i = photos.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [photos[i], photos[j]] = [photos[j], photos[i]];
  }
  return photos;
}

const answered = (photo) => answers[photo] !== undefined && answers[photo].call !== undefined;
const count = () => KIT.photos.filter(answered).length;
function page(name) {
  for (const one of ["start", "reading", "end"]) $(one).hidden = one !== name;
  window.scrollTo(0, 0);
}

function time() {
  const photo = order[at];
  if ($("reading").hidden || photo === undefined) return;
  const one = (answers[photo] ??= {});
  one.seconds = Math.round(10 * ((one.seconds || 0) + (Date.now() - shownAt) / 1000)) / 10;
  shownAt = Date.now();
}

function show(index) {
  at = Math.max(0, Math.min(index, order.length - 1));
  shownAt = Date.now();
  page("reading");
  $("photo").src = `photos/${order[at]}`;
  if (order[at + 1]) new Image().src = `photos/${order[at + 1]}`;
  draw();
}

function draw() {
  const one = answers[order[at]] || {};
  $("place").textContent = `${at + 1} of ${order.length}`;
  $("done").value = count();
  $("back").disabled = at === 0;
  $("next").textContent = at === order.length - 1 ? "Overview →" : "Next →";
  for (const button of document.querySelectorAll("[data-call]"))
    button.setAttribute("aria-pressed", String(String(one.call) === button.dataset.call));
  for (const button of document.querySelectorAll("[data-sure]"))
    button.setAttribute("aria-pressed", String(String(one.confidence) === button.dataset.sure));
}

function answer(name, value) {
  (answers[order[at]] ??= {})[name] = value;
  keep();
  draw();
}

function go(step) {
  time();
  keep();
  if (at + step >= order.length) overview();
  else show(at + step);
}

function overview() {
  time();
  keep();
  page("end");
  const open = order.length - count();
  $("left").textContent = open
    ? `${open} of ${order.length} photos are still open (dashed). The study needs them all.`
    : `All ${order.length} photos are answered. Save the file and send it back.`;
  $("save").textContent = open ? "Save unfinished answers (CSV)" : "Save answers (CSV)";
  $("saved").textContent = "";
  $("all").replaceChildren(...order.map((photo, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const word = document.createElement("small");
    word.textContent = answered(photo) ? (answers[photo].call ? "yes" : "no") : "open";
    button.append(String(index + 1), word);
    if (!answered(photo)) button.className = "open";
    button.onclick = () => show(index);
    item.append(button);
    return item;
  }));
}

function table() {
  const cell = (value) => (/[",\n;\t]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  // A name that a spreadsheet would take for a formula is made text by a leading apostrophe.
  const name = /^[=+\-@]/.test(reader) ? `'${reader}` : reader;
  const rows = KIT.photos.filter(answered).map((photo) => {
    const one = answers[photo];
    const fields = [KIT.id, name, photo, one.call, one.confidence ?? "", one.seconds ?? "", order.indexOf(photo) + 1];
    return fields.map((field) => cell(String(field))).join(",");
  });
  return ["kit,reader,image,call,confidence,seconds,order", ...rows].join("\r\n") + "\r\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", table()], { type: "text/csv;charset=utf-8" }));
  const safe = reader.replace(/[^\p{L}\p{N}]+/gu, "_") || "reader";
  link.download = `${KIT.id}_${safe}${count() < order.length ? "_unfinished" : ""}.csv`;
  link.click();
  $("saved").textContent = `Saved as ${link.download}, where your browser puts downloads.`;
}

$("begin").onsubmit = (event) => {
  event.preventDefault();
  reader = $("reader").value.trim();
  if (!reader) return;
  order = ordered(reader);
  answers = stored(reader);
  const open = order.findIndex((photo) => !answered(photo));
  if (open < 0) overview();
  else show(open);
};
for (const button of document.querySelectorAll("[data-call]"))
  button.onclick = () => answer("call", Number(button.dataset.call));
for (const button of document.querySelectorAll("[data-sure]"))
  button.onclick = () => answer("confidence", Number(button.dataset.sure));
$("back").onclick = () => go(-1);
$("next").onclick = () => go(1);
$("overview").onclick = overview;
$("again").onclick = () => show(Math.max(0, order.findIndex((photo) => !answered(photo))));
$("save").onclick = save;
$("other").onclick = () => { $("reader").value = ""; page("start"); $("reader").focus(); };
document.onkeydown = (event) => {
  if ($("reading").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "y" || key === "n") answer("call", key === "y" ? 1 : 0);
  else if ("12345".includes(key)) answer("confidence", Number(key));
  else if (key === "arrowright") go(1);
  else if (key === "arrowleft") { if (at > 0) go(-1); }
  else return;
  event.preventDefault();
};
window.onpagehide = () => { if (reader) { time(); keep(); } };
$("unkept").hidden = kept();
