// Every page works without this. With it, what was opened closes again, and code can be copied.
"use strict";

const OPEN = "details.exact[open], details.menu[open]";

function closeAll(except) {
  for (const opened of document.querySelectorAll(OPEN)) {
    if (!except || !opened.contains(except)) opened.open = false;
  }
}

document.addEventListener("click", (event) => closeAll(event.target));

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const opened = document.activeElement?.closest(OPEN) ?? document.querySelector(OPEN);
  closeAll();
  opened?.querySelector("summary").focus();
});

// Where the tabs are wider than the screen, the open one is not the one out of sight.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

function addCopyButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-plain copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const frame = document.createElement("div");
  frame.className = "copyable";
  block.replaceWith(frame);
  frame.append(block, button);
}

// A second click would send a form again whose answer is shown once, and the first answer would be lost.
document.addEventListener("submit", (event) => {
  if (!event.target.matches(".once")) return;
  for (const button of event.target.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
});

window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll(".once button")) button.disabled = false;
});

if (navigator.clipboard) document.querySelectorAll(".code-block:not(.answer)").forEach(addCopyButton);
