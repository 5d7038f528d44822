#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::estimate::check(data));
