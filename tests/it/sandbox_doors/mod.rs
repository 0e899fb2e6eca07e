//! The doors of the Salesforce sandbox: faults on order, limits, TLS and logins.

mod authorize;
mod faults;
mod limits;
mod logins;
mod soap;
mod tls;
