//! What does not compile, and what the compiler says: it names the field and the remedy.
//!
//! `TRYBUILD=overwrite` writes the expected messages anew.

#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
