// The desk: fetches what changed, keeps the thread at its end, canned replies by /code, typing notices, keys.
(() => {
  const desk = () => document.querySelector(".desk");
  const words = () => document.getElementById("words");
  const toEnd = () => { const thread = document.getElementById("thread"); if (thread) thread.scrollTop = thread.scrollHeight; };
  let seen = {}, typedAt = 0, draftOf = null;

  function watch() {
    const root = desk();
    if (!root) return;
    const source = new EventSource(root.dataset.live);
    source.onmessage = (event) => {
      const state = JSON.parse(event.data);
      for (const [part, id] of [["list", "list"], ["thread", "thread"], ["seats", "seat"]]) {
        const now = JSON.stringify(state[part] ?? null);
        const box = document.getElementById(id);
        if (part in seen && seen[part] !== now && box) window.htmx.trigger(box, part === "seats" ? "seat" : "refresh");
        seen[part] = now;
      }
    };
  }

  // What is half written stays when the conversation is drawn anew, and for another visit to the same ticket.
  const keyOf = () => { const box = document.querySelector(".desk-ticket"); return box ? `draft:${box.dataset.ticket}` : null; };
  function restore() {
    const box = words(), key = keyOf();
    if (box && key && !box.value) box.value = sessionStorage.getItem(key) ?? "";
    toEnd();
  }
  document.addEventListener("input", (event) => {
    if (event.target !== words()) return;
    sessionStorage.setItem(keyOf(), event.target.value);
    typedAt = Date.now();
    suggest(event.target);
  });
  document.addEventListener("htmx:beforeRequest", (event) => { draftOf = event.detail.elt.id === "say" ? keyOf() : null; });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (draftOf && event.detail.successful) { sessionStorage.removeItem(draftOf); if (words()) words().value = ""; }
    draftOf = null;
  });
  document.addEventListener("htmx:afterSwap", restore);

  setInterval(() => {
    const seat = document.getElementById("seat");
    if (seat && !document.hidden) window.htmx.ajax("POST", seat.getAttribute("hx-post"), { target: "#seat", swap: "innerHTML", values: { types: Date.now() - typedAt < 6000 ? "1" : "0" } });
  }, 8000);

  // /code
  function suggest(box) {
    const menu = document.getElementById("canned");
    const typed = box.value.slice(0, box.selectionStart).match(/(?:^|\s)\/([\p{L}\p{N}_-]*)$/u);
    menu.replaceChildren();
    menu.classList.remove("show");
    if (!typed) return;
    const fitting = JSON.parse(box.dataset.canned).filter((one) => one.code.startsWith(typed[1].toLowerCase()) || one.title.includes(typed[1]));
    for (const one of fitting.slice(0, 8)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "dropdown-item";
      button.setAttribute("role", "option");
      button.textContent = `/${one.code}  ${one.title}`;
      button.addEventListener("click", () => {
        const start = box.selectionStart - typed[1].length - 1;
        box.setRangeText(one.text, start, box.selectionStart, "end");
        menu.classList.remove("show");
        gap(box);
      });
      menu.append(button);
    }
    menu.classList.toggle("show", fitting.length > 0);
  }
  function gap(box) {
    const found = box.value.match(/\[\[[^[\]]*\]\]/);
    box.focus();
    if (found) box.setSelectionRange(found.index, found.index + found[0].length);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    if (!button || !words()) return;
    const box = words();
    box.value = box.value ? `${box.value}\n${button.dataset.insert}` : button.dataset.insert;
    gap(box);
  });

  // keys
  document.addEventListener("keydown", (event) => {
    const box = words(), menu = document.getElementById("canned");
    if (event.target === box && event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); box.form.requestSubmit(); return; }
    if (event.target === box && menu?.classList.contains("show") && (event.key === "Tab" || event.key === "Enter")) { event.preventDefault(); menu.firstElementChild.click(); return; }
    if (event.target === box && event.key === "Escape") { menu?.classList.remove("show"); box.blur(); return; }
    if (event.target.closest("input, textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const lines = [...document.querySelectorAll(".desk-lines [data-ticket]")];
    const here = lines.findIndex((one) => one.classList.contains("active"));
    if (event.key === "j") lines[here + 1]?.click();
    else if (event.key === "k") lines[Math.max(0, here - 1)]?.click();
    else if (event.key === "/" && box) { event.preventDefault(); box.focus(); box.setRangeText("/", box.selectionStart, box.selectionEnd, "end"); suggest(box); }
    else if (["r", "n", "t"].includes(event.key)) {
      const button = document.querySelector(`[data-key="${event.key}"]`);
      if (button) { event.preventDefault(); button.click(); if (event.key !== "t") document.getElementById(event.key === "r" ? "words" : "note")?.focus(); }
    }
  });

  document.addEventListener("DOMContentLoaded", () => { watch(); restore(); });
})();
