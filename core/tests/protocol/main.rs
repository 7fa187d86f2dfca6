//! What real cores say to each other: every case of one link (`pair`), and of many (`mesh`).

mod ageing;
mod alternate;
mod attempts;
mod delayed;
mod direct;
mod duo;
mod hub;
mod liar;
mod mesh;
mod net;
mod pair;
mod rate;
mod room;
mod seek;
mod support;
mod told;
