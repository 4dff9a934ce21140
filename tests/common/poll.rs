//! Long-poll, poll by poll.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{Gap, Refused, Seen, Step, SubscribeParams, is_text_topic, refused};

pub struct PollReader {
    client: reqwest::Client,
    url: String,
    params: SubscribeParams,
    ready: VecDeque<Step>,
    is_live: bool,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    epoch: String,
    first: u64,
    last: u64,
    vid: u64,
    cursor: String,
    up_to_date: bool,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    gap: Option<Gap>,
}

impl PollReader {
    pub async fn open(url: &str, params: &SubscribeParams) -> Result<Self, Refused> {
        let mut reader = PollReader {
            client: params.client(url),
            url: format!("{url}/v1/poll"),
            params: params.clone(),
            ready: VecDeque::new(),
            is_live: false,
            cursor: None,
        };
        reader.poll("0").await?;
        Ok(reader)
    }

    pub async fn next(&mut self) -> Result<Option<Step>, Refused> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(Some(step));
            }
            self.poll("20").await?;
        }
    }

    /// What the first poll, or one more that waits so many seconds, has brought.
    pub async fn answer(&mut self, wait: &str) -> Result<Vec<Step>, Refused> {
        if self.ready.is_empty() {
            self.poll(wait).await?;
        }
        Ok(self.ready.drain(..).collect())
    }

    /// The cursor of the last answer, which the next poll will ask with.
    pub fn cursor(&self) -> &str {
        self.cursor.as_deref().expect("an answer")
    }

    async fn poll(&mut self, wait: &str) -> Result<(), Refused> {
        let request = self
            .params
            .get(&self.client, &self.url)
            .query(&[("wait", wait)]);
        let response = request
            .send()
            .await
            .map_err(|e| Refused::Unavailable(e.to_string()))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let body = response
            .text()
            .await
            .map_err(|e| Refused::Unavailable(e.to_string()))?;
        self.take(&serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")));
        Ok(())
    }

    fn take(&mut self, answer: &Answer<'_>) {
        assert!(answer.cursor == format!("{}-{}", answer.vid, answer.epoch));
        if self.cursor.is_none() {
            self.ready.push_back(Step::Hello {
                epoch: answer.epoch.clone(),
                first: answer.first,
                last: answer.last,
            });
        }
        if let Some(gap) = &answer.gap {
            self.is_live = false;
            self.ready.push_back(Step::Gap(gap.clone()));
        }
        for event in &answer.events {
            let seen = Seen::from_json(event.get(), is_text_topic);
            let cursor = format!("{}-{}", seen.vid, answer.epoch);
            self.ready.push_back(Step::Event(seen, cursor));
        }
        let moved = self.cursor.as_ref().is_some_and(|c| *c != answer.cursor);
        if answer.up_to_date && !self.is_live {
            self.ready.push_back(Step::CaughtUp(answer.cursor.clone()));
        } else if answer.events.is_empty() && moved {
            self.ready.push_back(Step::Progress(answer.cursor.clone()));
        }
        self.is_live = answer.up_to_date;
        self.cursor = Some(answer.cursor.clone());
        self.params.after = Some(answer.cursor.clone());
        self.params.since = None;
        self.params.snapshot = false;
    }
}
