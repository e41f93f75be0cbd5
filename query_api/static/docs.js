// Renders openapi.json. Text goes in as text, never as HTML.
"use strict";

let spec;

function element(name, content = [], attributes = {}) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...[content].flat());
  return made;
}

function resolve(part) {
  if (!part || !part.$ref) return part;
  return part.$ref.slice(2).split("/").reduce((found, key) => found[key], spec);
}

// `code` and paragraphs are all the Markdown that the document uses.
function prose(text = "") {
  return text.split(/(`[^`]+`)/).map((piece) =>
    piece.startsWith("`") ? element("code", piece.slice(1, -1)) : piece);
}

function paragraphs(text = "") {
  return text.split(/\n\n+/).map((piece) => element("p", prose(piece)));
}

function kind(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `${kind(schema.items)}, repeated`;
  const bounds = [schema.minimum, schema.maximum].some((bound) => bound !== undefined)
    ? ` ${schema.minimum ?? ""}…${schema.maximum ?? ""}` : "";
  const preset = schema.default === undefined ? "" : `, default ${schema.default}`;
  const choices = schema.enum ? `: ${schema.enum.join(" | ")}` : "";
  return `${[schema.type ?? "any"].flat().join(" or ")}${bounds}${choices}${schema.pattern ? ` ${schema.pattern}` : ""}${preset}`;
}

function table(heads, rows) {
  if (!rows.length) return "";
  return element("table", [
    element("thead", element("tr", heads.map((head) => element("th", head)))),
    element("tbody", rows.map((row) => element("tr", row.map((cell) => element("td", cell))))),
  ]);
}

function parameters(operation) {
  return table(["Parameter", "In", "Accepts", "Meaning"], (operation.parameters ?? []).map(resolve).map((it) =>
    [element("code", it.name), it.in, element("code", kind(it.schema)), prose(it.description)]));
}

function examples(content = {}) {
  return Object.entries(content).flatMap(([mediaType, body]) => {
    const values = body.examples ? Object.values(body.examples).map((it) => it.value) : [body.example];
    return [
      element("p", [element("code", mediaType), " ", kind(body.schema)], { className: "dim" }),
      ...values.map((it) => element("pre", typeof it === "string" ? it : JSON.stringify(it, null, 2))),
    ];
  });
}

function response(status, raw) {
  const it = resolve(raw);
  const heads = Object.entries(it.headers ?? {}).map(([name, header]) => {
    const found = resolve(header);
    return [element("code", name), element("code", String(found.example)), prose(found.description)];
  });
  return element("details", [
    element("summary", [element("b", status), " ", ...prose(it.description)]),
    table(["Header", "Example", "Meaning"], heads),
    ...examples(it.content),
  ]);
}

function operation(method, path, it) {
  const key = it.security && !it.security.length ? "Neither key nor token needed." : "";
  return element("details", [
    element("summary", [element("b", method.toUpperCase()), " ", element("code", path), ` ${it.summary}`]),
    ...paragraphs(it.description), key, parameters(it),
    ...Object.entries(it.responses).map(([status, raw]) => response(status, raw)),
  ]);
}

function schema(name, it) {
  return element("details", [
    element("summary", element("code", name)),
    ...paragraphs(it.description),
    table(["Field", "Type", "Meaning"], Object.entries(it.properties ?? {}).map(([field, part]) =>
      [element("code", field), element("code", kind(part)), prose(resolve(part).description)])),
  ]);
}

function render() {
  const operations = Object.entries(spec.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([method]) => method !== "head").map(([method, it]) => [method, path, it]));
  document.getElementById("document").replaceChildren(
    element("h1", spec.info.title),
    element("p", `${spec.info.summary} Version ${spec.info.version}. Each GET can be asked with HEAD too.`),
    ...paragraphs(spec.info.description),
    ...spec.tags.flatMap((tag) => [
      element("h2", tag.name),
      element("p", prose(tag.description)),
      ...operations.filter(([, , it]) => it.tags.includes(tag.name)).map((one) => operation(...one)),
    ]),
    element("h2", "keys and tokens"),
    table(["Scheme", "How"], Object.entries(spec.components.securitySchemes).map(([name, it]) =>
      [element("code", name), prose(it.description)])),
    element("h2", "schemas"),
    ...Object.entries(spec.components.schemas).map(([name, it]) => schema(name, it)),
  );
}

fetch("openapi.json")
  .then((answer) => answer.json())
  .then((read) => { spec = read; render(); })
  .catch((error) => { document.getElementById("document").textContent = `openapi.json cannot be read: ${error}`; });
