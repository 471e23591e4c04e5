#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nebula_credential_fuzz::audit_verify(data));
