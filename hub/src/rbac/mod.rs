//! Who may do what: scopes of users, services and tokens, resolved from the database at every request, so that a
//! change of role or group counts at once.

pub mod explain;
pub mod managed;
pub mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hub_core::Clock;
use hub_core::scopes::{
    Client, ExpandContext, Membership, Owner, ScopeSet, ScopeTable, identify_scopes, required_client_scopes,
    resolve_token_scopes,
};
use hub_db::entities::api_tokens;
use hub_db::{ConnectionTrait, DbError, repo};
use tracing::{debug, warn};

pub use hub_db::repo::oauth::HUB_CLIENT;

/// The scopes that exist, and how they are resolved.
#[derive(Debug)]
pub struct Rbac {
    table: ScopeTable,
    clock: Arc<dyn Clock>,
}

/// A user or service that holds roles.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A user.
    User {
        /// Primary key.
        id: i32,
        /// Name.
        name: String,
    },
    /// A service.
    Service {
        /// Primary key.
        id: i32,
        /// Name.
        name: String,
    },
}

impl Holder {
    /// As the owner of scopes.
    pub fn owner(&self) -> Owner<'_> {
        match self {
            Self::User { name, .. } => Owner::User(name),
            Self::Service { name, .. } => Owner::Service(name),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::Service { name, .. } => name,
        }
    }
}

/// What somebody holds.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// As written in roles and shares.
    pub raw: BTreeSet<String>,
    /// Expanded.
    pub scopes: ScopeSet,
}

/// An OAuth client as owned values; see [`Client`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKind {
    /// The hub itself.
    Hub,
    /// A server: owner and name.
    Server(String, String),
    /// A service.
    Service(String),
    /// Its server or service is gone.
    Orphan,
}

impl ClientKind {
    /// For the algebra of scopes.
    pub fn as_client(&self) -> Client<'_> {
        match self {
            Self::Hub => Client::Hub,
            Self::Server(user, server) => Client::Server { user, server },
            Self::Service(name) => Client::Service(name),
            Self::Orphan => Client::Orphan,
        }
    }
}

/// Groups of the users that a decision is about.
#[derive(Debug, Clone, Default)]
pub struct Groups(pub BTreeMap<String, Vec<String>>);

impl Membership for Groups {
    fn in_any(&self, user: &str, groups: &BTreeSet<String>) -> bool {
        self.0.get(user).is_some_and(|of_user| of_user.iter().any(|group| groups.contains(group)))
    }
}

