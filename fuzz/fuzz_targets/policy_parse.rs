#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nebula_credential_fuzz::policy_parse(data));
