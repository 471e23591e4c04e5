//! What a dropped credential leaves in the memory of the process: nothing.
//!
//! One test in this binary, so that nothing else runs while the memory is read.
