// The filters work without this. With it, an address holds what is filled in alone, and waiting is seen.
"use strict";

const form = document.querySelector(".filter-form");

form?.addEventListener("submit", () => {
  for (const field of form.querySelectorAll("input, select")) {
    if (!field.value || (field.name === "page_size" && field.value === "50")) field.disabled = true;
  }
  const button = form.querySelector("[data-busy]");
  button.dataset.idle = button.textContent;
  button.textContent = button.dataset.busy;
  button.setAttribute("aria-busy", "true");
});

// Who comes back finds the form as it was.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted || !form) return;
  for (const field of form.querySelectorAll(":disabled")) field.disabled = false;
  const button = form.querySelector("[data-idle]");
  if (!button) return;
  button.textContent = button.dataset.idle;
  button.removeAttribute("aria-busy");
});
