// The two macros of the `log` crate that are used, with its arguments.
mod log {
    macro_rules! line {
        ($($argument:tt)*) => {
            println!($($argument)*)
        };
    }
    pub(super) use line as debug;
    pub(super) use line as info;
}
