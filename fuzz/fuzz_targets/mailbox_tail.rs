#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| codeswarm_fuzz_targets::mailbox_tail(data));
