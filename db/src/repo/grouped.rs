//! Names at the far end of a map table, collected by the id at the near end.

use std::collections::{HashMap, HashSet};

use sea_orm::prelude::*;
use sea_orm::{ConnectionTrait, JoinType, QueryOrder as _, QuerySelect as _};

use super::CHUNK;
use crate::error::DbError;

/// Rows with these ids, and maybe with some between them. Ids that lie close together, as those of a page mostly do, are
/// asked for as a range: a statement with hundreds of values takes longer to write than to answer.
pub(super) fn around<C: ColumnTrait>(column: C, ids: &[i32]) -> Expr {
    let ends = ids.iter().copied().min().zip(ids.iter().copied().max());
    match ends {
        Some((first, last)) if last.abs_diff(first) as usize <= 2 * ids.len() => column.between(first, last),
        _ => column.is_in(ids.iter().copied()),
    }
}

/// A walk over a map table: from `near` ids to rows of `R`, whose `name` is wanted in the order of `sort`.
pub(super) struct Walk<M: EntityTrait, R: EntityTrait> {
    /// Column of the map by which is asked and collected.
    pub(super) near: M::Column,
    /// Column of the map that points to `R`.
    pub(super) far: M::Column,
    /// Primary key of `R`.
    pub(super) id: R::Column,
    /// Name column of `R`.
    pub(super) name: R::Column,
    /// What each list is sorted by.
    pub(super) sort: R::Column,
}

impl<M: EntityTrait, R: EntityTrait> Walk<M, R> {
    /// The names by near id, in one query. Ids without names have no entry.
    pub(super) async fn names(
        self,
        db: &impl ConnectionTrait,
        near: &[i32],
    ) -> Result<HashMap<i32, Vec<String>>, DbError> {
        let mut found: HashMap<i32, Vec<String>> = HashMap::new();
        let wanted: HashSet<i32> = near.iter().copied().collect();
        for ids in near.chunks(CHUNK) {
            let far = M::belongs_to(R::default()).from(self.far).to(self.id).into();
            let rows: Vec<(i32, String)> = M::find()
                .select_only()
                .column(self.near)
                .column(self.name)
                .join(JoinType::InnerJoin, far)
                .filter(around(self.near, ids))
                .order_by_asc(self.sort)
                .into_tuple()
                .all(db)
                .await?;
            for (id, name) in rows.into_iter().filter(|(id, _)| wanted.contains(id)) {
                found.entry(id).or_default().push(name);
            }
        }
        Ok(found)
    }
}
