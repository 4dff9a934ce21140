//! No attack: what live events take by themselves, beside which the others are seen.

use tokio::time::sleep;

use crate::ground::Ground;

pub async fn none(ground: &mut Ground) {
    ground.begin();
    sleep(ground.seconds(3, 20)).await;
}
