//! A persistent hash map from path segment to child node.
//!
//! Adding or removing one of 100,000 children copies a handful of small arrays and shares the rest with the version
//! that readers still hold.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// Bits of the hash used at each level; a branch has at most 32 slots.
const BITS: u32 = 5;
const MASK: u64 = (1 << BITS) - 1;
/// Below this level the hash is used up and entries with equal hashes are listed.
const MAX_SHIFT: u32 = 60;

/// Child nodes by segment. Cloning shares everything.
#[derive(Debug, Clone)]
pub(crate) struct Children<V> {
    root: Option<Slot<V>>,
}

impl<V> Default for Children<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    segment: Box<str>,
    value: V,
}

#[derive(Debug)]
enum Slot<V> {
    One(Arc<Entry<V>>),
    Branch(Arc<Branch<V>>),
    /// Entries whose hashes are wholly equal.
    Clash(Arc<Vec<Arc<Entry<V>>>>),
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        match self {
            Self::One(entry) => Self::One(Arc::clone(entry)),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
            Self::Clash(entries) => Self::Clash(Arc::clone(entries)),
        }
    }
}

/// Slots present, in order of their index; `bitmap` says which indices those are.
#[derive(Debug)]
struct Branch<V> {
    bitmap: u32,
    slots: Vec<Slot<V>>,
}

impl<V> Branch<V> {
    /// The slot for `index`: where it is, or where it would have to be inserted.
    fn position(&self, index: u32) -> Result<usize, usize> {
        let bit = 1u32 << index;
        let before = (self.bitmap & (bit - 1)).count_ones() as usize;
        if self.bitmap & bit == 0 { Err(before) } else { Ok(before) }
    }
}

fn index_at(hash: u64, shift: u32) -> u32 {
    u32::try_from((hash >> shift) & MASK).unwrap_or_default()
}

impl<V: Clone> Children<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(crate) fn get(&self, hasher: &RandomState, segment: &str) -> Option<&V> {
        let mut slot = self.root.as_ref()?;
        let mut hash = None;
        let mut shift = 0;
        loop {
            match slot {
                Slot::One(entry) => return (*entry.segment == *segment).then_some(&entry.value),
                Slot::Branch(branch) => {
                    let hash = *hash.get_or_insert_with(|| hasher.hash_one(segment));
                    let position = branch.position(index_at(hash, shift)).ok()?;
                    slot = branch.slots.get(position)?;
                    shift += BITS;
                }
                Slot::Clash(entries) => {
                    return entries.iter().find(|entry| *entry.segment == *segment).map(|entry| &entry.value);
                }
            }
        }
    }

    pub(crate) fn insert(&mut self, hasher: &RandomState, segment: &str, value: V) {
        let entry = Arc::new(Entry { hash: hasher.hash_one(segment), segment: segment.into(), value });
        self.root = Some(match self.root.take() {
            None => Slot::One(entry),
            Some(slot) => with(&slot, entry, 0),
        });
    }

    pub(crate) fn remove(&mut self, hasher: &RandomState, segment: &str) {
        if let Some(slot) = self.root.take() {
            self.root = without(&slot, hasher.hash_one(segment), segment, 0);
        }
    }

    /// Calls `visit` with each segment and child, in no particular order.
    pub(crate) fn for_each<'a>(&'a self, visit: &mut impl FnMut(&'a str, &'a V)) {
        if let Some(slot) = &self.root {
            walk(slot, visit);
        }
    }
}

fn with<V: Clone>(slot: &Slot<V>, entry: Arc<Entry<V>>, shift: u32) -> Slot<V> {
    match slot {
        Slot::One(old) if old.segment == entry.segment => Slot::One(entry),
        Slot::One(old) => join(Arc::clone(old), entry, shift),
        Slot::Branch(branch) => {
            let index = index_at(entry.hash, shift);
            let mut slots = branch.slots.clone();
            let mut bitmap = branch.bitmap;
            match branch.position(index) {
                Ok(position) => {
                    if let Some(slot) = slots.get_mut(position) {
                        *slot = with(slot, entry, shift + BITS);
                    }
                }
                Err(position) => {
                    bitmap |= 1 << index;
                    slots.insert(position, Slot::One(entry));
                }
            }
            Slot::Branch(Arc::new(Branch { bitmap, slots }))
        }
        Slot::Clash(entries) => {
            let mut entries: Vec<_> =
                entries.iter().filter(|old| old.segment != entry.segment).cloned().collect();
            entries.push(entry);
            Slot::Clash(Arc::new(entries))
        }
    }
}

/// Puts two different entries into one slot, deeper and deeper until their hashes part.
fn join<V: Clone>(one: Arc<Entry<V>>, two: Arc<Entry<V>>, shift: u32) -> Slot<V> {
    if shift > MAX_SHIFT {
        return Slot::Clash(Arc::new(vec![one, two]));
    }
    let (first, second) = (index_at(one.hash, shift), index_at(two.hash, shift));
    let (bitmap, slots) = match first.cmp(&second) {
        std::cmp::Ordering::Equal => (1 << first, vec![join(one, two, shift + BITS)]),
        std::cmp::Ordering::Less => ((1 << first) | (1 << second), vec![Slot::One(one), Slot::One(two)]),
        std::cmp::Ordering::Greater => ((1 << first) | (1 << second), vec![Slot::One(two), Slot::One(one)]),
    };
    Slot::Branch(Arc::new(Branch { bitmap, slots }))
}

fn without<V: Clone>(slot: &Slot<V>, hash: u64, segment: &str, shift: u32) -> Option<Slot<V>> {
    match slot {
        Slot::One(entry) => (*entry.segment != *segment).then(|| slot.clone()),
        Slot::Branch(branch) => {
            let index = index_at(hash, shift);
            let Ok(position) = branch.position(index) else {
                return Some(slot.clone());
            };
            let mut slots = branch.slots.clone();
            let mut bitmap = branch.bitmap;
            let rest = slots.get(position).and_then(|slot| without(slot, hash, segment, shift + BITS));
            if let (Some(rest), Some(slot)) = (rest, slots.get_mut(position)) {
                *slot = rest;
            } else {
                bitmap &= !(1 << index);
                slots.remove(position);
            }
            match slots.as_slice() {
                [] => None,
                // A lone entry moves up, so that a shrunken map looks as if it had never been larger.
                [Slot::One(entry)] => Some(Slot::One(Arc::clone(entry))),
                _ => Some(Slot::Branch(Arc::new(Branch { bitmap, slots }))),
            }
        }
        Slot::Clash(entries) => {
            let rest: Vec<_> = entries.iter().filter(|entry| *entry.segment != *segment).cloned().collect();
            match rest.as_slice() {
                [] => None,
                [entry] => Some(Slot::One(Arc::clone(entry))),
                _ => Some(Slot::Clash(Arc::new(rest))),
            }
        }
    }
}

fn walk<'a, V>(slot: &'a Slot<V>, visit: &mut impl FnMut(&'a str, &'a V)) {
    match slot {
        Slot::One(entry) => visit(&entry.segment, &entry.value),
        Slot::Branch(branch) => branch.slots.iter().for_each(|slot| walk(slot, visit)),
        Slot::Clash(entries) => entries.iter().for_each(|entry| visit(&entry.segment, &entry.value)),
    }
}
