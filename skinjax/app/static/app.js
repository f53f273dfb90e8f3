// What the pages do beyond plain forms: photos are gathered by drop, paste and camera and sent without leaving the page,
// a batch is sent case by case, heat maps fade, tables sort. Nothing is asked of any other host.
"use strict";

const texts = document.body.dataset;
const byId = (id) => document.getElementById(id);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
document.documentElement.classList.add("js");

function tell(id, text) {
  const place = byId(id);
  place.textContent = text;
  place.classList.remove("unseen");
  if (id === "problem") place.hidden = !text;
}

// Sends a form and returns what the server says: its answer, or {problem: sentence}.
async function send(address, body, signal) {
  const headers = { Accept: "application/json" };
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(address, { method: "POST", headers, body, signal, credentials: "same-origin" });
    if (response.headers.get("content-type")?.startsWith("application/json")) return await response.json();
    return { problem: (await response.text()) || texts.lost };
  } catch (error) {
    return error.name === "AbortError" ? { problem: "" } : { problem: texts.lost };
  }
}

function formOf(files, fields) {
  const form = new FormData(fields);
  form.delete("photos");
  for (const file of files) form.append("photos", file, file.webkitRelativePath || file.name);
  return form;
}

function show(html, place) {
  place.innerHTML = html; // our own server's, with everything escaped
  const slider = place.querySelector("#fade");
  const fade = () => place.querySelectorAll(".heat").forEach((map) => (map.style.opacity = slider.value / 100));
  if (slider) {
    slider.addEventListener("input", fade);
    fade();
  }
  place.querySelector("h2")?.focus();
}

// Tells an answer: in words to who listens, to who looks by the page itself.
function finish(answer, place) {
  tell("status", answer.summary || "");
  tell("problem", answer.problem || "");
  if (!answer.html) return;
  byId("status").classList.add("unseen");
  show(answer.html, byId(place));
}

// Marks the entries that are refused, each with why, and goes to the first.
function mark(form, faults = {}) {
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  for (const old of form.querySelectorAll(".fault")) old.hidden = true;
  for (const [place, sentence] of Object.entries(faults)) {
    tell(`fault-${place}`, sentence);
    byId(`fault-${place}`).hidden = false;
    byId(`about-${place}`).setAttribute("aria-invalid", "true");
    byId(`about-${place}`).setAttribute("aria-describedby", `fault-${place}`);
  }
  form.querySelector("[aria-invalid]")?.focus();
}

