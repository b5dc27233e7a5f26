//! The dictionary of names and numbers, and what the running graph knows under each number.

use std::collections::HashMap;
use std::sync::Arc;

use model::NameId;
use store::{NameKind, Store};

/// Names by number and numbers by name. Holds every name the store ever numbered, also those that left
/// the configuration.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_id: HashMap<NameId, (NameKind, Arc<str>)>,
    by_name: HashMap<(NameKind, Arc<str>), NameId>,
}

impl Names {
    /// Numbers all of `wanted` (adding new ones durably) and reads the rest of the dictionary.
    pub(crate) async fn load(
        store: &dyn Store,
        wanted: &[(NameKind, String)],
    ) -> Result<Names, store::Error> {
        store.name_ids(wanted).await?;
        Names::read(store).await
    }

    /// The dictionary as it is.
    pub(crate) async fn read(store: &dyn Store) -> Result<Names, store::Error> {
        let mut names = Names::default();
        for (id, kind, name) in store.names().await? {
            let name: Arc<str> = name.into();
            names.by_id.insert(id, (kind, Arc::clone(&name)));
            names.by_name.insert((kind, name), id);
        }
        Ok(names)
    }

    /// The number of a name.
    pub(crate) fn id(&self, kind: NameKind, name: &str) -> Option<NameId> {
        self.by_name.get(&(kind, Arc::from(name))).copied()
    }

    /// What kind of thing a number stands for.
    pub(crate) fn kind(&self, id: NameId) -> Option<NameKind> {
        self.by_id.get(&id).map(|(kind, _)| *kind)
    }

    /// The name of a number; a question mark for one that was never given out.
    pub(crate) fn name(&self, id: NameId) -> Arc<str> {
        self.by_id
            .get(&id)
            .map_or_else(|| Arc::from("?"), |(_, name)| Arc::clone(name))
    }
}
