/** The calls the service made, the latest first, each with what was asked and answered. */

import { h } from "../dom.js";
import { exact } from "../when.js";

const SHOWN = 60;

export function calls() {
  let after = 0;
  const all = [];
  const search = h("input", {
    type: "search",
    placeholder: "按路径筛选，例如 send_msg",
    "aria-label": "按路径筛选",
    oninput: () => draw(),
  });
  const failedOnly = h("input", { type: "checkbox", onchange: () => draw() });
  const body = h("tbody");
  const none = h("p.none");
  const draw = () => {
    const wanted = all
      .filter(({ path, errcode }) => path.includes(search.value.trim()) && (!failedOnly.checked || errcode))
      .slice(0, SHOWN);
    body.replaceChildren(...wanted.flatMap(rows));
    none.textContent = wanted.length
      ? ""
      : all.length
        ? "没有符合条件的调用"
        : "还没有人调用接口。把你的服务指向这里，调用会出现在这张表里。";
  };
  draw();
  return {
    element: h(
      "section.calls",
      { "aria-label": "最近的接口调用" },
      h("header", {}, h("h2", {}, "最近的接口调用"), search, h("label", {}, failedOnly, "只看出错的")),
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["时间", "路径", "应用", "errcode", "请求与回答"].map((name) => h("th", { scope: "col" }, name)),
          ),
        ),
        body,
      ),
      none,
    ),
    path: () => `/sim/log?after=${after}`,
    show: ({ calls: fresh }) => {
      const news = fresh.filter(({ seq }) => seq > after).sort((a, b) => b.seq - a.seq);
      if (!news.length) return;
      after = news[0].seq;
      all.unshift(...news);
      all.length = Math.min(all.length, 1000);
      draw();
    },
  };
}

function rows(call) {
  const detail = h(
    "tr.call-detail",
    { hidden: true },
    h(
      "td",
      { colspan: "5" },
      h("pre", {}, JSON.stringify(call.request, null, 2)),
      h("pre", {}, JSON.stringify(call.response, null, 2)),
    ),
  );
  const toggle = h(
    "button.toggle",
    {
      type: "button",
      "aria-expanded": "false",
      onclick: () => {
        detail.hidden = !detail.hidden;
        toggle.setAttribute("aria-expanded", String(!detail.hidden));
      },
    },
    brief(call.request),
  );
  return [
    h(
      "tr",
      { class: call.errcode ? "failed-call" : null, "data-test": "call" },
      h("td", {}, exact(call.at)),
      h("td", {}, h("code", {}, call.path)),
      h("td", {}, call.agentid ?? ""),
      h("td.errcode", {}, call.errcode),
      h("td", {}, toggle),
    ),
    detail,
  ];
}

const BRIEF = 80;

function brief(request) {
  const text = JSON.stringify(request ?? {});
  return text.length > BRIEF ? `${text.slice(0, BRIEF)}…` : text;
}