function photoPage(form) {
  const said = form.dataset;
  const list = byId("chosen");
  const submit = form.querySelector("[type=submit]");
  let files = [];

  function wrong(added) {
    const all = files.concat(added);
    const large = all.find((file) => file.size > Number(said.bytes));
    const other = added.find((file) => file.type && !file.type.startsWith("image/") && !/dicom|octet-stream/.test(file.type));
    if (other) return fill(said.kind, { name: other.name });
    if (all.length > Number(said.most)) return said.many;
    if (large) return fill(said.large, { name: large.name });
    if (all.reduce((sum, file) => sum + file.size, 0) > Number(said.all)) return said.largeAll;
    return "";
  }

  function draw() {
    list.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    list.replaceChildren(
      ...files.map((file, place) => {
        const item = document.createElement("li");
        const image = document.createElement("img");
        image.alt = file.name;
        image.src = URL.createObjectURL(file);
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = "×";
        button.setAttribute("aria-label", fill(said.remove, { name: file.name }));
        button.addEventListener("click", () => {
          files.splice(place, 1);
          draw();
          (list.querySelectorAll("button")[Math.min(place, files.length - 1)] || byId("choose")).focus();
        });
        item.append(image, button);
        return item;
      }),
    );
    list.hidden = !files.length;
  }

  function add(added) {
    added = Array.from(added);
    if (!added.length) return;
    const problem = wrong(added);
    tell("problem", problem);
    if (problem) return;
    files = files.concat(added);
    draw();
    tell("status", fill(said.chosen, { count: files.length }));
  }

  for (const input of form.querySelectorAll("input[type=file]"))
    input.addEventListener("change", () => {
      add(input.files);
      input.value = "";
    });
  const dragged = (event) => Array.from(event.dataTransfer?.types ?? []).includes("Files");
  const drop = byId("drop");
  document.addEventListener("dragover", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
  form.addEventListener("reset", () => {
    files = [];
    draw();
    mark(form);
    byId("result").replaceChildren();
    tell("status", "");
    tell("problem", "");
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-disabled") === "true") return;
    tell("problem", files.length ? "" : said.none);
    if (!files.length) return;
    submit.setAttribute("aria-disabled", "true");
    mark(form);
    byId("result").replaceChildren(); // it was given with other entries or photos
    tell("status", said.working);
    const answer = await send(form.action, formOf(files, form));
    submit.removeAttribute("aria-disabled");
    const faults = answer.faults ?? {};
    finish(Object.keys(faults).length ? {} : answer, "result");
    mark(form, faults);
  });
}

function csvOf(table) {
  const rows = Array.from(table.tBodies[0].rows, (row) => row.dataset.csv);
  return "\ufeff" + [table.dataset.csv, ...rows].join("\r\n") + "\r\n";
}

function batchPage(form) {
  const said = form.dataset;
  const table = byId("table");
  const submit = form.querySelector("[type=submit]");
  const stop = byId("stop");
  let stopped = null;

  const gathered = () => [...byId("folder").files, ...byId("files").files].filter((file) => !/(^|\/)\./.test(file.name));
  for (const input of form.querySelectorAll("input[type=file]"))
    input.addEventListener("change", () => tell("status", fill(said.chosen, { count: gathered().length })));
  stop.addEventListener("click", () => stopped?.abort());
  byId("download").addEventListener("click", (event) => {
    if (!table.tBodies[0].rows.length) return event.preventDefault();
    const link = event.currentTarget;
    const address = URL.createObjectURL(new Blob([csvOf(table)], { type: "text/csv" }));
    link.href = address;
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  });

  async function details(files) {
    tell("status", texts.busy);
    const answer = await send("/answer", formOf(files));
    finish(answer, "detail");
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-disabled") === "true") return;
    const files = gathered();
    tell("problem", files.length ? "" : said.none);
    if (!files.length) return;
    const by = form.querySelector("[name=by]:checked").value;
    const names = files.map((file) => file.webkitRelativePath || file.name);
    const grouped = await send("/batch/groups", JSON.stringify({ names, by }));
    tell("problem", grouped.problem || "");
    if (!grouped.groups) return;
    table.tBodies[0].replaceChildren();
    byId("cases").hidden = false;
    submit.setAttribute("aria-disabled", "true");
    stop.hidden = false;
    stopped = new AbortController();
    const total = grouped.groups.length;
    const progress = byId("progress");
    progress.max = total;
    progress.hidden = false;
    let done = 0;
    tell("status", texts.busy);
    for (const { case: name, members } of grouped.groups) {
      progress.value = done;
      byId("count").textContent = fill(said.progress, { done, total });
      const own = members.map((place) => files[place]);
      const body = formOf(own);
      body.append("case", name);
      let answer;
      for (let tries = 0; tries < 60 && !stopped.signal.aborted; tries++) {
        answer = await send("/batch/case", body, stopped.signal);
        if (!answer.busy) break;
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
      if (stopped.signal.aborted) break;
      if (!answer.row) {
        tell("problem", answer.problem || texts.lost);
        break;
      }
      const made = document.createElement("tbody");
      made.innerHTML = answer.row;
      for (const row of Array.from(made.rows)) {
        const head = row.cells[0];
        const button = document.createElement("button");
        button.type = "button";
        button.className = "plain";
        button.textContent = name;
        button.addEventListener("click", () => details(own));
        head.firstChild.replaceWith(button);
        table.tBodies[0].append(row);
      }
      done += 1;
    }
    progress.hidden = true;
    byId("count").textContent = "";
    stop.hidden = true;
    submit.removeAttribute("aria-disabled");
    tell("status", done === total ? fill(said.finished, { cases: done }) : fill(said.stopped, { done, total }));
  });
  sortable(table);
}

// Makes the heads of a table buttons that sort it; cells carry what they are sorted by.
function sortable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent.trim();
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort ?? "";
      const rows = Array.from(table.tBodies[0].rows).sort((a, b) => collator.compare(key(a), key(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

if (byId("photos")) photoPage(byId("photos"));
if (byId("batch")) batchPage(byId("batch"));
const first = byId("result");
if (first?.querySelector("h2")) show(first.innerHTML, first);
