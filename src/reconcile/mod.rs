//! Both sides compared by key.
