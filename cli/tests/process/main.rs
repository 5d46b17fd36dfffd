//! The `codeswarm` program as a process: against nothing, against a router that misbehaves, and against the real one.

// `cfg(test)` always holds here; it tells the lints that these are tests through and through.
#[cfg(test)]
mod fake_router;
#[cfg(test)]
mod real_router;
#[cfg(test)]
mod support;
#[cfg(test)]
mod without_router;
