//! The layer that lets through what the policy allows.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nebula_credential_core::{
    BoxFuture, Capability, CredentialError, MetricsEmitter, NoMetrics, OpContext, Permission, Plaintext,
    Request, Response,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::floor::Floor;
use crate::gate::{Answer, Asking, First, Gate, Shared};
use crate::policies::Policies;

/// The step in which answers are given that hide whether something exists, unless told otherwise: longer than a local
/// store or a store in the same region takes for a head.
const STEP: Duration = Duration::from_millis(20);

/// Lets through what the policy allows. It stands above the cache: a hit does not bypass it, and what is denied
/// without a look at the record touches nothing below.
///
/// # Panics
/// In a tokio runtime without time enabled, requests that wait do: for the end of a [step](AccessBuilder::answer_step), and
/// for another change of the same credential where they have a deadline. Outside of a runtime the former wait by a thread, and
/// the latter without regard to the deadline.
#[derive(Clone)]
pub struct AccessLayer {
    shared: Arc<Shared>,
    compares: bool,
}

/// Makes an [`AccessLayer`].
pub struct AccessBuilder {
    policies: Policies,
    step: Duration,
    metrics: Arc<dyn MetricsEmitter>,
}

impl AccessBuilder {
    /// The step in which answers are given that hide whether something exists; 20 ms unless told otherwise. It should
    /// be longer than the store takes to answer for a head; zero answers at once, and tells who measures.
    #[must_use]
    pub fn answer_step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// Where measurements go; nowhere unless told otherwise.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The layer.
    pub fn build(self) -> AccessLayer {
        AccessLayer {
            shared: Arc::new(Shared {
                policies: self.policies,
                step: self.step,
                metrics: self.metrics,
                changing: Default::default(),
            }),
            compares: true,
        }
    }
}

impl AccessLayer {
    /// By `policies`.
    pub fn new(policies: Policies) -> Self {
        Self::builder(policies).build()
    }

    /// By `policies`, and as told.
    pub fn builder(policies: Policies) -> AccessBuilder {
        AccessBuilder {
            policies,
            step: STEP,
            metrics: Arc::new(NoMetrics),
        }
    }

    /// Asks for leave to do `work` on the whole store: what no single credential is the subject of, such as a rotation of
    /// its keys. It takes [`Permission::Admin`] [everywhere](crate::AccessPolicy::decide_everywhere). What is decided is
    /// counted, and said in the report of `ctx` if it has one.
    ///
    /// # Errors
    /// [`CredentialError::AccessDenied`].
    pub fn administer(&self, ctx: &OpContext, work: &str) -> Result<(), CredentialError> {
        let wanted = Permission::Admin;
        let verdict = self.shared.policies.load().decide_everywhere(ctx, wanted);
        let gate = Gate {
            shared: Arc::clone(&self.shared),
            ctx: ctx.clone(),
            compares: self.compares,
        };
        gate.decided(Some(wanted), &verdict);
        if verdict.is_allowed() {
            return Ok(());
        }
        Err(CredentialError::access_denied(format!(
            "{} may not do `{work}`, which concerns every tenant; that takes a rule which allows `{}` with tenants = [\"*\"] \
             and no scopes, names or tags: ask whoever keeps the access policy",
            ctx.principal,
            wanted.as_str()
        )))
    }

    /// The same layer for a store that can do `able`; unless told otherwise, one that can compare and set. Through one that
    /// cannot, a change is made without a precondition: what another process does to the same credential between the
    /// look at its head and the change may be overwritten.
    #[must_use]
    pub fn over(&self, able: Capability) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            compares: able.compare_and_set,
        }
    }

    /// The policies it decides by.
    pub fn policies(&self) -> &Policies {
        &self.shared.policies
    }
}

impl std::fmt::Debug for AccessLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLayer")
            .field("policies", &self.shared.policies)
            .field("answer_step", &self.shared.step)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access {
            layer: self.clone(),
            inner,
        }
    }
}

/// The service an [`AccessLayer`] makes.
#[derive(Debug, Clone)]
pub struct Access<S> {
    layer: AccessLayer,
    inner: S,
}

pin_project_lite::pin_project! {
    /// The answer of an [`Access`].
    pub struct AccessFuture<F> {
        #[pin]
        way: Way<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = WayProjected]
    enum Way<F> {
        // Nothing stands between.
        Straight { #[pin] answer: F },
        // The record must be read first, or the answer filtered.
        Careful { answer: BoxFuture<'static, Answer> },
        // Nothing below was touched.
        Refused { answer: Option<CredentialError> },
    }
}

impl<F> From<Way<F>> for AccessFuture<F> {
    fn from(way: Way<F>) -> Self {
        Self { way }
    }
}

impl<F: Future<Output = Answer>> Future for AccessFuture<F> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project().way.project() {
            WayProjected::Straight { answer } => answer.poll(cx),
            WayProjected::Careful { answer } => answer.as_mut().poll(cx),
            WayProjected::Refused { answer } => {
                let twice = || CredentialError::internal("an answer was asked for twice");
                Poll::Ready(Err(answer.take().unwrap_or_else(twice)))
            }
        }
    }
}

impl<S> Service<Request<Plaintext>> for Access<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = AccessFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        let wanted = match Permission::of(&request.op, request.ctx.permission) {
            Ok(wanted) => wanted,
            Err(error) => return Way::Refused { answer: Some(error) }.into(),
        };
        let gate = Gate {
            shared: Arc::clone(&self.layer.shared),
            ctx: request.ctx,
            compares: self.layer.compares,
        };
        let first = match gate.first(&request.op, wanted) {
            First::Refuse(error) => return Way::Refused { answer: Some(error) }.into(),
            first => first,
        };
        // The one that was polled ready serves this call; its clone must be polled anew.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        if matches!(first, First::Pass) {
            return Way::Straight {
                answer: inner.call(Request {
                    ctx: gate.ctx,
                    op: request.op,
                }),
            }
            .into();
        }
        let floor = Floor::begin(gate.shared.step);
        let inner = Asking::of(inner);
        let certain = matches!(first, First::Certain);
        Way::Careful {
            answer: Box::pin(gate.careful(inner, request.op, wanted, certain, floor)),
        }
        .into()
    }
}
