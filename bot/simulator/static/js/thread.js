/** One conversation on screen: bubbles in order with times between, drafts that may fail, and the scroll position. */

import { avatar } from "./avatar.js";
import { BARE, content } from "./bubbles.js";
import { h, toast } from "./dom.js";
import { longTime } from "./when.js";

const GAP_SECONDS = 300; // a longer silence gets a line with the time, as in WeChat
const NEAR_BOTTOM_PX = 120;
const PICTURE_PX = 400; // a picture is at most so tall, with what stands around it
const PAGE = 100;

export class Thread {
  /**
   * isMine(message): on the right. on: what taps do (see bubbles.content), and recall(message) where it is allowed.
   * load({after, before, limit}): messages from the simulator, oldest first. names: show who speaks (groups).
   */
  constructor({ isMine, on, load, names = false }) {
    Object.assign(this, { isMine, on, load, names });
    this.messages = new Map(); // seq -> {message, element}
    this.firstSeq = Infinity;
    this.lastSeq = 0;
    this.drafts = [];
    this.list = h("div.thread-list", { role: "log", "aria-live": "polite", "aria-label": "聊天记录" });
    this.pending = h("div.thread-drafts");
    this.element = h(
      "div.thread",
      { tabindex: "0", "aria-label": "聊天内容", onscroll: () => this.loadEarlier() },
      this.list,
      this.pending,
    );
    this.element.addEventListener("load", () => this.isNearBottom(PICTURE_PX) && this.toBottom(), true); // a picture grew
  }

  async open() {
    const { messages } = await this.load({ limit: PAGE });
    this.reachedStart = messages.length < PAGE;
    messages.forEach((message) => this.upsert(message));
    this.toBottom();
  }

  /** After a broken stream: what came meanwhile. Pages until nothing is new, so a long absence is caught up too. */
  async catchUp() {
    let reached;
    do {
      reached = this.lastSeq;
      const { messages } = await this.load({ after: reached, limit: PAGE });
      messages.forEach((message) => this.upsert(message));
    } while (this.lastSeq > reached);
  }

  async loadEarlier() {
    if (this.element.scrollTop > 40 || this.reachedStart || this.loading || !this.messages.size) return;
    this.loading = true;
    try {
      const { messages } = await this.load({ before: this.firstSeq, limit: PAGE });
      const fromBottom = this.element.scrollHeight - this.element.scrollTop;
      this.reachedStart = messages.length < PAGE;
      messages.forEach((message) => this.upsert(message));
      this.element.scrollTop = this.element.scrollHeight - fromBottom;
    } catch (failure) {
      toast(failure.message);
    } finally {
      this.loading = false;
    }
  }

  /** Show a message, or show it again when it changed (recalled). A draft of ours with the same content gives way. */
  upsert(message) {
    const known = this.messages.get(message.seq);
    const atBottom = this.isNearBottom();
    const element = this.row(message);
    if (known) known.element.replaceWith(element);
    else {
      if (this.isMine(message)) this.dropDraftLike(message);
      this.place(message, element);
    }
    this.messages.set(message.seq, { message, element });
    this.firstSeq = Math.min(this.firstSeq, message.seq);
    this.lastSeq = Math.max(this.lastSeq, message.seq);
    this.settleTimes(message.seq);
    if (!known && atBottom) this.toBottom();
  }

  place(message, element) {
    if (message.seq > this.lastSeq) {
      this.list.append(element);
      return;
    }
    const later = [...this.messages.keys()].filter((seq) => seq > message.seq);
    const next = later.length ? this.messages.get(Math.min(...later)).element : null;
    this.list.insertBefore(element, next);
  }

  /** A time line stands before a message when the silence before it was long. Only this row and the next can change. */
  settleTimes(seq) {
    const { element } = this.messages.get(seq);
    for (const row of [element, element.nextElementSibling]) {
      if (!row) continue;
      const before = row.previousElementSibling;
      const silent = !before || row.dataset.at - before.dataset.at > GAP_SECONDS;
      row.classList.toggle("after-silence", silent);
    }
  }

