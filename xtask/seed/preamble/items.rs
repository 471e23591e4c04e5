//! The items of a module.
//@ block
