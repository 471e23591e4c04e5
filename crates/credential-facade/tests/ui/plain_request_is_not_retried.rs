//! Only sealed requests may be copied, as a retry must.

use nebula_credential::{Plaintext, Request, Sealed};

fn sealed(request: &Request<Sealed>) -> Request<Sealed> {
    request.clone()
}

fn plain(request: &Request<Plaintext>) -> Request<Plaintext> {
    Clone::clone(request)
}

fn main() {}
