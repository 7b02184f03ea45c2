// The planner of flash sales: an article more or less is a change of the form, too.
(() => {
  const recheck = () => document.querySelector("#check")?.dispatchEvent(new Event("recheck"));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-drop-row]");
    if (!button) return;
    button.closest("[data-row]").remove();
    recheck();
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest("#sale")) recheck();
  });
})();
