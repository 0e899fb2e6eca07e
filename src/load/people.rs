//! People: one record per person with its companies, one a call or fifty asynchronously.
//!
//! Every call is an upsert by the tenant's resolution key, so a repeat does no harm.

use std::collections::VecDeque;
use std::time::Duration;

use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::PeopleStatus;
use crate::connect::gainsight::Refusal;
use crate::connect::gainsight::WriteAnswer;
use crate::error::Error;
use crate::error::Result;

use super::blame;
use super::decided::Row;
use super::encode;
use super::plan::REST_ROWS;
use super::sender::Sender;
use super::sender::Settled;

/// One person: its rows, each with a company.
pub(super) type Person = Vec<Row>;

/// Between the status ids of one chunk in the ledger.
pub(super) const IDS: &str = ",";

/// Longest wait between two questions how asynchronous work stands.
const LONGEST: Duration = Duration::from_secs(15);

/// Asynchronous work is waited for at most so long; the documented bound is half an hour.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

impl Sender {
    /// Sends persons one by one.
    pub(super) async fn persons(&self, persons: Vec<Person>) -> Result<Settled> {
        let chunk = self.begin("people", persons.iter().flatten())?;
        let mut settled = Settled::default();
        for person in persons {
            settled.add(self.one_person(person).await?);
        }
        self.end(chunk, settled)
    }

    /// Sends one person; where it is refused with several companies, each company is tried by itself.
    async fn one_person(&self, person: Person) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut work = vec![person];
        while let Some(rows) = work.pop() {
            let mut body = Vec::with_capacity(512);
            encode::person(&rows, &self.person_keys, &mut body);
            match self.client.put_person(body.into()).await? {
                WriteAnswer::Accepted(_) => {
                    self.went_well();
                    settled.accept(&rows);
                }
                WriteAnswer::Refused(refusal) => self.refused_person(rows, &refusal, &mut settled, &mut work)?,
                WriteAnswer::Unknown(why) => {
                    return Err(Error::unavailable(format!("Gainsight did not answer a person's call: {why}"))
                        .hint("run the same command again; it resumes"));
                }
            }
        }
        Ok(settled)
    }

    fn refused_person(
        &self,
        rows: Vec<Row>,
        refusal: &Refusal,
        settled: &mut Settled,
        work: &mut Vec<Person>,
    ) -> Result<()> {
        let (blamed, others) = blame::by_error(rows, &refusal.errors, blame::rows_of);
        if blamed.is_empty() {
            match others.as_slice() {
                [row] => {
                    self.went_badly(1, refusal)?;
                    settled.rejects.push(blame::reject_whole(row, refusal));
                }
                _ => work.extend(others.into_iter().map(|row| vec![row])),
            }
            return Ok(());
        }
        self.went_badly(blamed.len(), refusal)?;
        settled.rejects.extend(blamed.into_iter().map(|(row, error)| blame::reject(&row, &error)));
        if !others.is_empty() {
            work.push(others);
        }
        Ok(())
    }

    /// Sends persons asynchronously, fifty a call: all calls first, then the questions what became of them, so that the
    /// tenant's working time counts once.
    pub(super) async fn people(&self, mut persons: Vec<Person>) -> Result<Settled> {
        let chunk = self.begin("people_async", persons.iter().flatten())?;
        let mut settled = Settled::default();
        let mut work = Vec::with_capacity(persons.len().div_ceil(REST_ROWS));
        while persons.len() > REST_ROWS {
            work.push(persons.split_off(persons.len() - REST_ROWS));
        }
        work.push(persons);
        let mut begun: VecDeque<(String, Vec<Person>)> = VecDeque::with_capacity(work.len());
        loop {
            while let Some(persons) = work.pop() {
                match self.client.put_people_async(encode::people(&persons, &self.person_keys)).await? {
                    Ok(status_id) => begun.push_back((status_id, persons)),
                    Err(refusal) => self.refused_people(persons, &refusal, &mut settled, &mut work).await?,
                }
            }
            let ids = || begun.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(IDS);
            let Some((status_id, _)) = begun.front() else { return self.end(chunk, settled) };
            let not_yet = || self.ledger.note_status_id(chunk, &ids());
            let status = wait_for_people(&self.client, status_id, not_yet).await?;
            let Some((_, persons)) = begun.pop_front() else { continue };
            self.settle_people(persons, &status, &mut settled).await?;
        }
    }

    async fn settle_people(&self, persons: Vec<Person>, status: &PeopleStatus, settled: &mut Settled) -> Result<()> {
        if status.count > 0 {
            self.went_well();
        }
        if status.errors.is_empty() {
            settled.accept(persons.iter().flatten());
            return Ok(());
        }
        let (blamed, others) = blame::by_error(persons, &status.errors, Vec::as_slice);
        settled.accept(others.iter().flatten());
        for (person, error) in blamed {
            match person.as_slice() {
                [row] => {
                    let refusal = Refusal { errors: vec![error.clone()], ..Refusal::default() };
                    self.went_badly(1, &refusal)?;
                    settled.rejects.push(blame::reject(row, &error));
                }
                // One company may be to blame: the person's call says which.
                _ => settled.add(self.one_person(person).await?),
            }
        }
        Ok(())
    }

    /// A call refused as a whole: who is named goes alone, the others go again; halves where nobody is named.
    async fn refused_people(
        &self,
        persons: Vec<Person>,
        refusal: &Refusal,
        settled: &mut Settled,
        work: &mut Vec<Vec<Person>>,
    ) -> Result<()> {
        let (blamed, mut others) = blame::by_error(persons, &refusal.errors, Vec::as_slice);
        let alone = if blamed.is_empty() && others.len() == 1 { std::mem::take(&mut others) } else { Vec::new() };
        for person in blamed.iter().map(|(person, _)| person.clone()).chain(alone) {
            settled.add(self.one_person(person).await?);
        }
        if blamed.is_empty() && others.len() > 1 {
            let right = others.split_off(others.len() / 2);
            work.push(right);
        }
        if !others.is_empty() {
            work.push(others);
        }
        Ok(())
    }
}

/// Asks how a people call stands until it is over; `not_yet` is called once, before the first wait.
pub(super) async fn wait_for_people(
    client: &GainsightClient,
    status_id: &str,
    not_yet: impl FnOnce() -> Result<()>,
) -> Result<PeopleStatus> {
    let mut waited = Duration::ZERO;
    let mut wait = super::first_question(client);
    let mut not_yet = Some(not_yet);
    loop {
        if !wait.is_zero()
            && let Some(not_yet) = not_yet.take()
        {
            not_yet()?;
        }
        tokio::time::sleep(wait).await;
        let status = client.people_status(status_id).await?;
        if status.done {
            return Ok(status);
        }
        waited += wait;
        if waited > PATIENCE {
            return Err(Error::unavailable("Gainsight has not finished a people call in 45 minutes")
                .hint("run the same command again later; it resumes")
                .context("status", status_id));
        }
        wait = super::next_question(client, waited, wait, LONGEST);
    }
}
