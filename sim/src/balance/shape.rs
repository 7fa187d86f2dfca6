//! Which nodes there are, who dials whom, and where the people are.

use super::setting::{Setting, Shape};
use redlink_core::Capacity;

/// A mesh to build.
pub(crate) struct Plan {
    /// Room of each node.
    pub(crate) capacities: Vec<Capacity>,
    /// Who dials whom: the south node first.
    pub(crate) dials: Vec<(u32, u32)>,
    /// The nodes that have consumers.
    pub(crate) places: Vec<u32>,
    /// The nodes that have producers.
    pub(crate) producers: Vec<u32>,
}

impl Plan {
    pub(crate) fn of(setting: &Setting) -> Self {
        let n = setting.nodes;
        let hubs = match setting.shape {
            Shape::Star | Shape::StarEverywhere => 1,
            Shape::TwoHubs => 2,
            // As many in the middle as there are nodes under each of them.
            Shape::Tree => 1 + n.isqrt(),
        };
        let places: Vec<u32> = (hubs..hubs + n).collect();
        let mut dials = Vec::new();
        for (number, &place) in places.iter().enumerate() {
            match setting.shape {
                Shape::Star | Shape::StarEverywhere => dials.push((place, 0)),
                Shape::TwoHubs => dials.extend([(place, 0), (place, 1)]),
                Shape::Tree => dials.push((place, 1 + number as u32 % (hubs - 1))),
            }
        }
        if setting.shape == Shape::Tree {
            dials.extend((1..hubs).map(|middle| (middle, 0)));
        }
        let producers = match setting.shape {
            Shape::Star | Shape::Tree => vec![0],
            Shape::TwoHubs => vec![0, 1],
            Shape::StarEverywhere => (0..hubs + n).collect(),
        };
        let room = |host: u32| {
            let links = dials
                .iter()
                .filter(|&&(south, north)| south == host || north == host)
                .count();
            let produces = producers.contains(&host);
            // Room for whatever may come, so that tables are never what is measured.
            Capacity {
                messages: if !produces {
                    16
                } else if producers.len() > 2 {
                    4_096
                } else {
                    setting.endless() as u32 + 64
                },
                reservations: (links as u32 * 256).clamp(512, 4_096),
                deliveries: 64 + 4 * setting.consumers,
                services: 4,
                consumers: setting.consumers,
                takes: 2 * setting.consumers,
                peers: links as u32,
                routes: links as u32,
                relays: if host < hubs { 4_096 } else { 16 },
                rules: 1,
            }
        };
        Self {
            capacities: (0..hubs + n).map(room).collect(),
            dials,
            places,
            producers,
        }
    }
}
