//! Lists of what a principal may know of.

use nebula_credential_core::{CredentialError, Cursor, List, Op, Page, Plaintext, Request, Response, limits};
use tower_service::Service;

use crate::gate::{Asking, Gate};
use crate::rule::Known;

/// The rule that is reported for a list that holds what one may know of.
pub const LIST_FILTER: &str = "filter";

/// One page of what may be known, as full as it would be if there were nothing else.
///
/// One entry more than the page holds is looked for, so that a next page is promised only where one is.
pub(crate) async fn filtered<S>(
    gate: &Gate,
    inner: &mut Asking<S>,
    list: List,
) -> Result<Page, CredentialError>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    let size = list.page_size();
    let mut items = Vec::new();
    let mut after = list.after.clone();
    loop {
        gate.ctx.check_deadline()?;
        let op = List {
            limit: (size + 1 - items.len()).clamp(SMALLEST_READ, limits::PAGE),
            after,
            ..list.clone()
        };
        let page = inner.ask(gate.aside(Op::List(op))).await?.into_page()?;
        for head in page.items {
            let verdict = gate.verdict(&head.id, None, Known::Head(&head));
            if verdict.is_allowed() && list.matches(&head) && items.len() <= size {
                items.push(head);
            }
        }
        after = page.next;
        if items.len() > size || after.is_none() {
            break;
        }
    }
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(|head| Cursor {
        scope: head.id.scope().clone(),
        name: head.id.name().clone(),
    });
    Ok(Page { items, next })
}

/// Reads fewer only where the store has fewer: what is hidden would make many of small ones.
const SMALLEST_READ: usize = 100;