impl Rbac {
    /// With the scopes of a table.
    pub fn new(table: ScopeTable, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock }
    }

    /// The scopes that exist.
    pub fn table(&self) -> &ScopeTable {
        &self.table
    }

    /// What a holder may do by roles, direct and through groups, and by shares. Sessions count shares given to the
    /// holder's groups; tokens do not, as in stock.
    pub async fn held(
        &self,
        db: &impl ConnectionTrait,
        holder: &Holder,
        group_shares: bool,
    ) -> Result<Held, DbError> {
        let (raw, shares) = match holder {
            Holder::User { id, .. } => {
                let raw = repo::roles::scopes_of(db, repo::roles::Holder::User(*id)).await?;
                let shares = repo::shares::scopes_of_user(db, *id, group_shares, self.clock.now()).await?;
                (raw, shares)
            }
            Holder::Service { id, .. } => {
                (repo::roles::scopes_of(db, repo::roles::Holder::Service(*id)).await?, Vec::new())
            }
        };
        let mut raw: BTreeSet<String> = raw.into_iter().collect();
        let expansion = self.table.expand_stored(&raw, &ExpandContext::owner(holder.owner()));
        for note in &expansion.notes {
            debug!(holder = holder.name(), %note, "scope of a role");
        }
        let mut scopes = expansion.scopes;
        match ScopeSet::from_expanded(&shares) {
            Ok(shared) => scopes.extend(shared),
            Err(error) => warn!(holder = holder.name(), %error, "a share holds a scope that cannot be read"),
        }
        raw.extend(shares);
        Ok(Held { raw, scopes })
    }

    /// What a browser session may do: all that its user holds.
    pub async fn session_scopes(&self, db: &impl ConnectionTrait, user: &Holder) -> Result<Held, DbError> {
        self.held(db, user, true).await
    }

    /// What a token may do now.
    pub async fn token_scopes(
        &self,
        db: &impl ConnectionTrait,
        token: &api_tokens::Model,
        owner: &Holder,
    ) -> Result<ScopeSet, DbError> {
        let held = self.held(db, owner, false).await?;
        let client = self.client_of(db, token.client_id.as_deref()).await?;
        self.token_scopes_of(db, token, owner, &held, &client).await
    }

    /// The same where it is known what the owner holds, shares given to groups not counted, and what the token's client
    /// is: for several tokens of one owner.
    pub async fn token_scopes_of(
        &self,
        db: &impl ConnectionTrait,
        token: &api_tokens::Model,
        owner: &Holder,
        held: &Held,
        client: &ClientKind,
    ) -> Result<ScopeSet, DbError> {
        // With what every token of the client gets beside its own scopes: a grant for a group decides about that, too.
        let mut wanted = token.scopes.0.clone();
        wanted.extend(required_client_scopes(&client.as_client()));
        let cx = ExpandContext::token(owner.owner(), client.as_client());
        let wanted = self.table.expand_stored(&wanted, &cx);
        let groups = self.membership(db, &wanted.scopes, &held.scopes).await?;
        let resolved = resolve_token_scopes(
            &self.table,
            &token.scopes.0,
            owner.owner(),
            client.as_client(),
            &held.scopes,
            &groups,
        );
        if !resolved.excess.is_empty() {
            debug!(owner = owner.name(), token = token.id, excess = ?resolved.excess.to_vec(), "token asks for more than its owner holds");
        }
        Ok(resolved.scopes)
    }

    /// The groups that a comparison of two sets needs.
    pub async fn membership(
        &self,
        db: &impl ConnectionTrait,
        a: &ScopeSet,
        b: &ScopeSet,
    ) -> Result<Groups, DbError> {
        let users: Vec<String> = a.users_to_look_up(b).into_iter().collect();
        if users.is_empty() {
            return Ok(Groups::default());
        }
        self.groups_of(db, &users).await
    }

    /// The groups of users, by their names.
    pub async fn groups_of(&self, db: &impl ConnectionTrait, users: &[String]) -> Result<Groups, DbError> {
        let users = repo::users::by_names(db, users).await?;
        let ids: Vec<i32> = users.iter().map(|user| user.id).collect();
        let mut names = repo::groups::names_of_users(db, &ids).await?;
        Ok(Groups(
            users.into_iter().map(|user| (user.name, names.remove(&user.id).unwrap_or_default())).collect(),
        ))
    }

    /// What an OAuth client is.
    pub async fn client_of(
        &self,
        db: &impl ConnectionTrait,
        client_id: Option<&str>,
    ) -> Result<ClientKind, DbError> {
        let Some(id) = client_id else { return Ok(ClientKind::Orphan) };
        if id == HUB_CLIENT {
            return Ok(ClientKind::Hub);
        }
        if let Some(row) = repo::spawners::by_oauth_client(db, id).await? {
            let owner = repo::users::by_id(db, row.user_id.unwrap_or_default()).await?;
            return Ok(owner.map_or(ClientKind::Orphan, |owner| ClientKind::Server(owner.name, row.name)));
        }
        Ok(repo::services::by_oauth_client(db, id)
            .await?
            .map_or(ClientKind::Orphan, |service| ClientKind::Service(service.name)))
    }
}

/// To know an owner of tokens: what endpoints add that tell who is behind a credential.
pub fn identity(owner: Owner<'_>) -> ScopeSet {
    ScopeSet::from_expanded(identify_scopes(owner)).unwrap_or_default()
}
