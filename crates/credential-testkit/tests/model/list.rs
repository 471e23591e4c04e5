//! Pages of a list.

use std::time::Duration;

use nebula_credential_core::{List, Page, Tags};

use super::{Mistake, Model};

impl Model {
    pub(super) fn page(&self, mut op: List) -> Page {
        let entries = self.entries();
        let kept = entries
            .values()
            .filter(|entry| !entry.kept.is_empty())
            .map(|entry| entry.head.clone());
        let mut heads: Vec<_> = kept.collect();
        heads.sort_by(|a, b| a.id.cmp(&b.id));
        let asked = op.clone();
        match self.mistake {
            Mistake::LikePrefix | Mistake::CaseFoldedPrefix => {
                let prefix = op.prefix.take().unwrap_or_default();
                let like = |name: &str| {
                    let one = |(p, c): (char, char)| {
                        p == c
                            || (p == '_' && self.is(Mistake::LikePrefix))
                            || (p.eq_ignore_ascii_case(&c) && self.is(Mistake::CaseFoldedPrefix))
                    };
                    name.len() >= prefix.len() && prefix.chars().zip(name.chars()).all(one)
                };
                heads.retain(|head| like(head.id.name().as_str()));
            }
            Mistake::ExpiryIsInclusive => {
                op.expires_before = op.expires_before.map(|end| end + Duration::from_micros(1));
            }
            Mistake::ScopeIsPrefix => {
                let scope = op.scope.take().map(|scope| scope.to_string()).unwrap_or_default();
                heads.retain(|head| head.id.scope().as_str().starts_with(&scope));
            }
            Mistake::PathOrder => {
                heads.sort_by_key(|head| format!("{}/{}", head.id.scope(), head.id.name()));
                let all = List {
                    limit: usize::MAX,
                    after: None,
                    ..op
                };
                return Page::select(&all, heads.into_iter());
            }
            Mistake::CursorNeedsEntry => {
                let here = |after: &nebula_credential_core::Cursor| {
                    heads
                        .iter()
                        .any(|head| (head.id.scope(), head.id.name()) == (&after.scope, &after.name))
                };
                if op.after.as_ref().is_some_and(|after| !here(after)) {
                    return Page::default();
                }
            }
            Mistake::AnyTagMatches => {
                let wanted = std::mem::take(&mut op.tags);
                let any = |tags: &Tags| wanted.iter().any(|(key, value)| tags.get(key) == Some(value));
                heads.retain(|head| wanted.is_empty() || any(&head.tags));
            }
            Mistake::ListsDeleted => op.include_deleted = true,
            Mistake::ListForgetsTags => heads.iter_mut().for_each(|head| head.tags = Tags::new()),
            Mistake::FiltersAfterPaging => {
                let plain = List {
                    limit: op.limit,
                    after: op.after.clone(),
                    ..List::of(op.tenant.clone())
                };
                let mut page = Page::select(&plain, heads.into_iter());
                page.items.retain(|head| op.matches(head));
                return page;
            }
            _ => {}
        }
        let mut page = Page::select(&op, heads.into_iter());
        if self.is(Mistake::NextOnLastPage) && page.items.len() == asked.page_size() {
            page.next = page.items.last().map(|head| nebula_credential_core::Cursor {
                scope: head.id.scope().clone(),
                name: head.id.name().clone(),
            });
        }
        page
    }
}
