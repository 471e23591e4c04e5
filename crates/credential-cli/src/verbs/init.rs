use nebula_credential::{CredentialManager, Keys, LocalStorage};
use serde::Serialize;

use super::view::code;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock::{self, KEY_RING};

#[derive(Serialize)]
struct Made<'a> {
    store: &'a str,
    key_ring: String,
    #[serde(serialize_with = "code")]
    unlocked_by: &'static str,
}

/// Makes the store and its key ring. A store that is there already is left as it is.
pub(super) async fn run(settings: &Settings, output: &Output) -> Outcome {
    let store = settings.store.display().to_string();
    if !unlock::is_missing(&settings.store.join(KEY_RING)) {
        return Err(Failure::conflict(
            format!("there is a store with a key ring in {store} already"),
            "use it as it is, or name another directory with --store",
        ));
    }
    // The store first: where it is refused, no key is made for it.
    let storage = LocalStorage::new(&settings.store);
    storage.open().await?;
    let protector = unlock::new_protector(&settings.unlock, &settings.store, output)?;
    let manager = CredentialManager::builder()
        .storage(storage.clone())
        .keys(Keys::protector(protector))
        .tenant(settings.tenant.clone())
        .build();
    // An access policy is not asked: no key ring is made for a store that holds records already.
    let ring = unlock::unjudged(settings, storage)
        .administer("make_key_ring", manager.key_ring())
        .await?;
    let status = ring.ring().status();
    let unlocked_by = status.slots.first().map_or("", |slot| slot.kind.as_str());
    if output.is_json() {
        return output.value(&Made {
            store: &store,
            key_ring: status.id.to_string(),
            unlocked_by,
        });
    }
    output.line(format!("made a store in {store}, unlocked by a {unlocked_by}"))
}
