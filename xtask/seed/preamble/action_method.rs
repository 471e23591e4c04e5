//! A method of an action that uses the credential of the Quick Start.
//@ include github_type
//@ preamble context

mod octocrab {
    pub(super) struct Octocrab;
    pub(super) struct Builder;

    impl Octocrab {
        pub(super) fn builder() -> Builder {
            Builder
        }
    }

    impl Builder {
        pub(super) fn personal_token(self, _token: String) -> Self {
            self
        }

        pub(super) fn build(self) -> Result<Octocrab, std::fmt::Error> {
            Ok(Octocrab)
        }
    }
}

struct Action;

impl Action {
    //@ block
}
