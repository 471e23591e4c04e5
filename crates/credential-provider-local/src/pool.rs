//! Reader connections. SQLite readers never wait for the writer, nor for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::Fault;
use crate::home::{Home, Role};

/// Idle connections that are kept; each holds up to 4 MiB of pages. More are made when more read at once.
const IDLE: usize = 8;

#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Connection>>);

impl Pool {
    /// Held for a push or a pop only.
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection nobody else uses, to be given [`back`](Self::give_back).
    pub(crate) fn take(&self, home: &Home) -> Result<Connection, Fault> {
        match self.lock().pop() {
            Some(conn) => Ok(conn),
            None => home.connect(Role::Reader),
        }
    }

    pub(crate) fn give_back(&self, conn: Connection) {
        let mut idle = self.lock();
        if idle.len() < IDLE {
            idle.push(conn);
        }
    }

    /// Runs one read.
    pub(crate) fn read<T>(
        &self,
        home: &Home,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let conn = self.take(home)?;
        let done = read(&conn);
        if !matches!(&done, Err(fault) if fault.poisons()) {
            self.give_back(conn);
        }
        done
    }

    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }
}
