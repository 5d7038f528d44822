#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::stun::check(data));
