//! A definition and a statement that logs one of its values.
use nebula_credential::prelude::*;
//@ preamble log

fn block() {
    let credential = MyCredential { password: "hunter2".into(), username: "alice".into() };
    //@ block
}
