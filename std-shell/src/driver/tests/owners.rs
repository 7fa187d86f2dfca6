//! Whose messages and consumers are (P12), also over restarts.

use super::*;
use crate::owner::{Owner, Who};
use redlink_core::Cursor;

fn program(name: &str) -> Who {
    Who {
        owner: Owner::Program(name.into()),
        administers: false,
    }
}

impl Node {
    fn of(&self, name: &str) -> Handle {
        self.handle().acting_for(program(name))
    }

    async fn abandon(self) {
        self.running.stop().await;
        drop(self.store);
    }
}

async fn messages(of: &Handle, max: usize, service: Option<&str>) -> Vec<MessageInfo> {
    let wanted = Wanted {
        service: service.map(str::to_owned),
        state: None,
    };
    of.messages(&wanted, max, Cursor::default()).await.0
}

#[tokio::test]
async fn a_message_is_its_programs_in_every_life_until_it_is_collected() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let (open, done) = {
        let a = node.of("a");
        let done = a.submit(message("x", text("1"))).await.unwrap().id;
        let [delivery] = &a.take("x", "w", 1, LONG).await.unwrap()[..] else {
            panic!("nothing came")
        };
        a.answer(delivery.token, Verb::Reply, Some(text("2")))
            .await
            .unwrap();
        a.outcome(done, LONG).await.unwrap().unwrap();
        (a.submit(message("y", text("3"))).await.unwrap().id, done)
    };
    let own = node.handle().submit(message("y", text("4"))).await.unwrap().id;
    let ids = |all: Vec<MessageInfo>| all.into_iter().map(|m| m.id).collect::<Vec<_>>();
    let mut node = node;
    // Stopped well, and not.
    for life in 0..3 {
        let (a, b) = (node.of("a"), node.of("b"));
        for id in [open, done, own] {
            assert_eq!(b.message(id).await, Err(Refusal::Unknown), "{life}");
            assert_eq!(b.outcome(id, LONG).await, Err(Refusal::Unknown), "{life}");
            assert_eq!(b.cancel(id).await, Err(Refusal::Unknown), "{life}");
            assert_eq!(b.collect(id).await, Err(Refusal::Unknown), "{life}");
        }
        assert_eq!(a.message(own).await, Err(Refusal::Unknown), "{life}");
        assert_eq!(messages(&b, 9, None).await, []);
        assert_eq!(
            ids(messages(&a, 9, None).await),
            [done.to_string(), open.to_string()]
        );
        assert_eq!(ids(messages(&a, 1, None).await).len(), 1);
        assert_eq!(ids(messages(&a, 9, Some("y")).await), [open.to_string()]);
        assert_eq!(messages(&node.handle(), 9, None).await.len(), 3);
        assert_eq!(a.outcome(done, NOW).await.unwrap().unwrap().content, text("2"));
        assert_eq!(a.message(open).await.unwrap().program.as_deref(), Some("a"));
        // Whoever holds a handle holds the store.
        drop((a, b));
        if life == 0 {
            node.close().await;
        } else {
            node.abandon().await;
        }
        node = Node::open(dir.path()).await;
    }
    let a = node.of("a");
    a.collect(done).await.unwrap();
    a.cancel(open).await.unwrap();
    a.collect(open).await.unwrap();
    node.close().await;
    let (done_in, _done) = mpsc::unbounded_channel();
    let left = store::open(dir.path(), done_in).unwrap();
    assert_eq!(left.recovered.owners, []);
    assert_eq!(left.recovered.messages.len(), 1);
}

#[tokio::test]
async fn a_consumer_that_the_core_forgot_is_free_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open_with(dir.path(), |settings| {
        settings.timing.liveness = CoreDuration::from_millis(30);
    })
    .await;
    let (a, b) = (node.of("a"), node.of("b"));
    let take_over = async |who: &Handle| {
        let free = async {
            loop {
                match who.register("s", "w", 1, LONG, None).await {
                    Err(Refusal::Taken) => {}
                    result => break result,
                }
            }
        };
        tokio::time::timeout(LONG, free).await.unwrap().unwrap();
    };
    a.register("s", "w", 1, LONG, None).await.unwrap();
    take_over(&b).await;
    take_over(&a).await;
    // What a program left behind is the administrator's if he takes it, and no program's. A take that waits keeps it.
    let gone = async { while !node.handle().consumers().await.is_empty() {} };
    tokio::time::timeout(LONG, gone).await.unwrap();
    let administrator = node.handle();
    let mut take = Box::pin(administrator.take("s", "w", 1, LONG));
    assert!(is_waiting(&mut take).await);
    let there = async { while node.handle().consumers().await.is_empty() {} };
    tokio::time::timeout(LONG, there).await.unwrap();
    assert_eq!(a.unregister("s", "w").await, Err(Refusal::Taken));
    drop(take);
    node.close().await;
}

#[tokio::test]
async fn a_bad_name_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    let (a, b) = (node.of("a"), node.of("b"));
    for who in [&a, &b] {
        assert!(matches!(
            who.register("s", "a b", 1, LONG, None).await,
            Err(Refusal::Name(_))
        ));
        assert!(matches!(who.take("..", "w", 1, NOW).await, Err(Refusal::Name(_))));
        assert_eq!(who.unregister("s", "none").await, Err(Refusal::Unknown));
        assert_eq!(who.register("s", "w", 0, LONG, None).await, Err(Refusal::Zero));
    }
    // A refused one took no name.
    b.register("s", "w", 1, LONG, None).await.unwrap();
    node.close().await;
}
