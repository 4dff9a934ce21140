//! docs/first-hour.md, run: all its blocks on one machine, in their order.

use crate::page::blocks_of;
use crate::service::Machine;

#[test]
fn every_command_of_the_first_hour_works() {
    let blocks = blocks_of("docs/first-hour.md");
    let machine = Machine::new("false");
    let mut commands = 0;
    for (n, block) in blocks.iter().enumerate() {
        if block.language != "sh" {
            continue;
        }
        let printed = machine.run(&block.text);
        let printed = printed.unwrap_or_else(|error| panic!("{}\n{error}", block.text));
        if let Some(answer) = blocks.get(n + 1).filter(|next| next.language == "text") {
            assert_eq!(printed, answer.text, "{}", block.text);
        }
        commands += 1;
    }
    assert!(commands > 10, "only {commands} blocks were run");
}
