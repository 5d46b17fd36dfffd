#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| codeswarm_fuzz_targets::consumer_cursors(data));
