// How a tool's parameters are written: flat objects, whose descriptions are what a model reads.

const KEY = { type: "string", minLength: 1, maxLength: 128 };

export const swarmId = { type: "string", description: "The swarm, as codeswarm_launch and codeswarm_status name it." };
export const nodes = {
  type: "string",
  description: 'Which nodes: "all", a rank, or ranks and ranges such as "0,2-4". Ranks begin at 0.',
};
export const key = {
  ...KEY,
  description: "A name that you choose for this call. The same name again never does it twice.",
};
export const promptKey = {
  ...KEY,
  description:
    'A name that you choose for this prompt, such as "review-1"; codeswarm_wait and codeswarm_output take it. The same name ' +
    "again never sends twice.",
};
export const promptName = { ...KEY, description: "The idempotency_key of the prompt." };

/** @param {string} description */
export const text = (description) => ({ type: "string", minLength: 1, description });
/** @param {string} description @param {number} [maximum] @param {number} [minimum] */
export const count = (description, maximum, minimum = 1) => ({
  type: "integer",
  minimum,
  ...(maximum !== undefined && { maximum }),
  description,
});
/** @param {string} description */
export const flag = (description) => ({ type: "boolean", description });

/**
 * @param {Record<string, object>} properties
 * @param {string[]} required
 */
export const parameters = (properties, required) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

/**
 * A selector as the router takes it: models also give numbers and lists.
 * @param {unknown} given
 */
export function selector(given) {
  return Array.isArray(given) ? given.join(",") : typeof given === "number" ? `${given}` : given;
}
