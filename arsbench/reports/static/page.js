// Sorting and filtering the boards, the slider over levels, copying. Without it every number is still there.
"use strict";

document.documentElement.classList.add("js");

function board(section, table) {
  const heads = [...table.tHead.rows[0].cells];
  const api = new DataTable(table, {
    autoWidth: false,
    columns: heads.map((head) => ({
      type: head.dataset.type || "string",
      orderable: head.dataset.orderable !== "false",
      orderSequence: head.classList.contains("number") ? ["desc", "asc"] : ["asc", "desc"],
    })),
    info: false,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    order: [],
    paging: false,
  });
  const at = (name) => section.querySelector("." + name);
  const rows = [...table.tBodies[0].rows];
  const entries = rows.filter((row) => row.dataset.kind !== "control");
  const kept = (row) => {
    const kind = at("by-kind")?.value ?? "";
    const control = row.dataset.kind === "control";
    const name = row.querySelector("th").textContent.toLowerCase();
    if (control) return true; // the lines across the board stay
    if (kind && row.dataset.kind !== kind) return false;
    if (Number(row.dataset.tier ?? 0) < Number(at("by-tier")?.value ?? -1)) return false;
    if (at("no-marks")?.checked && Number(row.dataset.marked)) return false;
    return name.includes((at("find")?.value ?? "").trim().toLowerCase());
  };
  const apply = () => {
    const keep = new Set(rows.filter(kept));
    api.search.fixed("filters", (text, data, index) => keep.has(api.row(index).node())).draw();
    const left = entries.filter((row) => keep.has(row)).length;
    if (at("count")) at("count").textContent = `${left} of ${entries.length} shown`;
  };
  at("find")?.addEventListener("input", apply);
  for (const name of ["by-kind", "by-tier", "no-marks"]) at(name)?.addEventListener("change", apply);
  at("all-columns")?.addEventListener("change", (event) => table.classList.toggle("everything", event.target.checked));
  apply();
}

function faces(block) {
  const at = (name) => block.querySelector("." + name);
  const tiles = [...block.querySelectorAll(".tile")];
  const level = () => {
    block.style.setProperty("--level", at("face-level").value);
    block.querySelector("output").textContent = at("face-level").value;
  };
  const sheet = () => {
    const name = `${at("face-model").value}--${at("face-perturbation").value}.webp`;
    for (const tile of tiles) {
      const folder = tile.style.backgroundImage.replace(/^url\(["']?(.*)\/[^/]*$/, "$1");
      tile.style.backgroundImage = `url("${folder}/${name}")`;
    }
  };
  at("face-level").addEventListener("input", level);
  at("face-model").addEventListener("change", sheet);
  at("face-perturbation").addEventListener("change", sheet);
}

function copying(button) {
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.from);
    const said = button.parentElement.querySelector(".copied");
    try {
      await navigator.clipboard.writeText(text.value);
      said.textContent = "copied";
    } catch {
      text.focus();
      text.select(); // where a page may not write to the clipboard, the text is marked for the reader to copy
      said.textContent = "marked: copy it with the keyboard";
    }
  });
}

for (const section of document.querySelectorAll(".board-section")) {
  for (const table of section.querySelectorAll("table.board")) board(section, table);
}
document.querySelectorAll(".faces").forEach(faces);
document.querySelectorAll(".copy-button").forEach(copying);
