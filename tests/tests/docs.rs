//! Every command in the documentation works, in the order in which a reader would run it.

use redlink_tests::Document;
use std::path::Path;

macro_rules! documents {
    ($($test:ident $name:literal;)*) => {
        const DOCUMENTS: &[&str] = &[$($name,)*];
        $(
            #[test]
            fn $test() {
                Document::read($name).run();
            }
        )*
    };
}

documents! {
    tour "docs/tour.md";
    work_queue "docs/how-to/work-queue.md";
    request_reply "docs/how-to/request-reply.md";
    edge "docs/how-to/edge.md";
    priority "docs/how-to/priority.md";
    dead_letters "docs/how-to/dead-letters.md";
    backup "docs/how-to/backup.md";
    upgrade "docs/how-to/upgrade.md";
    watch "docs/how-to/watch.md";
    permissions "docs/how-to/permissions.md";
}

/// No page with commands in it is forgotten here.
#[test]
fn all_of_them_are_run() {
    fn look(dir: &Path, root: &Path) {
        for entry in std::fs::read_dir(dir).expect("a folder of documents") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                look(&path, root);
            } else if path.extension().is_some_and(|e| e == "md") {
                let name = path.strip_prefix(root).expect("inside").to_str().expect("a name");
                let run = DOCUMENTS.contains(&name);
                assert!(
                    run || Document::read(name).is_silent(),
                    "{name} has commands that no test runs"
                );
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository");
    look(&root.join("docs"), root);
}
