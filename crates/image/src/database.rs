//! The durable copy of [`State`]: redb, one transaction per change, rows of JSON.
//!
//! ```text
//!  images   id                     -> ImageRecord
//!  names    name:tag | name@digest -> NameRecord
//!  layers   chain id               -> LayerRecord
//! ```
//! redb verifies every page's checksum on open here. What it refuses, or panics at, is set aside
//! under a name that says so, and the store is made again from the layout on disk.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{
    Database as Redb, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, WriteTransaction,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, state::State};

type Table = TableDefinition<'static, &'static str, &'static [u8]>;
const IMAGES: Table = TableDefinition::new("images");
const NAMES: Table = TableDefinition::new("names");
const LAYERS: Table = TableDefinition::new("layers");
/// All reads are served from memory; this only holds pages while a transaction is written.
const CACHE: usize = 1 << 20;

/// An open database. After an error of the disk redb serves nothing more: it is closed, and the next
/// change opens it again.
#[derive(Debug)]
pub(crate) struct Database {
    redb: Option<Redb>,
    path: PathBuf,
}

/// What opening found.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) state: State,
    /// There was none, or it was set aside: the state has to be made again from the disk.
    pub(crate) fresh: bool,
    pub(crate) findings: Vec<String>,
}

/// Opens the database at `path`; a damaged one is set aside.
pub(crate) fn open(path: &Path) -> Result<Opened, Error> {
    let mut findings = Vec::new();
    let exists = fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
    if exists {
        match try_open(path, &mut findings)? {
            Ok((database, state)) => {
                return Ok(Opened {
                    database,
                    state,
                    fresh: false,
                    findings,
                });
            }
            Err(problem) => {
                let aside = set_aside(path)?;
                findings.push(format!(
                    "image database {} is damaged ({problem}); set aside as {}, images are read \
                     from the layout",
                    path.display(),
                    aside.display()
                ));
            }
        }
    } else if fs::metadata(path).is_ok() {
        findings.push(format!("image database {} is empty", path.display()));
        fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    match try_open(path, &mut findings)? {
        Ok((database, state)) => Ok(Opened {
            database,
            state,
            fresh: true,
            findings,
        }),
        Err(problem) => Err(Error::Database {
            act: "make",
            source: problem.into(),
        }),
    }
}

type Content = (Database, State);

/// The inner error is damage; the outer one says nothing about the content (permissions, a full or
/// read-only disk, another process).
fn try_open(path: &Path, findings: &mut Vec<String>) -> Result<Result<Content, String>, Error> {
    let open = || {
        let database = Redb::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create(path)?;
        Ok::<_, DatabaseError>(Database {
            redb: Some(database),
            path: path.to_owned(),
        })
    };
    let database = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(database)) => database,
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => return Err(Error::InUse(path.to_owned())),
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if !is_damage(&error) => {
            return Err(Error::io("open", path)(error));
        }
        Ok(Err(error)) => return Ok(Err(error.to_string())),
        Err(_) => return Ok(Err("redb could not make sense of it".to_owned())),
    };
    match catch_unwind(AssertUnwindSafe(|| database.load(findings))) {
        Ok(Ok(state)) => Ok(Ok((database, state))),
        Ok(Err(error)) => Ok(Err(error.sentence())),
        Err(_) => Ok(Err("redb could not make sense of it".to_owned())),
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let mut aside = path.with_extension(format!("redb.corrupt-{seconds}"));
    for count in 1.. {
        if !aside.exists() {
            break;
        }
        aside = path.with_extension(format!("redb.corrupt-{seconds}-{count}"));
    }
    fs::rename(path, &aside).map_err(Error::io("set aside", path))?;
    Ok(aside)
}

fn failed<E: Into<redb::Error>>(act: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Database {
        act,
        source: Box::new(error.into()),
    }
}

impl Database {
    fn load(&self, findings: &mut Vec<String>) -> Result<State, Error> {
        // Tables are made by the first transaction that opens them for writing.
        let write = self.redb()?.begin_write().map_err(failed("begin"))?;
        for table in [IMAGES, NAMES, LAYERS] {
            write.open_table(table).map_err(failed("make a table"))?;
        }
        write.commit().map_err(failed("commit"))?;
        let state = State {
            images: self.rows(IMAGES, findings)?,
            names: self.rows(NAMES, findings)?,
            layers: self.rows(LAYERS, findings)?,
        };
        Ok(state)
    }

    fn rows<T: DeserializeOwned>(
        &self,
        table: Table,
        findings: &mut Vec<String>,
    ) -> Result<std::collections::BTreeMap<String, T>, Error> {
        let read = self.redb()?.begin_read().map_err(failed("read"))?;
        let open = read.open_table(table).map_err(failed("open a table"))?;
        let mut rows = std::collections::BTreeMap::new();
        for row in open.iter().map_err(failed("read"))? {
            let (key, value) = row.map_err(failed("read"))?;
            match serde_json::from_slice(value.value()) {
                Ok(record) => {
                    rows.insert(key.value().to_owned(), record);
                }
                // One bad record costs one image, not the start.
                Err(error) => findings.push(format!(
                    "image database: record {:?} is damaged: {error}",
                    key.value()
                )),
            }
        }
        Ok(rows)
    }

    fn redb(&self) -> Result<&Redb, Error> {
        self.redb.as_ref().ok_or_else(|| Error::Database {
            act: "begin",
            source: "it is closed after an error of the disk".into(),
        })
    }

    /// Writes what differs between two states, in one transaction that is on disk on return.
    pub(crate) fn write(&mut self, old: &State, new: &State) -> Result<(), Error> {
        if self.redb.is_none() {
            self.open_again(old)?;
        }
        let done = self.transaction(old, new);
        if done.is_err() {
            self.redb = None;
        }
        done
    }

    /// What a failed transaction has left may be the state before or after it: it is made `state`.
    fn open_again(&mut self, state: &State) -> Result<(), Error> {
        let mut findings = Vec::new();
        let (database, found) =
            try_open(&self.path, &mut findings)?.map_err(|problem| Error::Database {
                act: "open it again",
                source: problem.into(),
            })?;
        if found != *state {
            database.transaction(&found, state)?;
        }
        *self = database;
        Ok(())
    }

    fn transaction(&self, old: &State, new: &State) -> Result<(), Error> {
        let mut write = self.redb()?.begin_write().map_err(failed("begin"))?;
        write
            .set_durability(Durability::Immediate)
            .map_err(failed("begin"))?;
        difference(&write, IMAGES, &old.images, &new.images)?;
        difference(&write, NAMES, &old.names, &new.names)?;
        difference(&write, LAYERS, &old.layers, &new.layers)?;
        sys::failpoint!("image.database.commit.before", Error::injected);
        write.commit().map_err(failed("commit"))?;
        sys::failpoint!("image.database.commit.after");
        Ok(())
    }
}

fn difference<T: Serialize + PartialEq>(
    write: &WriteTransaction,
    table: Table,
    old: &std::collections::BTreeMap<String, T>,
    new: &std::collections::BTreeMap<String, T>,
) -> Result<(), Error> {
    let mut open = write.open_table(table).map_err(failed("open a table"))?;
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        open.remove(key.as_str())
            .map_err(failed("remove a record"))?;
    }
    for (key, record) in new
        .iter()
        .filter(|(key, record)| old.get(*key) != Some(*record))
    {
        let json = serde_json::to_vec(record).map_err(|source| Error::Database {
            act: "print a record",
            source: Box::new(source),
        })?;
        open.insert(key.as_str(), json.as_slice())
            .map_err(failed("write a record"))?;
    }
    Ok(())
}
