//! The program `sf2gs`.

fn main() {}
