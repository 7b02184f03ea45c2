/** 群发助手: tasks the company asks this employee to send. Nothing reaches a customer before 发送 is pressed. */

import { post } from "../api.js";
import { content } from "../bubbles.js";
import { confirmed, fill, h, icon, ICONS } from "../dom.js";
import { exact, shortTime } from "../when.js";
import { gone } from "./messages.js";
import { group } from "./rows.js";

const WAITING = 0;
const SENT = 2;

export const tasks = {
  key: "tasks",
  title: "群发助手",
  glyph: "horn",
  nothing: "选一条群发任务看看内容，确认后发送",
  waiting: ({ tasks: all }) => all.filter(({ status }) => status === WAITING).length,
  list,
  open: (client, id) =>
    client.world.tasks.some(({ msgid }) => msgid === id) ? new Task(client, id) : gone(client, "找不到这条群发任务"),
};

function list(client) {
  const all = [...client.world.tasks].sort((a, b) => b.created_at - a.created_at);
  const draw = (task) => taskRow(client, task);
  return [
    group(
      "等你确认",
      all.filter(({ status }) => status === WAITING),
      draw,
      "没有待发送的群发",
    ),
    group(
      "已处理",
      all.filter(({ status }) => status !== WAITING),
      draw,
      "还没有处理过群发",
    ),
  ];
}

function taskRow(client, task) {
  const current = client.place.open === task.msgid ? "true" : null;
  return h(
    "li",
    {},
    h(
      "button.row",
      {
        type: "button",
        "aria-current": current,
        "data-test": "task",
        "data-id": task.msgid,
        onclick: () => client.go({ open: task.msgid }),
      },
      h("span.avatar.glyph", { "aria-hidden": "true" }, icon(ICONS[task.chat_type === "group" ? "people" : "horn"])),
      h(
        "span.row-main",
        {},
        h(
          "span.row-line",
          {},
          h("b", {}, `${audience(task)} · ${STATUS_WORDS[task.status] || task.status}`),
          h("time", {}, shortTime(task.created_at)),
        ),
        h("span.row-last", {}, wordsOf(task) || `[${task.attachments.length} 个附件]`),
      ),
    ),
  );
}

const wordsOf = ({ text }) => (typeof text === "string" ? text : text?.content || "");
const audience = ({ chat_type: type, targets }) => (type === "group" ? `${targets} 个客户群` : `${targets} 位客户`);
const STATUS_WORDS = { 0: "待发送", 2: "已发送", cancelled: "已取消" };

class Task {
  constructor(client, id) {
    Object.assign(this, { client, id });
    this.element = h("div.talk");
    this.refresh();
  }

  get task() {
    return this.client.world.tasks.find(({ msgid }) => msgid === this.id);
  }

  refresh() {
    const { task } = this;
    if (!task) return;
    fill(
      this.element,
      h(
        "header.detail-head",
        {},
        this.client.back(),
        h(
          "div",
          {},
          h("h1", {}, `群发给 ${audience(task)}`),
          h(
            "small",
            {},
            `${exact(task.created_at)} 由企业创建${task.reminders ? ` · 已提醒 ${task.reminders} 次` : ""}`,
          ),
        ),
      ),
      h("div.task-body", {}, this.preview(task), outcome(task)),
      h("footer.task-foot", {}, this.button(task)),
    );
  }

  preview(task) {
    const { attachments, targets, target_names: names = [] } = task;
    const on = { open: (url) => this.client.browse(url), say: () => {} };
    const words = wordsOf(task);
    const bubble = (message, bare) => h(bare ? "div.bubble.bare" : "div.bubble", {}, content(message, on));
    return h(
      "div.task-preview",
      { "data-test": "task-preview" },
      h("p.task-targets", {}, `发给：${names.join("、")}${targets > names.length ? ` 等 ${audience(task)}` : ""}`),
      h("h2", {}, "客户会看到"),
      words ? bubble({ msgtype: "text", text: { content: words } }) : null,
      attachments.map((attachment) => bubble(attachment, true)),
    );
  }

  button(task) {
    if (task.status === "cancelled") return h("p", {}, "这条群发已被企业取消，不能再发送。");
    if (task.status !== WAITING) return h("p", {}, "已经发送过了。");
    return [
      h("p", {}, "发送后会以你的名义发出，不能撤回。"),
      h("button.primary", { type: "button", "data-test": "send-task", onclick: () => this.send() }, "发送"),
    ];
  }

  async send() {
    if (!(await confirmed(`把这条消息发给 ${audience(this.task)}？`, { yes: "发送" }))) return;
    await this.client.attempt(() => post(this.client.path("tasks", this.id, "send")));
    await this.client.reload();
  }
}

/** What the sending came to: how many got it, and why the others did not. */
function outcome({ status, chat_type: type, sent, failed = [] }) {
  if (status !== SENT) return null;
  const unit = type === "group" ? "个群" : "位客户";
  const why = new Map();
  for (const one of failed) why.set(one.status, (why.get(one.status) || 0) + 1);
  return h(
    "div.task-result",
    { role: "status", "data-test": "task-result" },
    h("b", {}, `已发给 ${sent} ${unit}`),
    [...why].map(([reason, count]) => h("p", {}, `${count} ${unit}没有收到：${FAILURES[reason] || "原因未知"}`)),
  );
}

const FAILURES = { 2: "已不是好友", 3: "这段时间收到的群发已到上限" };
