//! The items of a module that defines a credential and an action that uses it.
//@ preamble context

struct HttpClient;

impl HttpClient {
    fn new() -> Self {
        Self
    }

    fn header(self, _name: &str, _value: String) -> Self {
        self
    }
}

//@ block
