//! Who is logged in: sessions, refresh tokens, and who may log in at all.

use std::collections::HashMap;
use std::collections::HashSet;

use chrono::DateTime;
use chrono::Utc;

use super::error::ApiError;
use super::oauth::Code;
use super::oauth::Page;
use super::oauth::Scopes;
use super::org::Org;
use super::org::lock;
use super::store::Cell;
use super::store::Store;
use crate::clock::random_id;

/// Everything that a login leaves behind.
#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) sessions: HashMap<String, Session>,
    pub(super) refresh: HashMap<String, Grant>,
    /// Authorization codes, used ones included until their time is over.
    pub(super) codes: HashMap<String, Code>,
    /// Pages of the web-server flow that wait for a person.
    pub(super) pages: HashMap<String, Page>,
    /// Cookie of a browser → row of its user and when that ends.
    pub(super) browsers: HashMap<String, (u32, DateTime<Utc>)>,
    /// User, app and scopes that a person has allowed.
    pub(super) allowed: HashSet<(u32, usize, Scopes)>,
    /// Rows of users who are kept from logging in although they are active.
    pub(super) frozen: HashSet<u32>,
    families: u64,
}

/// What a user has let an app do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Row of the user.
    pub(super) user: u32,
    /// Index of the app; none for a login by SOAP.
    pub(super) app: Option<usize>,
    pub(super) scopes: Scopes,
    /// Access tokens of one refresh token end with it.
    pub(super) family: u64,
}

/// A login.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Row of the user.
    pub(crate) user: u32,
    pub(super) grant: Grant,
    pub(super) since: DateTime<Utc>,
    pub(super) ends: DateTime<Utc>,
}

impl Logins {
    /// A number for what belongs together.
    pub(super) fn family(&mut self) -> u64 {
        self.families += 1;
        self.families
    }

    /// Ends the sessions of a user, or all; with `everything` refresh tokens and logins of browsers too. How many ended.
    pub(super) fn end(&mut self, user: Option<u32>, everything: bool) -> usize {
        let others = |one: u32| user.is_some_and(|user| one != user);
        let before = self.sessions.len() + self.refresh.len();
        self.sessions.retain(|_, session| others(session.user));
        if everything {
            self.refresh.retain(|_, grant| others(grant.user));
            self.browsers.retain(|_, (one, _)| others(*one));
        }
        before - self.sessions.len() - self.refresh.len()
    }

    /// Makes a refresh token.
    pub(super) fn keep(&mut self, grant: Grant) -> String {
        let token = format!("5Aep861.{}", random_id().replace('-', ""));
        self.refresh.insert(token.clone(), grant);
        token
    }

    /// Ends a refresh token with its sessions, or a session alone. Whether there was one.
    pub(super) fn revoke(&mut self, token: &str) -> bool {
        if let Some(grant) = self.refresh.remove(token) {
            self.sessions.retain(|_, session| session.grant.family != grant.family);
            return true;
        }
        self.sessions.remove(token).is_some()
    }
}

impl Org {
    /// Starts a session and returns its token.
    pub(super) fn open_session(&self, grant: Grant) -> String {
        let token = format!("{}!AQ.{}{}", self.id, random_id(), random_id()).replace('-', "");
        let now = self.clock.now();
        let session = Session { user: grant.user, grant, since: now, ends: now + self.options.session_lifetime };
        let mut logins = lock(&self.logins);
        logins.sessions.retain(|_, session| session.ends > now);
        logins.sessions.insert(token.clone(), session);
        token
    }

    /// The session of a token; use prolongs it. A user who was deactivated has none.
    pub(crate) fn session(&self, token: &str) -> Result<Session, ApiError> {
        let now = self.clock.now();
        let mut logins = lock(&self.logins);
        let session = logins.sessions.get_mut(token).filter(|session| session.ends > now);
        let session = session.map(|session| {
            session.ends = now + self.options.session_lifetime;
            session.clone()
        });
        drop(logins);
        session.filter(|session| is_active(&self.snapshot(), session.user)).ok_or_else(ApiError::no_session)
    }

    /// The row of the active user who has this name and this password, if no one has frozen them.
    pub(super) fn log_in(&self, username: &str, password: &str) -> Option<u32> {
        let store = self.snapshot();
        let user = user_named(&store, username).filter(|user| self.may_log_in(&store, *user))?;
        (password == self.password).then_some(user)
    }

    /// The same from outside of the org's trusted addresses: the password with the security token behind it.
    pub(super) fn log_in_from_outside(&self, username: &str, password: &str) -> Option<u32> {
        self.log_in(username, password.strip_suffix(&self.security_token)?)
    }

    /// Whether a user is active and not frozen.
    pub(super) fn may_log_in(&self, store: &Store, user: u32) -> bool {
        is_active(store, user) && !lock(&self.logins).frozen.contains(&user)
    }
}

/// Whether a user is active.
pub(super) fn is_active(store: &Store, user: u32) -> bool {
    store.schema.find("User").is_some_and(|users| store.flag(users, user, "IsActive"))
}

/// The row of a user; names compare without case.
pub(super) fn user_named(store: &Store, username: &str) -> Option<u32> {
    let user = store.schema.find("User")?;
    let field = store.schema.objects[user].find("Username")?;
    (0..store.table(user).rows() as u32)
        .find(|row| matches!(store.cell(user, *row, field), Cell::Text(text) if text.eq_ignore_ascii_case(username)))
}

/// A text of a user; empty if there is none.
pub(super) fn user_text(store: &Store, row: u32, field: &str) -> String {
    let Some(user) = store.schema.find("User") else { return String::new() };
    let Some(field) = store.schema.objects[user].find(field) else { return String::new() };
    match store.cell(user, row, field) {
        Cell::Text(text) => text.to_owned(),
        Cell::Name(first, last) => super::soql::joined(first, last),
        _ => String::new(),
    }
}