  row(message) {
    const { from, at } = message;
    const side = this.isMine(message) ? "mine" : "theirs";
    const time = h("div.thread-time", { role: "presentation" }, longTime(at));
    const row = h("div.thread-row", { "data-at": at, "data-seq": message.seq }, time);
    if (message.recalled) row.append(systemLine(message, recallSentence(message, side)));
    else if (from.kind === "system" || message.msgtype === "event")
      row.append(systemLine(message, eventSentence(message)));
    else row.append(this.bubble(message, side));
    return row;
  }

  bubble(message, side) {
    const { from } = message;
    const bare = BARE.has(message.msgtype) ? ".bare" : "";
    const recall =
      side === "mine" && from.kind !== "bot" && this.on.recall && message.seq
        ? h("button.recall", { type: "button", onclick: () => this.on.recall(message) }, "撤回")
        : null;
    return h(
      `div.message.${side}`,
      {},
      avatar(from),
      h(
        "div.message-body",
        {},
        this.names && side === "theirs" ? h("small.message-name", {}, from.name) : null,
        h(
          `div.bubble${bare}`,
          { "data-test": "bubble", "data-from": from.kind, "data-seq": message.seq },
          content(message, this.on.rate ? { ...this.on, rate: (type) => this.on.rate(message, type) } : this.on),
        ),
      ),
      recall,
    );
  }

  /** Show at once as sending; then the simulator's copy, or a mark that a tap tries again. */
  async send(payload, deliver, me) {
    const message = { seq: 0, from: me, at: 0, recalled: false, ...payload };
    const row = h("div.thread-row", {}, this.bubble(message, "mine"));
    const draft = { payload, row, mark: h("span.sending", { role: "status", "aria-label": "正在发送" }) };
    row.querySelector(".message").append(draft.mark);
    this.drafts.push(draft);
    this.pending.append(row);
    this.toBottom();
    await this.deliver(draft, deliver);
  }

  async deliver(draft, deliver) {
    try {
      const message = await deliver(draft.payload);
      this.dropDraft(draft);
      if (message?.seq) this.upsert(message);
    } catch (failure) {
      this.markFailed(draft, failure, () => this.deliver(draft, deliver));
    }
  }

  markFailed(draft, failure, retry) {
    const again = () => {
      const sending = h("span.sending", { role: "status", "aria-label": "正在发送" });
      draft.mark.replaceWith(sending);
      draft.mark = sending;
      retry();
    };
    const label = `没有发出去：${failure.message}。点一下重试`;
    const mark = h(
      "button.failed",
      { type: "button", title: label, "aria-label": label, "data-test": "retry", onclick: again },
      "!",
    );
    draft.mark.replaceWith(mark);
    draft.mark = mark;
  }

  dropDraft(draft) {
    draft.row.remove();
    this.drafts = this.drafts.filter((other) => other !== draft);
  }

  /** The stream may bring our own message before the answer to our request does. */
  dropDraftLike(message) {
    const same = ({ payload }) =>
      payload.msgtype === message.msgtype && payload.text?.content === message.text?.content;
    const draft = this.drafts.find(same);
    if (draft) this.dropDraft(draft);
  }

  isNearBottom(tolerance = NEAR_BOTTOM_PX) {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < tolerance;
  }

  toBottom() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}

function systemLine(message, sentence) {
  return h("div.system-line", { "data-test": "bubble", "data-from": "system", "data-seq": message.seq }, sentence);
}

function recallSentence(message, side) {
  return side === "mine" ? "你撤回了一条消息" : `“${message.from.name}”撤回了一条消息`;
}

function eventSentence(message) {
  return message.event?.content || message.text?.content || "会话有新的变化";
}
