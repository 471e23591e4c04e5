//! The counter-example: it compiles, which is the trouble with it.
use std::env;
//@ preamble log

fn block() {
    //@ block
}
