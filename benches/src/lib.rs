//! Unpublished: see the targets beside this file.
