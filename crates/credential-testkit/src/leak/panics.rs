use std::backtrace::Backtrace;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

/// The panic hook belongs to the process: one capture at a time.
static HOOK: Mutex<()> = Mutex::new(());

/// What a person sees of the panics while `action` runs, on whatever thread: their messages, places and backtraces.
/// `None` if `action` itself returns.
///
/// Panics of this thread are not printed; those of others are, too.
pub fn panic_text<T>(action: impl FnOnce() -> T) -> Option<String> {
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let text = Arc::new(Mutex::new(String::new()));
    let previous = Arc::new(panic::take_hook());
    let (me, heard, printed) = (
        std::thread::current().id(),
        Arc::clone(&text),
        Arc::clone(&previous),
    );
    panic::set_hook(Box::new(move |panic| {
        let mut text = heard.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(text, "{panic}\n{panic:?}\n{}", Backtrace::force_capture()).unwrap_or_default();
        drop(text);
        if std::thread::current().id() != me {
            printed(panic);
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(action));
    drop(panic::take_hook());
    if let Ok(previous) = Arc::try_unwrap(previous) {
        panic::set_hook(previous);
    }
    result.err()?;
    let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
    Some(std::mem::take(&mut *text))
}
