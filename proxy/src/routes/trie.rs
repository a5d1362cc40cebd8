//! The trie over path segments.

use std::{hash::RandomState, sync::Arc};

use super::persistent::Children;

/// One path prefix: the value stored at it, if any, and the longer prefixes below.
#[derive(Debug)]
pub(crate) struct Node<V> {
    value: Option<Arc<V>>,
    children: Children<Arc<Node<V>>>,
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { value: None, children: Children::default() }
    }
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), children: self.children.clone() }
    }
}

/// The segments of a path: split at `/`, with slashes at both ends ignored. `/` has none; `/a//b` has an empty one
/// in the middle, as in configurable-http-proxy.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let trimmed = path.trim_matches('/');
    // An empty path yields no segment, while `"".split('/')` would yield an empty one.
    trimmed.split('/').filter(move |_| !trimmed.is_empty())
}

impl<V> Node<V> {
    /// The value at the longest prefix of `path`.
    pub(crate) fn find<'p>(
        &self,
        hasher: &RandomState,
        path: impl Iterator<Item = &'p str>,
    ) -> Option<&Arc<V>> {
        let mut node = self;
        let mut best = node.value.as_ref();
        for segment in path {
            let Some(child) = node.children.get(hasher, segment) else { break };
            node = child;
            best = node.value.as_ref().or(best);
        }
        best
    }

    /// The value at exactly `path`.
    pub(crate) fn get<'p>(
        &self,
        hasher: &RandomState,
        path: impl Iterator<Item = &'p str>,
    ) -> Option<&Arc<V>> {
        let mut node = self;
        for segment in path {
            node = node.children.get(hasher, segment)?;
        }
        node.value.as_ref()
    }

    /// A copy of this node with `value` at `path`; all untouched parts are shared.
    pub(crate) fn with(
        &self,
        hasher: &RandomState,
        path: &mut dyn Iterator<Item = &str>,
        value: Arc<V>,
    ) -> Self {
        let mut copy = self.clone();
        match path.next() {
            None => copy.value = Some(value),
            Some(segment) => {
                let child = match self.children.get(hasher, segment) {
                    Some(child) => child.with(hasher, path, value),
                    None => Self::default().with(hasher, path, value),
                };
                copy.children.insert(hasher, segment, Arc::new(child));
            }
        }
        copy
    }

    /// A copy without the value at `path`, pruned of nodes that lead nowhere; `None` when nothing was there.
    pub(crate) fn without(&self, hasher: &RandomState, path: &mut dyn Iterator<Item = &str>) -> Option<Self> {
        let mut copy = self.clone();
        match path.next() {
            None => {
                copy.value.take()?;
            }
            Some(segment) => {
                let child = self.children.get(hasher, segment)?.without(hasher, path)?;
                if child.value.is_none() && child.children.is_empty() {
                    copy.children.remove(hasher, segment);
                } else {
                    copy.children.insert(hasher, segment, Arc::new(child));
                }
            }
        }
        Some(copy)
    }

    /// Calls `visit` with every value.
    pub(crate) fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a Arc<V>)) {
        if let Some(value) = &self.value {
            visit(value);
        }
        self.children.for_each(&mut |_, child: &'a Arc<Self>| child.for_each(visit));
    }
}
