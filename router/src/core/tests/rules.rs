//! The core's rules one by one, each with the history that once broke it.
