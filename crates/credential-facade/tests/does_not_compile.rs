//! What the types refuse: each program in `ui/` fails to compile, and says why.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
