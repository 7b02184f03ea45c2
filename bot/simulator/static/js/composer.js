/** The bar at the bottom of a conversation: grows with the text, sends on Enter, leaves the input method alone. */

import { fill, h } from "./dom.js";

const MAX_ROWS_PX = 120;

/** onSend(text) is called with what was written, trimmed and not empty. `beside` goes between field and button. */
export function composer({ onSend, placeholder = "", before = null, beside = null }) {
  const field = h("textarea", {
    rows: "1",
    placeholder,
    "aria-label": "输入消息",
    "data-test": "composer",
    maxlength: "2000",
    enterkeyhint: "send",
  });
  const button = h("button.send", { type: "submit", "data-test": "send", disabled: true }, "发送");
  const form = h("form.composer", {}, before, field, beside, button);
  const settle = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, MAX_ROWS_PX)}px`;
    button.disabled = !field.value.trim();
    form.classList.toggle("has-text", !button.disabled);
  };
  const send = () => {
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    settle();
    onSend(text);
    field.focus();
  };
  field.addEventListener("input", settle);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return; // 229: the IME took it
    event.preventDefault();
    send();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  return { element: form, field };
}

/** In place of the bar, a sentence saying why one cannot write here. */
export function closedComposer(...sentence) {
  return fill(h("div.composer.closed"), ...sentence);
}
