use super::*;

fn message(sequence: u64) -> MessageId {
    MessageId {
        node: NodeId(7),
        sequence,
    }
}

fn all(trace: &Trace, of: MessageId) -> Vec<super::super::info::TraceStep> {
    let (mut steps, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let (more, next) = trace.of(of, at);
        steps.extend(more);
        from = next;
    }
    steps
}

#[test]
fn steps_come_back_in_order_with_their_peers() {
    let mut trace = Trace::new(1 << 16);
    let peer = Name::new("north").unwrap();
    trace.link(LinkId(3), &peer);
    trace.step(5, Step::Accepted, message(1), 0, ["resize", ""]);
    let mut buffer = [0; HEADER_MAX];
    for (n, frame) in [
        Frame::Ping,
        Frame::Retract {
            offer: message(2).offer(),
        },
        Frame::Retract {
            offer: message(1).offer(),
        },
    ]
    .iter()
    .enumerate()
    {
        let length = frame.encode(&mut buffer).unwrap();
        trace.frame_out(6 + n as i64, LinkId(3), &buffer[..length]);
    }
    trace.step(9, Step::Delivered, message(1), 2, ["to", "w1"]);
    // Nonsense of a peer is kept and understood by nobody.
    trace.frame_in(10, LinkId(3), &[0xee; 40]);
    let steps = all(&trace, message(1));
    let short: Vec<_> = steps.iter().map(|s| (s.at_micros, s.step.as_str())).collect();
    assert_eq!(short, [(5, "accepted"), (8, "retract"), (9, "delivered")]);
    assert_eq!(
        (steps[1].to.as_deref(), steps[1].from.as_deref()),
        (Some("north"), None)
    );
    assert_eq!(
        (steps[2].attempt, steps[2].detail.as_deref()),
        (Some(2), Some("to w1"))
    );
    assert_eq!(all(&trace, message(2)).len(), 1);
    assert_eq!(all(&trace, message(3)).len(), 0);
}

#[test]
fn the_oldest_make_room_and_nothing_is_torn() {
    for size in [4_096, 4_104, 5_000, 70_000] {
        let mut trace = Trace::new(size);
        let texts = ["", "a", "abcdefg", "a-name-that-is-rather-long-and-takes-room"];
        for n in 0..10_000_u64 {
            trace.step(
                n as i64,
                Step::Settling,
                message(n),
                0,
                [texts[n as usize % 4], texts[n as usize / 4 % 4]],
            );
        }
        assert!(trace.head - trace.tail <= trace.ring.len() as u64);
        let kept: Vec<u64> = (0..10_000).filter(|n| all_from_tail(&trace, *n)).collect();
        assert_eq!(kept.last(), Some(&9_999));
        assert!(kept.len() > 30, "{size}: {}", kept.len());
        let whole: Vec<u64> = (kept[0]..10_000).collect();
        assert_eq!(kept, whole, "without a gap");
    }
}

fn all_from_tail(trace: &Trace, n: u64) -> bool {
    let (steps, _) = trace.of(message(n), 0);
    steps.iter().all(|step| step.at_micros == n as i64) && steps.len() == 1
}

#[test]
fn without_memory_nothing_is_kept() {
    let mut trace = Trace::new(0);
    trace.step(1, Step::Accepted, message(1), 0, ["", ""]);
    trace.frame_in(1, LinkId(1), &[5, 1]);
    assert!(!trace.is_on() && all(&trace, message(1)).is_empty());
}

#[test]
fn words_are_those_of_the_steps() {
    for (at, (step, _)) in Step::ALL.iter().enumerate() {
        assert_eq!(*step as usize, at);
    }
}

#[test]
fn every_frame_about_a_message_is_found() {
    use redlink_core::wire::{Path, Taken};
    use redlink_core::{ConsumerKey, Duration, Fence, GrantToken, Verb};
    let message = MessageId {
        node: NodeId(u64::MAX),
        sequence: 300,
    };
    let (node, consumer, service) = (NodeId(5), ConsumerKey(6), Name::new("s").unwrap());
    let (lease, path, size) = (Duration::from_secs(30), Path::default(), 7);
    let token = GrantToken {
        message,
        inserted: 1,
        fence: Fence { boot: 1, attempt: 2 },
        node,
        consumer,
        mac: [9; 16],
    };
    let offer = message.offer();
    let frames = [
        Frame::Offer {
            offer,
            service: service.clone(),
            priority: 1,
            age: lease,
            remaining: None,
            path,
            copies: 1,
            sure: true,
        },
        Frame::NoRoom { offer },
        Frame::Retract { offer },
        Frame::Decline { offer, floor: None },
        Frame::Claim {
            offer,
            node,
            consumer,
            lease,
        },
        Frame::Grant {
            token,
            priority: 1,
            remaining: None,
            size,
            send_only: false,
            inline: true,
            direct: false,
        },
        Frame::Gone {
            message,
            node,
            consumer,
        },
        Frame::Answer {
            token,
            verb: Verb::Reply,
            size,
            inline: true,
            direct: false,
        },
        Frame::Settled {
            token,
            taken: Taken::Done,
        },
        Frame::Holding { token, lease, path },
        Frame::Reverse { token },
        Frame::NoPath { token },
        Frame::Seek { token, service, path },
    ];
    let mut trace = Trace::new(1 << 16);
    let mut buffer = [0; HEADER_MAX];
    for frame in &frames {
        let length = frame.encode(&mut buffer).unwrap();
        trace.frame_in(1, LinkId(1), &buffer[..length]);
    }
    assert_eq!(all(&trace, message).len(), frames.len());
}
