//! Replies: how long the answer to a request is, and whether a frame may be that answer.
