//! The doors of the Salesforce sandbox: faults on order, limits, TLS and logins.

mod faults;
