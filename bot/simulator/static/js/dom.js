/** Builds elements from data. Text always becomes a text node, so nothing a person types can turn into markup. */

const SVG = "http://www.w3.org/2000/svg";

/** h("div.row.big", {title: "…", onclick: f}, "text", child): attributes that are null or false are left out. */
export function h(selector, attributes = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** Replace everything inside `element`. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** A line icon of 24×24 from its path data. */
export function icon(pathData) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  path.setAttribute("d", pathData);
  svg.append(path);
  return svg;
}

export const ICONS = {
  chat: "M21 11.5a8.4 8.4 0 0 1-9 8 10 10 0 0 1-3.6-.7L4 20l1.1-3.6A7.6 7.6 0 0 1 3 11.5a8.4 8.4 0 0 1 9-8 8.4 8.4 0 0 1 9 8z",
  people:
    "M16 20v-1.5a4 4 0 0 0-4-4H6.5a4 4 0 0 0-4 4V20M9.2 11a3.7 3.7 0 1 0 0-7.4 3.7 3.7 0 0 0 0 7.4M21.5 20v-1.5a4 4 0 0 0-3-3.8M15.5 3.8a3.7 3.7 0 0 1 0 7.1",
  compass: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19M15.8 8.2l-2.1 5.5-5.5 2.1 2.1-5.5z",
  person:
    "M19.5 20.5v-1.8a4.2 4.2 0 0 0-4.2-4.2H8.7a4.2 4.2 0 0 0-4.2 4.2v1.8M12 11a3.9 3.9 0 1 0 0-7.8A3.9 3.9 0 0 0 12 11",
  back: "M15 4.5 7.5 12l7.5 7.5",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19M12 7.5v9M7.5 12h9",
  more: "M4.5 12a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0M11.5 12a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0M18.5 12a.5.5 0 1 0 1 0 .5.5 0 1 0-1 0",
  picture: "M4 4.5h16v15H4zM8.5 10a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6M20 15.5l-5-5-9 9",
  place: "M12 21.5s7-6.5 7-11.7A7 7 0 0 0 5 9.8c0 5.2 7 11.7 7 11.7zM12 12.3a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2",
  link: "M10 13.5a4.5 4.5 0 0 0 6.7.5l2.6-2.6a4.5 4.5 0 0 0-6.4-6.4L11.5 6.5M14 10.5a4.5 4.5 0 0 0-6.7-.5l-2.6 2.6a4.5 4.5 0 0 0 6.4 6.4l1.4-1.5",
  scan: "M3.5 8V4.5H7M17 4.5h3.5V8M20.5 16v3.5H17M7 19.5H3.5V16M3.5 12h17",
  headset: "M4 14v-2a8 8 0 0 1 16 0v2M4 14h2.5v5H5a1 1 0 0 1-1-1zM20 14h-2.5v5H19a1 1 0 0 0 1-1zM19 19c0 2-3 2.5-5 2.5",
  horn: "M4 10v4h3l8 4.5v-13L7 10zM18 9.5a3.5 3.5 0 0 1 0 5",
  apps: "M4 4h6.5v6.5H4zM13.5 4H20v6.5h-6.5zM4 13.5h6.5V20H4zM13.5 13.5H20V20h-6.5z",
  search: "M10.5 17.5a7 7 0 1 0 0-14 7 7 0 0 0 0 14M15.8 15.8 20.5 20.5",
  file: "M6 3h8l4.5 4.5V21H6zM14 3v5h4.5",
  play: "M8 5.5v13l10.5-6.5z",
  wait: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19M12 7v5.5l3.5 2",
};

/** A sentence shown for a moment over everything, read out by screen readers. */
export function toast(sentence) {
  document.querySelector(".toast")?.remove();
  const note = h("div.toast", { role: "status" }, sentence);
  document.body.append(note);
  setTimeout(() => note.remove(), 2600);
}

/** Ask before something that cannot be undone. Resolves to true only when the person agrees. */
export function confirmed(question, { yes = "确定", danger = false, inside = document.body } = {}) {
  const dialog = h("dialog.ask", { "aria-label": question });
  const choose = (answer) => () => dialog.close(answer);
  dialog.append(
    h("p", {}, question),
    h(
      "div.ask-buttons",
      {},
      h("button", { type: "button", onclick: choose("no") }, "取消"),
      h(danger ? "button.danger" : "button.yes", { type: "button", "data-test": "yes", onclick: choose("yes") }, yes),
    ),
  );
  showOver(inside, dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

/** Open a dialog over one element of the page (the phone, not the whole screen); it goes away when closed. */
export function showOver(element, dialog) {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  const place = { "--x": (left + right) / 2, "--y": (top + bottom) / 2, "--bottom": window.innerHeight - bottom };
  for (const [name, pixels] of Object.entries(place)) dialog.style.setProperty(name, `${pixels}px`);
  element.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}
