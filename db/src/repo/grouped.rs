//! Names at the far end of a map table, collected by the id at the near end.

use std::collections::{HashMap, HashSet};

use sea_orm::prelude::*;
use sea_orm::sea_query::Func;
use sea_orm::{ConnectionTrait, DbBackend, JoinType, QueryOrder as _, QuerySelect as _};

use super::CHUNK;
use crate::error::DbError;

/// Rows with these ids, and maybe with some between them. Ids that lie close together, as those of a page mostly do,
/// are asked for as a range: a statement with hundreds of values takes longer to write than to answer.
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
            for (id, name) in self.pairs(db, ids).await?.into_iter().filter(|(id, _)| wanted.contains(id)) {
                found.entry(id).or_default().push(name);
            }
        }
        Ok(found)
    }

    /// Near ids and names, in the order of names.
    async fn pairs(&self, db: &impl ConnectionTrait, ids: &[i32]) -> Result<Vec<(i32, String)>, DbError> {
        let far = M::belongs_to(R::default()).from(self.far).to(self.id).into();
        let select = M::find()
            .select_only()
            .join(JoinType::InnerJoin, far)
            .filter(around(self.near, ids))
            .order_by_asc(self.sort);
        if db.get_database_backend() != DbBackend::Sqlite {
            return Ok(select.column(self.near).column(self.name).into_tuple().all(db).await?);
        }
        // One row for each name, of which there are few, and not for each pair: every value of a row is a message from
        // the connection's thread.
        let joined = Func::cust("GROUP_CONCAT").arg(Expr::col((M::default(), self.near)));
        let select = select.group_by(self.id).expr_as(joined, "ids").column(self.name);
        let rows: Vec<(String, String)> = select.into_tuple().all(db).await?;
        let pairs = rows.into_iter().flat_map(|(ids, name)| {
            let ids: Vec<i32> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
            ids.into_iter().map(move |id| (id, name.clone()))
        });
        Ok(pairs.collect())
    }
}
