use std::fs::File;
use std::os::unix::fs::FileExt;

use nebula_credential_core::CredentialError;
use rustix::fs::fstat;

use crate::PrivateDir;
use crate::error::{classify, failed};
use crate::lock;

impl PrivateDir {
    /// Opens a file for processes to share as memory: of at least `len` bytes, made of zeros where there were none, and
    /// with space on the disk for each of them.
    ///
    /// Its content is for the running processes only, and not synced.
    ///
    /// # Errors
    ///
    /// [`InsecureStorage`](CredentialError::InsecureStorage) when the file is not private;
    /// [`Storage`](CredentialError::Storage) when the system refuses, as on a full disk.
    pub fn open_shared(&self, name: &str, len: usize) -> Result<File, CredentialError> {
        let path = self.child(name);
        let file = File::from(lock::open(self, name)?);
        let found = || -> Result<usize, CredentialError> {
            let stat = fstat(&file).map_err(failed("examine", &path))?;
            Ok(usize::try_from(stat.st_size).unwrap_or(usize::MAX))
        };
        if found()? < len {
            let _lock = self.exclusive(name)?;
            // Another process may have made it longer, and written into it since.
            let start = found()?;
            if let Some(missing @ 1..) = len.checked_sub(start) {
                let offset = u64::try_from(start).unwrap_or(u64::MAX);
                file.write_all_at(&vec![0; missing], offset)
                    .map_err(|error| classify(&error, "write", &path))?;
            }
        }
        Ok(file)
    }
}
