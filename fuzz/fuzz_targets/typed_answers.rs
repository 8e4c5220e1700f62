#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| metalstrap_fuzz::targets::typed_answers(data));
