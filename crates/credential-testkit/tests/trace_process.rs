//! A capture of the whole process hears every thread.

use nebula_credential_testkit::{Canary, LeakHunter, TraceCapture};

#[test]
fn other_threads_are_heard() {
    let (canary, capture) = (Canary::text(), TraceCapture::new());
    let hunter = LeakHunter::new().hunt("canary", &canary);
    capture.capture_process().unwrap();
    assert!(
        TraceCapture::new().capture_process().is_err(),
        "there is one for each process"
    );
    let secret = canary.secret();
    std::thread::spawn(move || tracing::trace!(%secret, "elsewhere"))
        .join()
        .unwrap();
    assert!(capture.text().contains("elsewhere"));
    assert!(!hunter.search(capture.take()).is_empty());
    hunter.check("the rest", capture.text());
}
