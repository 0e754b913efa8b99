//! What a line decides, one rule each, at instants chosen by hand: on its own, and from its snapshot.

mod background;
mod line;
mod settings;
