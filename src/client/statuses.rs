//! What errors of other rooms are as exit codes.

use super::ExitStatus;
use crate::fetch::SourceError;
use crate::store::StoreError;
use crate::wire::{ErrorCode, Refusal, WireError};

impl From<&SourceError> for ExitStatus {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Unreachable(_)
            | SourceError::Lost(_)
            | SourceError::Stalled
            | SourceError::Trickles
            | SourceError::Busy(_)
            | SourceError::Idles { .. }
            | SourceError::GaveUp { .. } => Self::Unreachable,
            SourceError::Refused(refusal) => refusal.into(),
            SourceError::AnotherPeer(_) => Self::Refused,
            SourceError::Changed | SourceError::BadChunk => Self::Integrity,
            SourceError::NotServing | SourceError::NotYet => Self::NoSuchFile,
            SourceError::Foreign(WireError::NoGreeting(_)) => Self::Unreachable,
            SourceError::Misbehaved(_) | SourceError::Foreign(_) | SourceError::NoThread(_) => {
                Self::Failed
            }
        }
    }
}

impl From<&Refusal> for ExitStatus {
    fn from(refusal: &Refusal) -> Self {
        match refusal.code {
            ErrorCode::NotFound | ErrorCode::NotYet => Self::NoSuchFile,
            ErrorCode::Ambiguous
            | ErrorCode::Refused
            | ErrorCode::Receiving
            | ErrorCode::InTheWay => Self::Refused,
            ErrorCode::Changed | ErrorCode::Integrity => Self::Integrity,
            ErrorCode::Busy => Self::Unreachable,
            ErrorCode::NoSpace => Self::NoSpace,
            ErrorCode::BadRequest
            | ErrorCode::Unsupported
            | ErrorCode::Internal
            | ErrorCode::Unknown => Self::Failed,
        }
    }
}

impl From<&StoreError> for ExitStatus {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound { .. }
            | StoreError::NoSuchContent { .. }
            | StoreError::NotAFile { .. }
            | StoreError::DeadLink { .. } => Self::NoSuchFile,
            StoreError::InTheWay { .. }
            | StoreError::Blocked { .. }
            | StoreError::NotAFolder { .. }
            | StoreError::Unholdable { .. }
            | StoreError::Outside { .. } => Self::Refused,
            StoreError::Changed { .. } => Self::Integrity,
            error if error.is_no_space() => Self::NoSpace,
            StoreError::TooLarge { .. } => Self::NoSpace,
            StoreError::Interrupted => Self::Interrupted,
            StoreError::BadName(_)
            | StoreError::BadPattern { .. }
            | StoreError::NoFolder { .. } => Self::Usage,
            StoreError::Closed { .. } => Self::Refused,
            _ => Self::Failed,
        }
    }
}
