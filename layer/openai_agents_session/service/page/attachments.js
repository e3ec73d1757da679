// Files that go with a message, as content parts of the SDK's: {type: "input_image" | "input_file", ...}.

import { $, el, iconButton, say } from "./elements.js";

const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const MOST_BYTES = 4_000_000;  // in all: a request to Lambda has 6 MB, and base64 makes four bytes of three
const MOST_FILES = 20;

let files = [];  // {name, type, size, url}
let changed = () => {};

export const isEmpty = () => files.length === 0;

/** Takes the files off the composer, as parts. */
export function take() {
  const parts = files.map(partOf);
  set([]);
  return parts;
}

export function giveBack(parts) {
  set(parts.filter((part) => part.type !== "input_text").map((part) => {
    const url = part.image_url || part.file_data;
    return { name: part.filename || "picture", type: /^data:([^;,]*)/.exec(url)?.[1] || "", size: url.length * 0.75, url };
  }));
}

function partOf({ name, type, url }) {
  return IMAGES.includes(type) ? { type: "input_image", image_url: url } : { type: "input_file", filename: name, file_data: url };
}

async function add(chosen) {
  const wanted = [...chosen];
  const size = [...files, ...wanted].reduce((sum, file) => sum + file.size, 0);
  if (size > MOST_BYTES) return refuse(`Files may have ${MOST_BYTES / 1e6} MB together, these have ${(size / 1e6).toFixed(1)} MB.`);
  if (files.length + wanted.length > MOST_FILES) return refuse(`A message may have ${MOST_FILES} files.`);
  if (wanted.some((file) => !file.size)) return refuse("An empty file, or a folder, cannot be attached.");
  const read = await Promise.all(wanted.map(async (file) => (
    { name: file.name, type: file.type, size: file.size, url: await dataUrl(file) }
  ))).catch(() => null);
  if (!read) return refuse("The file could not be read.");
  set([...files, ...read]);
  say(`Attached ${read.map((file) => file.name).join(", ")}.`);
}

function refuse(reason) {
  changed(reason);
  say(reason);
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.replace(/^data:[^;,]*/, `data:${file.type || "application/octet-stream"}`)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

function set(next) {
  files = next;
  $("attached").replaceChildren(...files.map((file) => {
    const picture = IMAGES.includes(file.type) ? [el("img", { src: file.url, alt: "" })] : [];
    return el("li", {}, ...picture, el("span", { textContent: file.name, title: file.name }),
      iconButton("close", `Remove ${file.name}`, () => { set(files.filter((one) => one !== file)); $("message").focus(); }));
  }));
  changed("");
}

/** Lets files be chosen, pasted and dropped; `notice` is told what is wrong, or "" when files have changed. */
export function start(notice) {
  changed = notice;
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => { add($("files").files); $("files").value = ""; });
  $("message").addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); add(event.clipboardData.files); }
  });
  const over = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => { if (over(event)) { event.preventDefault(); $("composer").classList.add("over"); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("composer").classList.remove("over"); });
  addEventListener("drop", (event) => {
    $("composer").classList.remove("over");
    if (over(event)) { event.preventDefault(); add(event.dataTransfer.files); }
  });
}
