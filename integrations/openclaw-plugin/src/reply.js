// What a model or a person reads: short enough, and without what would move a cursor. Pure.

/** The longest reply of a tool, in characters. OpenClaw shows a model 16,000 of a result at least. */
export const LONGEST_REPLY = 12_000;

/** @param {unknown} value */
export function replyText(value) {
  return JSON.stringify(value, null, 2);
}

/** @param {unknown} value */
export function fits(value) {
  return replyText(value).length <= LONGEST_REPLY;
}

/**
 * Takes away from the end of the list named `list` until the reply fits; returns how many are left.
 * @param {Record<string, any>} value
 * @param {string} list
 */
export function shortened(value, list) {
  while (!fits(value) && value[list].length > 0) value[list].length = Math.floor((value[list].length * 9) / 10);
  return value[list].length;
}

const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Without what a terminal obeys.
 * @param {string} text
 */
export function plain(text) {
  return text.replace(ESCAPES, "").replace(CONTROLS, "");
}

/**
 * The beginning of a text, and whether it is all of it. No character is cut in two.
 * @param {string} text
 * @param {number} characters
 * @returns {[head: string, isAll: boolean]}
 */
export function head(text, characters) {
  const taken = characters * 4 + 64;
  const shown = plain(text.slice(0, taken).replace(/\u001b(?:\[[0-?]*[ -/]*)?$/, ""));
  if (shown.length <= characters && text.length <= taken) return [shown, true];
  return [`${whole(shown, characters)}…`, false];
}

/**
 * The end of a text.
 * @param {string} text
 * @param {number} characters
 */
export function tail(text, characters) {
  if (text.length <= characters) return text;
  const start = text.length - characters;
  return text.slice(isLow(text, start) ? start + 1 : start);
}

/**
 * So many characters of a text, one less where the last would be half a pair.
 * @param {string} text
 * @param {number} characters
 */
export function whole(text, characters) {
  return text.slice(0, isLow(text, characters) ? characters - 1 : characters);
}

/** @param {string} text @param {number} at */
function isLow(text, at) {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}

/**
 * Ranks as they are typed: `0-3,7`.
 * @param {Iterable<number>} nodes
 */
export function ranks(nodes) {
  const sorted = [...new Set(nodes)].sort((one, other) => one - other);
  /** @type {[number, number][]} */
  const runs = [];
  for (const node of sorted) {
    const last = runs.at(-1);
    if (last && last[1] + 1 === node) last[1] = node;
    else runs.push([node, node]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

/**
 * Whether such a text names this node; anything else names none.
 * @param {string} text
 * @param {number} node
 */
export function names(text, node) {
  return text.split(",").some((range) => {
    const found = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(range);
    return found !== null && Number(found[1]) <= node && node <= Number(found[2] ?? found[1]);
  });
}

/**
 * How many of something, as a person says it.
 * @param {number} count
 * @param {string} what
 */
export function many(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
