//! A request that was not sealed does not fit into a store.

use nebula_credential::{Plaintext, Request, StoreHandle};
use tower::Service;

fn forgets_to_seal(mut store: StoreHandle, request: Request<Plaintext>) {
    let _ = store.call(request);
}

fn main() {}
