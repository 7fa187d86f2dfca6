//! What real cores say to each other: every case of one link (`pair`), and of many (`mesh`).

mod alternate;
mod delayed;
mod direct;
mod duo;
mod hub;
mod liar;
mod mesh;
mod net;
mod pair;
mod room;
mod seek;
mod support;
mod told;
