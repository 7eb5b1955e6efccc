//! How a no is said to the other side.

use std::io;

use crate::store::StoreError;
use crate::wire::{ErrorCode, Refusal};

pub(super) fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// What a failure of our own disk is to the other side.
pub fn refusal_of(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::NotFound { .. }
        | StoreError::NoSuchContent { .. }
        | StoreError::NotAFile { .. }
        | StoreError::DeadLink { .. } => ErrorCode::NotFound,
        StoreError::Outside { .. }
        | StoreError::BadName(_)
        | StoreError::Closed { .. }
        | StoreError::NoSize { .. }
        | StoreError::OverLimit { .. }
        | StoreError::Unholdable { .. } => ErrorCode::Refused,
        error if error.is_passing() => ErrorCode::Busy,
        StoreError::Io { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
            ErrorCode::Refused
        }
        StoreError::Changed { .. } => ErrorCode::Changed,
        StoreError::NotYet { .. } | StoreError::NoUnitYet { .. } => ErrorCode::NotYet,
        error if error.is_no_space() => ErrorCode::NoSpace,
        StoreError::TooLarge { .. } => ErrorCode::NoSpace,
        StoreError::InTheWay { .. }
        | StoreError::Blocked { .. }
        | StoreError::NotAFolder { .. } => ErrorCode::InTheWay,
        StoreError::Interrupted => ErrorCode::Busy,
        StoreError::BadPattern { .. }
        | StoreError::NoSuchChunk { .. }
        | StoreError::NoSuchUnit { .. } => ErrorCode::BadRequest,
        _ => ErrorCode::Internal,
    };
    refusal(code, error.to_string())
}
