//! The open restic v2 repository format: writer, reader, check.
