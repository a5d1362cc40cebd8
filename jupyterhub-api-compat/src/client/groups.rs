//! Groups and services.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::transport::Query;
use super::{Client, Result};
use crate::models::{Group, Service};

impl Client {
    /// All groups that the token shows.
    pub async fn groups(&self) -> Result<Vec<Group>> {
        self.list(&["groups"], &Query::new()).await
    }

    /// One group.
    pub async fn group(&self, name: &str) -> Result<Group> {
        self.get(&["groups", name]).await
    }

    /// Creates a group.
    pub async fn create_group(&self, name: &str, users: &[String]) -> Result<Group> {
        self.put(Method::POST, &["groups", name], &json!({"users": users})).await
    }

    /// Deletes a group.
    pub async fn delete_group(&self, name: &str) -> Result<()> {
        self.order(Method::DELETE, &["groups", name], None).await.map(drop)
    }

    /// Adds members.
    pub async fn add_to_group(&self, name: &str, users: &[String]) -> Result<Group> {
        self.put(Method::POST, &["groups", name, "users"], &json!({"users": users})).await
    }

    /// Takes members out.
    pub async fn remove_from_group(&self, name: &str, users: &[String]) -> Result<Group> {
        self.put(Method::DELETE, &["groups", name, "users"], &json!({"users": users})).await
    }

    /// Replaces the properties of a group.
    pub async fn set_group_properties(&self, name: &str, properties: &Map<String, Value>) -> Result<Group> {
        self.put(Method::PUT, &["groups", name, "properties"], properties).await
    }

    /// All services that the token shows.
    pub async fn services(&self) -> Result<BTreeMap<String, Service>> {
        self.get(&["services"]).await
    }

    /// One service.
    pub async fn service(&self, name: &str) -> Result<Service> {
        self.get(&["services", name]).await
    }
}
