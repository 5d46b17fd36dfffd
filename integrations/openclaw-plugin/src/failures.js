// Why a call has no answer, each as one sentence that says what to do.

/** The router says no. */
export class Refused extends Error {
  /** @param {string} code @param {string} reason */
  constructor(code, reason) {
    super(reason);
    this.name = "Refused";
    this.code = code;
  }
}

/** Nobody waits any longer; what was asked for may happen all the same. */
export class Late extends Error {
  name = "Late";
}

/** Anything else. */
export class Failed extends Error {
  name = "Failed";
}

/** @param {AbortSignal | undefined} signal */
export function aborted(signal) {
  const reason = signal?.reason;
  return reason instanceof Error ? reason : new Failed("the call was cancelled; what was asked for goes on");
}

/**
 * Whether the router does not know a request of this name.
 * @param {unknown} error
 */
export function isUnknownRequest(error) {
  return error instanceof Refused && error.code === "unknown_request";
}
