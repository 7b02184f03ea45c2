// The condition builder: a tree of questions drawn from the table the server gives, written back as JSON.
(() => {
  const form = document.getElementById("segment");
  if (!form) return;
  const builder = document.getElementById("builder"), area = document.getElementById("definition");
  const kinds = JSON.parse(builder.dataset.kinds), words = JSON.parse(builder.dataset.words);
  const kindOf = (name) => kinds.find((one) => one.is === name);
  let tree = parse();

  function parse() {
    try {
      const read = JSON.parse(area.value);
      return read.is === "all" || read.is === "any" ? read : { is: "all", of: [read] };
    } catch { return { is: "all", of: [] }; }
  }
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (name in made && typeof value !== "string") made[name] = value; else made.setAttribute(name, value);
    made.append(...children);
    return made;
  }
  const get = (leaf, path) => path.split(".").reduce((at, part) => at?.[part], leaf);
  function put(leaf, path, value) {
    const parts = path.split("."), last = parts.pop();
    const empty = value === undefined || value === "" || (Array.isArray(value) && !value.length);
    let at = leaf;
    for (const part of parts) { if (empty && !at[part]) return; at = at[part] ??= {}; }
    if (empty) delete at[last]; else at[last] = value;
    if (parts.length && !Object.keys(get(leaf, parts.join("."))).length) delete leaf[parts[0]];
  }

  let timer = null;
  function changed(redraw) {
    area.value = JSON.stringify(tree, null, 1);
    if (redraw) draw();
    clearTimeout(timer);
    timer = setTimeout(() => window.htmx.trigger("#preview", "preview"), 350);
  }

  function input(leaf, field) {
    const id = `f${Math.random().toString(36).slice(2)}`, box = element("div"), now = get(leaf, field.path);
    box.append(element("label", { for: id }, field.label));
    let control;
    if (field.how === "several" || field.how === "one") {
      control = element("select", { id, class: "form-select form-select-sm", multiple: field.how === "several", size: field.how === "several" ? String(Math.min(4, Math.max(2, field.choices.length))) : "1" });
      for (const [value, label] of field.choices) {
        const chosen = field.how === "several" ? (now ?? []).some((one) => String(one) === String(value)) : String(now) === String(value);
        control.append(element("option", { value: String(value), selected: chosen }, label));
      }
      control.addEventListener("change", () => {
        const picked = [...control.selectedOptions].map((one) => field.choices.find(([value]) => String(value) === one.value)[0]);
        put(leaf, field.path, field.how === "several" ? picked : picked[0]);
        changed(false);
      });
      if (field.how === "one" && now === undefined && field.choices.length) put(leaf, field.path, field.choices[0][0]);
    } else {
      const isNumber = ["whole", "days", "grade", "yuan"].includes(field.how);
      const shown = now === undefined ? "" : field.how === "yuan" ? now / 100 : field.how === "words" ? now.join("、") : now;
      control = element("input", { id, class: "form-control form-control-sm", type: isNumber ? "number" : "text", value: String(shown), min: field.how === "days" || field.how === "grade" ? "1" : "0", step: field.how === "yuan" ? "0.01" : "1" });
      if (field.how === "grade") control.max = "5";
      control.addEventListener("input", () => {
        const text = control.value.trim();
        if (field.how === "yuan") put(leaf, field.path, text === "" ? undefined : Math.round(Number(text) * 100));
        else if (isNumber) put(leaf, field.path, text === "" ? undefined : Number(text));
        else if (field.how === "words") put(leaf, field.path, text.split(/[、,，\s]+/).filter(Boolean));
        else put(leaf, field.path, text);
        changed(false);
      });
    }
    box.append(control);
    return box;
  }
  const button = (text, act, style = "btn-ghost-secondary") => {
    const made = element("button", { type: "button", class: `btn btn-sm ${style}` }, text);
    made.addEventListener("click", act);
    return made;
  };

  function drawLeaf(parent, index) {
    const node = parent.of[index], negated = node.is === "not", leaf = negated ? node.of : node, kind = kindOf(leaf.is);
    if (negated && (leaf.is === "all" || leaf.is === "any")) return drawGroup(leaf, () => { parent.of.splice(index, 1); changed(true); }, true);
    const box = element("div", { class: "builder-leaf" });
    const not = element("select", { class: "form-select form-select-sm", "aria-label": words.not }, element("option", { value: "" }, "✓"), element("option", { value: "not", selected: negated }, words.not));
    not.addEventListener("change", () => { parent.of[index] = not.value ? { is: "not", of: leaf } : leaf; changed(true); });
    const which = element("select", { class: "form-select form-select-sm", "aria-label": words.add });
    for (const one of kinds) which.append(element("option", { value: one.is, selected: one.is === leaf.is }, one.title));
    if (!kind) which.append(element("option", { value: leaf.is, selected: true }, leaf.is));
    which.addEventListener("change", () => { const fresh = { is: which.value }; parent.of[index] = negated ? { is: "not", of: fresh } : fresh; changed(true); });
    box.append(not, which, ...(kind?.fields ?? []).map((field) => input(leaf, field)), button("✕", () => { parent.of.splice(index, 1); changed(true); }));
    box.lastChild.setAttribute("aria-label", words.drop);
    return box;
  }
  function drawGroup(group, drop, negated = false) {
    const box = element("div", { class: "builder-group" });
    const how = element("select", { class: "form-select form-select-sm w-auto d-inline-block", "aria-label": words.all });
    for (const name of ["all", "any"]) how.append(element("option", { value: name, selected: group.is === name }, (negated ? `${words.not} ` : "") + words[name]));
    how.addEventListener("change", () => { group.is = how.value; changed(false); });
    const head = element("div", { class: "mb-2 d-flex gap-2" }, how);
    if (drop) head.append(button("✕", drop));
    box.append(head);
    group.of.forEach((node, index) => box.append(node.is === "all" || node.is === "any" ? drawGroup(node, () => { group.of.splice(index, 1); changed(true); }) : drawLeaf(group, index)));
    box.append(button(`＋ ${words.add}`, () => { group.of.push({ is: "ordered", when: { last_days: 30 } }); changed(true); }), button(`＋ ${words.group}`, () => { group.of.push({ is: "any", of: [{ is: "stage", among: ["loyal"] }] }); changed(true); }));
    return box;
  }
  function draw() { builder.replaceChildren(drawGroup(tree, null)); }

  area.addEventListener("input", () => { tree = parse(); draw(); clearTimeout(timer); timer = setTimeout(() => window.htmx.trigger("#preview", "preview"), 500); });
  document.getElementById("why").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => window.htmx.trigger("#preview", "preview"), 500); });
  draw();
  window.addEventListener("load", () => window.htmx.trigger("#preview", "preview"));
})();
