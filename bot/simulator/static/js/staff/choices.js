/** The cards one answers by choosing: a vote, several selects, or a select above buttons; then one submit. */

import { h } from "../dom.js";

const MANY = 1; // checkbox.mode: 0 choose one, 1 choose any

/** Nothing for cards without choices; the chosen option ids go to on.press(key, {question_key: [ids]}). */
export function choices(card, pressed, replaced, on) {
  const { checkbox, select_list: selects = [], button_selection: selection, submit_button: submit } = card;
  const questions = [
    ...(checkbox ? [vote(checkbox, pressed)] : []),
    ...[...selects, ...(selection ? [selection] : [])].map((question) => select(question, pressed)),
  ];
  if (!questions.length) return null;
  const send = (event) => {
    event.preventDefault();
    on.press(submit.key, chosen(new FormData(event.target), questions));
  };
  const button = submit
    ? h(
        "button.card-button.style-1",
        { type: "submit", "data-test": "card-submit", disabled: Boolean(pressed || replaced) },
        replaced || (pressed ? "已提交" : submit.text),
      )
    : null;
  return h(
    "form.card-choices",
    { onsubmit: send },
    questions.map(({ element }) => element),
    button ? h("div.card-buttons", {}, button) : null,
  );
}

function chosen(data, questions) {
  return Object.fromEntries(questions.map(({ key }) => [key, data.getAll(key)]));
}

function vote({ question_key: key, mode, option_list: options = [], disable }, pressed) {
  const type = mode === MANY ? "checkbox" : "radio";
  const option = ({ id, text, is_checked: ticked }) =>
    h(
      "label.card-option",
      {},
      h("input", { type, name: key, value: id, checked: Boolean(ticked), disabled: Boolean(pressed || disable) }),
      text,
    );
  return { key, element: h("fieldset", {}, options.map(option)) };
}

function select({ question_key: key, title = "", option_list: options = [], selected_id: selected, disable }, pressed) {
  const field = h(
    "select",
    { name: key, "aria-label": title, disabled: Boolean(pressed || disable) },
    options.map(({ id, text }) => h("option", { value: id }, text)),
  );
  if (selected) field.value = selected;
  return { key, element: h("label.card-select", {}, h("span", {}, title), field) };
}
