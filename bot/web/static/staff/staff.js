// The staff's browser: the form token for htmx, notices, questions before a deed, and charts. No inline script anywhere.
(() => {
  const token = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRF"] = token();
  });

  function notice(words, tone) {
    const box = document.getElementById("notices");
    if (!box || !words) return;
    const toast = document.createElement("div");
    toast.className = `toast show border-${tone}`;
    toast.setAttribute("role", tone === "danger" ? "alert" : "status");
    const body = document.createElement("div");
    body.className = "toast-body";
    body.textContent = words;
    toast.append(body);
    box.append(toast);
    setTimeout(() => toast.remove(), tone === "danger" ? 9000 : 4000);
  }

  document.addEventListener("notice", (event) => notice(event.detail.value ?? event.detail, "success"));
  document.addEventListener("htmx:responseError", (event) => {
    const answer = event.detail.xhr;
    if (answer.status !== 401) notice(answer.responseText.slice(0, 300), "danger");
  });
  document.addEventListener("htmx:sendError", () => {
    notice(document.documentElement.lang === "en" ? "No connection. Try again." : "网络断开了，请稍后再试。", "danger");
  });

  // <button data-confirm="…">: ask first.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-confirm]");
    if (button && !window.confirm(button.dataset.confirm)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);

  // <div class="chart" data-chart='{…ECharts option…}'>; a page with charts loads echarts itself.
  function draw(root) {
    for (const box of root.querySelectorAll?.("[data-chart]") ?? []) {
      if (!window.echarts) return;
      const chart = window.echarts.getInstanceByDom(box) ?? window.echarts.init(box, null, { renderer: "canvas" });
      chart.setOption({
        textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
        grid: { left: 48, right: 16, top: 32, bottom: 32 },
        aria: { enabled: true },
        ...JSON.parse(box.dataset.chart),
      }, true);
    }
  }
  window.addEventListener("resize", () => {
    for (const box of document.querySelectorAll("[data-chart]")) window.echarts?.getInstanceByDom(box)?.resize();
  });
  document.addEventListener("DOMContentLoaded", () => draw(document));
  document.addEventListener("htmx:load", (event) => draw(event.detail.elt));
})();
