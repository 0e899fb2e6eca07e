//! Both remote systems as typed calls over one HTTP policy.
