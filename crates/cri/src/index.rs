//! Objects by id, by unique prefix of the id, and by the key under which clients repeat a call.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{domain::Id, error::Error, events::Bus};

/// A pod or a container in an index.
pub(crate) trait Object {
    /// Its identity for a client.
    type Key: Eq + Hash + Clone + std::fmt::Debug;
    /// What to call it in an error.
    const KIND: &'static str;
    /// Its id.
    fn id(&self) -> &Id;
    /// Its key.
    fn key(&self) -> Self::Key;
    /// Says on the bus that it can be seen, as news or not, and all that happens to it from now on.
    fn appear(self: &Arc<Self>, bus: &Bus, news: bool);
    /// Says on the bus that it can't be seen any more.
    fn vanish(&self, bus: &Bus);
}

/// All objects of one kind. Every method holds the lock for a look-up only.
#[derive(Debug)]
pub(crate) struct Index<O: Object> {
    maps: RwLock<Maps<O>>,
    bus: Bus,
}

#[derive(Debug)]
struct Maps<O: Object> {
    by_id: BTreeMap<Id, Arc<O>>,
    by_key: HashMap<O::Key, Id>,
}

impl<O: Object> Index<O> {
    /// An empty index, which says on `bus` what comes and goes.
    pub(crate) fn new(bus: Bus) -> Index<O> {
        Index {
            maps: RwLock::new(Maps {
                by_id: BTreeMap::new(),
                by_key: HashMap::new(),
            }),
            bus,
        }
    }

    /// Adds an object that is new; one with the same key is no longer found by it.
    pub(crate) fn insert(&self, object: Arc<O>) {
        self.put(Arc::clone(&object));
        object.appear(&self.bus, true);
    }

    /// Adds an object that an earlier daemon has made.
    pub(crate) fn load(&self, object: Arc<O>) {
        self.put(Arc::clone(&object));
        object.appear(&self.bus, false);
    }

    fn put(&self, object: Arc<O>) {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        maps.by_key.insert(object.key(), object.id().clone());
        maps.by_id.insert(object.id().clone(), object);
    }

    /// Forgets an object.
    pub(crate) fn remove(&self, id: &Id) {
        if let Some(object) = self.take(id) {
            object.vanish(&self.bus);
        }
    }

    fn take(&self, id: &Id) -> Option<Arc<O>> {
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        let object = maps.by_id.remove(id)?;
        let key = object.key();
        if maps.by_key.get(&key) == Some(id) {
            maps.by_key.remove(&key);
        }
        Some(object)
    }

    /// The object with this id.
    pub(crate) fn get(&self, id: &Id) -> Option<Arc<O>> {
        self.maps
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .get(id)
            .cloned()
    }

    /// The object with this key.
    pub(crate) fn by_key(&self, key: &O::Key) -> Option<Arc<O>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_key
            .get(key)
            .and_then(|id| maps.by_id.get(id))
            .cloned()
    }

    /// All objects, by id.
    pub(crate) fn all(&self) -> Vec<Arc<O>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.values().cloned().collect()
    }

    /// The object that `text` names: a whole id or a prefix that only one id has.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`] with the ids, [`Error::InvalidField`] when empty.
    pub(crate) fn resolve(&self, text: &str) -> Result<Arc<O>, Error> {
        if text.is_empty() {
            return Err(Error::InvalidField {
                field: format!("{}_id", O::KIND.replace(' ', "_")),
                why: "is empty".to_owned(),
            });
        }
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let mut matches = maps
            .by_id
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .take_while(|(id, _)| id.as_str().starts_with(text));
        match (matches.next(), matches.next()) {
            (None, _) => Err(Error::NotFound {
                kind: O::KIND,
                id: text.to_owned(),
            }),
            (Some((_, one)), None) => Ok(Arc::clone(one)),
            (Some((first, _)), Some((second, _))) => Err(Error::Ambiguous {
                kind: O::KIND,
                prefix: text.to_owned(),
                ids: [first, second]
                    .into_iter()
                    .cloned()
                    .chain(matches.map(|(id, _)| id.clone()))
                    .collect(),
            }),
        }
    }

    /// As [`Index::resolve`], with an unknown object as `None`.
    ///
    /// # Errors
    /// As [`Index::resolve`], without NotFound.
    pub(crate) fn find(&self, text: &str) -> Result<Option<Arc<O>>, Error> {
        match self.resolve(text) {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing(Id, u32);

    impl Object for Thing {
        type Key = u32;
        const KIND: &'static str = "thing";
        fn id(&self) -> &Id {
            &self.0
        }
        fn key(&self) -> u32 {
            self.1
        }
        fn appear(self: &Arc<Self>, _: &Bus, _: bool) {}
        fn vanish(&self, _: &Bus) {}
    }

    fn id(start: &str) -> Id {
        format!("{start:0<64}").parse().unwrap()
    }

    fn index() -> Index<Thing> {
        let index = Index::new(Bus::default());
        for (at, start) in ["ab1", "ab2", "c"].into_iter().enumerate() {
            index.insert(Arc::new(Thing(id(start), u32::try_from(at).unwrap())));
        }
        index
    }

    #[test]
    fn whole_ids_and_unique_prefixes_are_found() {
        let index = index();
        for (text, start) in [("ab1", "ab1"), ("c", "c"), (id("ab2").as_str(), "ab2")] {
            assert_eq!(index.resolve(text).unwrap().0, id(start));
        }
    }

    #[test]
    fn others_are_not() {
        let index = index();
        assert!(matches!(index.resolve("d"), Err(Error::NotFound { .. })));
        assert!(matches!(index.resolve(""), Err(Error::InvalidField { .. })));
        match index.resolve("ab") {
            Err(Error::Ambiguous { ids, .. }) => assert_eq!(ids, [id("ab1"), id("ab2")]),
            other => panic!("{other:?}"),
        }
        assert!(index.find("zz").unwrap().is_none());
    }

    #[test]
    fn a_key_taken_over_stays_with_the_new_object() {
        let index = index();
        index.insert(Arc::new(Thing(id("e"), 0)));
        index.remove(&id("ab1"));
        assert_eq!(index.by_key(&0).unwrap().0, id("e"));
        index.remove(&id("e"));
        assert!(index.by_key(&0).is_none());
    }
}
